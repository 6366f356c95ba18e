"""What is done again and again goes on after an error, and says what is wrong until it is mended."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator

import pytest

from node.upkeep.health import check_tasks
from node.upkeep.periodic import PeriodicTask

PATIENCE = 20  # seconds, for what takes a fraction of one
NEVER = 3600.0


class Rounds:
    """Work whose rounds are counted; those that ``fails`` tells of raise."""

    def __init__(self) -> None:
        self.count = 0
        self.again_in: float | None = None
        self.fails: Callable[[int], bool] = lambda _: False
        self._done = threading.Semaphore(0)

    def __call__(self) -> float | None:
        self.count += 1
        self._done.release()
        if self.fails(self.count):
            raise OSError("the database is away\nand much more")
        return self.again_in

    def wait_for(self, count: int) -> None:
        for _ in range(count):
            assert self._done.acquire(timeout=PATIENCE)


@pytest.fixture
def rounds() -> Rounds:
    return Rounds()


@pytest.fixture
def task(rounds: Rounds, request: pytest.FixtureRequest) -> Iterator[PeriodicTask]:
    task = PeriodicTask("looking", rounds, getattr(request, "param", 0.01), "nothing can be looked for")
    yield task
    task.stop()


def test_it_goes_on_after_a_round_that_failed(rounds: Rounds, task: PeriodicTask) -> None:
    rounds.fails = lambda count: count == 1
    task.start()
    rounds.wait_for(3)
    task.stop()
    assert task.problem == ""


def test_an_error_is_seen_in_health_and_logged_once_for_as_long_as_it_lasts(
    rounds: Rounds, task: PeriodicTask, caplog: pytest.LogCaptureFixture
) -> None:
    rounds.fails = lambda _: True
    task.start()
    rounds.wait_for(4)
    task.stop()
    assert task.problem == "nothing can be looked for (the database is away)"
    assert [r.message for r in caplog.records if r.levelno == logging.ERROR] == [task.problem]
    probe = check_tasks([task])
    assert (probe.ok, probe.detail) == (False, task.problem)


@pytest.mark.parametrize("task", [NEVER], indirect=True)
def test_one_that_is_woken_does_not_wait_and_one_that_is_stopped_does_nothing_more(
    rounds: Rounds, task: PeriodicTask
) -> None:
    task.wake()
    task.start()
    rounds.wait_for(1)
    task.wake()
    rounds.wait_for(1)
    assert check_tasks([task]).detail == "looking"
    task.stop()
    assert (task.is_stopping, rounds.count) == (True, 2)


@pytest.mark.parametrize("task", [NEVER], indirect=True)
def test_work_that_asks_for_it_is_done_again_sooner(rounds: Rounds, task: PeriodicTask) -> None:
    rounds.again_in = 0.0
    task.wake()
    task.start()
    rounds.wait_for(3)


def test_one_that_was_never_started_can_be_stopped(rounds: Rounds, task: PeriodicTask) -> None:
    task.stop()
    assert rounds.count == 0
