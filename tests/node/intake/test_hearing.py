"""A node that does not hear who connects says so, and hears again once it can."""

from __future__ import annotations

import logging
import resource
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from node.intake import hearing, stock, transport
from node.intake.ledger import Ledger
from node.intake.transport import FastListener
from node.upkeep.health import check_receiver
from tests.node.intake.conftest import Intake
from tests.node.intake.raw_sender import ASSOCIATE_AC, RawSender
from tests.waiting import wait_for

StartIntake = Callable[..., Intake]


@pytest.fixture(autouse=True)
def _soon_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hearing, "QUIET", 5.0)


@pytest.mark.parametrize("part", [transport, stock])
def test_one_connection_for_which_there_is_no_memory_is_not_the_last(
    start_intake: StartIntake, part: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    intake = start_intake("fast" if part is transport else "stock")
    taken: list[bool] = []
    wire = part.Wire

    def scarce(connection: socket.socket) -> object:
        taken.append(True)
        if len(taken) == 1:
            raise MemoryError
        return wire(connection)

    monkeypatch.setattr(part, "Wire", scarce)
    with socket.create_connection(("127.0.0.1", intake.port), 5) as lost:
        lost.settimeout(5)
        assert lost.recv(1) == b""
    assert "MemoryError" in wait_for(lambda: intake.receiver.problem, 30)
    with RawSender(intake.port) as sender:
        assert sender.associate() == ASSOCIATE_AC
    wait_for(lambda: intake.receiver.problem is None, 30)


def test_a_node_out_of_descriptors_says_so_under_health_and_once_in_the_log(
    intake: Intake, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, hearing.__name__)
    with socket.socket() as first, socket.socket() as second:
        with no_descriptors():
            for waiting in (first, second):  # whoever waits in accept has one for the first
                waiting.connect(("127.0.0.1", intake.port))
            problem = wait_for(lambda: intake.receiver.problem, 30)
            assert "Too many open files" in problem
            assert not check_receiver("OVERREAD", problem).ok
            time.sleep(5 * hearing.PAUSE)
            assert len(said_by_it(caplog)) == 1
        wait_for(lambda: intake.receiver.problem is None, 30)
    with RawSender(intake.port) as sender:
        assert sender.associate() == ASSOCIATE_AC
    wait_for(lambda: said_by_it(caplog)[-1].startswith("Connections are taken in again"), 30)
    assert len(said_by_it(caplog)) == 2


@pytest.mark.parametrize(
    ("kind", "owner", "name", "says"),
    [
        ("fast", FastListener, "_accept", "Nobody listens"),
        ("stock", stock._Server, "serve_forever", "Nobody listens"),
        ("fast", Ledger, "_run", "no longer entered"),
    ],
)
def test_a_thread_that_has_ended_is_named(
    start_intake: StartIntake,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    owner: type,
    name: str,
    says: str,
) -> None:
    monkeypatch.setattr(owner, name, lambda *_, **__: None)
    intake = start_intake(kind)
    try:
        assert says in wait_for(lambda: intake.receiver.problem, 30)
    finally:
        if owner is stock._Server:
            monkeypatch.setattr("node.intake.stock.BaseServer.shutdown", lambda _: None)  # waits for it
            intake.receiver.stop()


@contextmanager
def no_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))  # which all have that are open: no other can be
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def said_by_it(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == hearing.__name__]
