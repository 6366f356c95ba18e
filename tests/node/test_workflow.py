"""Durable runs: nothing finished is done again, nothing begun is lost."""

import errno
import logging
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import make_url
from sqlalchemy.exc import OperationalError

from node import workflow
from node.stopping import Stopping
from node.workflow import DurableQueue, StepFailedError, plain_step
from storage.database import DatabaseError
from storage.standstill import connector
from tests import postgres
from tests.waiting import wait_for

ROOT = Path(__file__).parents[2]


@contextmanager
def running(url: str, body: Callable[..., None]) -> Iterator[DurableQueue]:
    """A queue from its start to an orderly stop."""
    queue = DurableQueue(url, "here", body)
    queue.start()
    try:
        yield queue
    finally:
        queue.stop()


def _explode() -> None:
    raise ValueError("the disk is on fire")


def test_a_failed_step_says_its_stage_and_reason():
    with pytest.raises(StepFailedError) as caught:
        plain_step("infer", _explode)
    assert (caught.value.stage, caught.value.reason) == ("infer", "the disk is on fire")


@pytest.mark.only_on("sqlite", "its queue is a file")
def test_a_damaged_queue_is_named(database_url, tmp_path):
    damaged = tmp_path / "workflow.db"
    damaged.write_bytes(b"not a database " * 300)
    url = make_url(database_url).set(database=str(damaged)).render_as_string()
    with pytest.raises(DatabaseError, match=r"workflow\.db.*move it away"):
        DurableQueue(url, "here", lambda *_: None).start()


def test_a_key_runs_once_however_often_it_is_enqueued(database_url):
    runs: list[tuple[str, int]] = []
    done = threading.Event()

    def body(step, study_uid, revision):
        runs.append((study_uid, step("one", lambda: revision + 1)))
        if study_uid == "last":
            done.set()

    with running(database_url, body) as queue:
        for _ in range(3):
            queue.enqueue("a/1", "a", 1)
        queue.enqueue("last/1", "last", 1)
        assert done.wait(20)
    assert runs == [("a", 2), ("last", 2)]


def test_a_stat_run_overtakes_routine_ones_and_these_what_is_run_again(database_url):
    order: list[str] = []
    gate, done = threading.Event(), threading.Event()

    def body(step, name):
        if name == "first":
            assert gate.wait(20)
        order.append(name)
        if len(order) == 5:
            done.set()

    with running(database_url, body) as queue:
        queue.enqueue("first", "first")
        queue.enqueue("again", "again", priority="again")
        for name in ("routine-1", "routine-2"):
            queue.enqueue(name, name)
        queue.enqueue("stat", "stat", priority="stat")
        gate.set()
        assert done.wait(20)
    assert [name for name in order if name != "first"] == ["stat", "routine-1", "routine-2", "again"]


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workflow, "FIRST_PAUSE_SECONDS", 0.1)
    monkeypatch.setattr(workflow, "LONGEST_PAUSE_SECONDS", 0.2)


DATABASE_AWAY = OperationalError("INSERT", {}, Exception("server closed the connection unexpectedly"))
DISK_FULL = OSError(errno.ENOSPC, "No space left on device")
TOO_MANY_FILES = OSError(errno.EMFILE, "Too many open files")


@pytest.mark.parametrize("trouble", [DATABASE_AWAY, DISK_FULL, TOO_MANY_FILES])
def test_a_step_that_met_trouble_that_passes_is_begun_again(trouble, database_url, short_pauses):
    attempts: list[int] = []
    outcome: list[str] = []
    done = threading.Event()

    def struggle() -> str:
        attempts.append(len(attempts))
        if len(attempts) < 3:
            raise trouble
        return "read"

    def body(step, name):
        outcome.append(step("infer", struggle))
        done.set()

    with running(database_url, body) as queue:
        queue.enqueue("a/1", "a")
        assert done.wait(20)
    assert (outcome, len(attempts)) == (["read"], 3)


@pytest.mark.parametrize(
    ("trouble", "said", "least"),
    [
        (DATABASE_AWAY, "the database failed: server closed the connection unexpectedly", 2),
        (DISK_FULL, "[Errno 28] No space left on device", 2),
        (ValueError("the disk is on fire"), "the disk is on fire", 1),
    ],
)
def test_trouble_that_does_not_pass_fails_the_step_in_the_end(
    trouble, said, least, database_url, short_pauses, monkeypatch
):
    monkeypatch.setattr(workflow, "PATIENCE_SECONDS", 3.0)
    attempts: list[int] = []
    failures: list[StepFailedError] = []
    done = threading.Event()

    def struggle() -> None:
        attempts.append(len(attempts))
        raise trouble

    def body(step, name):
        try:
            step("infer", struggle)
        except StepFailedError as failure:
            failures.append(failure)
        done.set()

    with running(database_url, body) as queue:
        queue.enqueue("a/1", "a")
        assert done.wait(20)
    assert [(f.stage, f.reason) for f in failures] == [("infer", said)]
    assert len(attempts) == 1 if least == 1 else len(attempts) >= least


def test_a_stop_ends_the_wait_for_a_database_and_the_next_start_begins_the_step_again(database_url):
    away, met, done = [True], threading.Event(), threading.Event()

    def struggle() -> str:
        if away:
            met.set()
            raise DATABASE_AWAY
        return "read"

    outcome: list[str] = []

    def body(step, name):
        outcome.append(step("infer", struggle))
        done.set()

    with running(database_url, body) as queue:
        queue.enqueue("a/1", "a")
        assert met.wait(20)
    assert not outcome

    away.clear()
    with running(database_url, body):
        assert done.wait(20)
    assert outcome == ["read"]


def test_a_checkpoint_that_met_a_postgresql_standing_still_is_written_once_it_goes_on(monkeypatch, caplog):
    monkeypatch.setattr(workflow, "connector", partial(connector, patience=0.3))
    notes: list[str] = []
    runs_in: list[int] = []
    entered, going, done = (threading.Event() for _ in range(3))

    def first() -> None:
        runs_in.append(threading.get_ident())
        entered.set()
        assert going.wait(20)
        notes.append("first")

    def body(step, name):
        step("first", first)
        step("second", lambda: notes.append("second"))
        done.set()

    def is_given_up() -> bool:
        return any(
            record.thread in runs_in and "connection failed" in record.message for record in caplog.records
        )

    with postgres.private_server() as server:
        url = server.update_query_dict({"connect_timeout": "4"})
        with running(url.render_as_string(), body) as queue:
            monkeypatch.setattr(logging.getLogger("dbos"), "propagate", True)  # to caplog
            queue.enqueue("run", "run")
            assert entered.wait(20)
            with postgres.standing_still(server):
                going.set()
                deadline = time.monotonic() + 20
                while not is_given_up() and time.monotonic() < deadline:
                    time.sleep(0.1)
                assert is_given_up()
            assert done.wait(60)
    assert notes == ["first", "second"]


def test_stopping_lets_the_step_finish_and_the_next_start_goes_on_behind_it(database_url):
    notes: list[str] = []
    entered, done = threading.Event(), threading.Event()

    def first() -> None:
        entered.set()
        wait_for(lambda: queue._stopping, 20)
        notes.append("first")

    def body(step, name):
        step("first", first)
        step("second", lambda: notes.append("second"))
        done.set()

    with running(database_url, body) as queue:
        queue.enqueue("run", "run")
        assert entered.wait(20)
    assert notes == ["first"]

    with running(database_url, body):
        assert done.wait(20)
    assert notes == ["first", "second"]


def test_a_killed_run_goes_on_behind_its_last_finished_step(tmp_path, database_url):
    script = textwrap.dedent(
        """
        import os, sys, threading
        from pathlib import Path
        from node.workflow import DurableQueue

        folder, url, kill = Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "kill"
        done = threading.Event()

        def note(word):
            with open(folder / "notes", "a") as notes:
                notes.write(word + "\\n")

        def second():
            if kill:
                os.kill(os.getpid(), 9)
            note("second")

        def body(step, name):
            step("first", note, "first")
            step("second", second)
            done.set()

        queue = DurableQueue(url, "here", body)
        queue.start()
        queue.enqueue("run", "run")
        assert done.wait(30)
        queue.stop()
        """
    )

    def run(mode: str) -> int:
        return subprocess.run(
            [sys.executable, "-c", script, str(tmp_path), database_url, mode], cwd=ROOT, timeout=60
        ).returncode

    assert run("kill") == -9
    assert run("live") == 0
    assert (tmp_path / "notes").read_text().split() == ["first", "second"]


def test_a_run_that_takes_the_node_down_each_time_is_given_up_and_the_next_is_run(tmp_path, database_url):
    script = textwrap.dedent(
        """
        import os, sys, threading
        from pathlib import Path
        from node import workflow

        folder, url = Path(sys.argv[1]), sys.argv[2]
        workflow.MOST_LIVES = 2
        done = threading.Event()

        def body(step, name):
            with open(folder / "notes", "a") as notes:
                notes.write(name + "\\n")
            if name == "bad":
                os._exit(137)
            done.set()

        queue = workflow.DurableQueue(url, "here", body)
        queue.start()
        queue.enqueue("bad/1", "bad")
        queue.enqueue("good/1", "good")
        assert done.wait(30)
        assert not queue.take_up("bad/1", "bad")
        assert queue.take_up("bad/2", "good")
        queue.stop()
        """
    )
    lives = [
        subprocess.run(
            [sys.executable, "-c", script, str(tmp_path), database_url], cwd=ROOT, timeout=60
        ).returncode
        for _ in range(3)
    ]
    assert lives == [137, 137, 0]
    assert (tmp_path / "notes").read_text().split()[:3] == ["bad", "bad", "good"]


def test_a_run_that_gave_up_waiting_before_many_orderly_stops_is_not_given_up(database_url, monkeypatch):
    monkeypatch.setattr(workflow, "MOST_LIVES", 2)
    begun, ended = threading.Event(), threading.Event()
    waits = [True] * 4

    def body(step, name):
        begun.set()
        if waits:
            waits.pop()
            raise Stopping
        ended.set()

    for stops in range(4):
        with running(database_url, body) as queue:
            if stops == 0:
                queue.enqueue("a/1", "a")
            assert begun.wait(20)
            time.sleep(0.3)
        begun.clear()
    with running(database_url, body):
        assert ended.wait(20)


def test_a_run_that_was_under_way_at_many_orderly_stops_is_not_given_up(database_url, monkeypatch):
    monkeypatch.setattr(workflow, "MOST_LIVES", 2)
    begun, going, done = (threading.Event() for _ in range(3))

    def body(step, name):
        begun.set()
        while not going.is_set():
            step("one", time.sleep, 0.05)
        done.set()

    for stops in range(4):
        with running(database_url, body) as queue:
            if stops == 0:
                queue.enqueue("a/1", "a")
            assert begun.wait(20)
        begun.clear()
    going.set()
    with running(database_url, body):
        assert done.wait(20)


def test_a_run_that_ended_without_its_work_is_taken_up_anew(database_url):
    runs: list[str] = []
    broken, going, done = (threading.Event() for _ in range(3))

    def body(step, name):
        runs.append(name)
        if len(runs) == 1:
            broken.set()
            raise RuntimeError("the database was away")
        assert going.wait(20)
        done.set()

    with running(database_url, body) as queue:
        queue.enqueue("a/1", "a")
        assert broken.wait(20)
        time.sleep(1)
        queue.enqueue("a/1", "a")
        time.sleep(1)
        assert runs == ["a"]
        wait_for(lambda: queue.take_up("a/1", "a") and len(runs) == 2, 20)
        going.set()
        assert done.wait(20)
    assert runs == ["a", "a"]


def test_a_run_that_ends_without_its_work_time_and_again_is_given_up(database_url, monkeypatch):
    monkeypatch.setattr(workflow, "MOST_LIVES", 3)
    runs: list[str] = []

    def body(step, name):
        runs.append(name)
        raise RuntimeError("a fault of ours")

    with running(database_url, body) as queue:
        deadline = time.monotonic() + 60
        while queue.take_up("a/1", "a") and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not queue.take_up("a/1", "a")
    assert runs == ["a"] * 3


class Vanished(BaseException):
    """Ends a run so that nothing is recorded of its end, as on a disk without room for that."""


def test_a_run_of_which_not_even_the_end_was_written_down_goes_on_behind_its_last_step(
    database_url, monkeypatch
):
    monkeypatch.setattr(workflow, "SECONDS_UNTIL_LOST", 0.5)
    notes: list[str] = []
    vanished, waits, going, done = (threading.Event() for _ in range(4))

    def body(step, name):
        step("first", notes.append, "first")
        if not vanished.is_set():
            vanished.set()
            raise Vanished
        waits.set()
        assert going.wait(20)
        notes.append("second")
        done.set()

    with running(database_url, body) as queue:
        queue.enqueue("a/1", "a")
        assert vanished.wait(20)
        wait_for(lambda: not queue._alive, 20)
        for _ in range(2):
            time.sleep(1)
            assert queue.take_up("a/1", "a")
        assert waits.wait(20)
        for _ in range(3):  # one that is under way is left alone
            assert queue.take_up("a/1", "a")
        going.set()
        assert done.wait(20)
    assert notes == ["first", "second"]


def test_runs_that_ended_are_forgotten_and_what_waits_is_not(database_url):
    gate, ran = threading.Event(), threading.Semaphore(0)

    def body(step, name):
        if name == "long":
            assert gate.wait(20)
        step("one", lambda: name)
        ran.release()

    with running(database_url, body) as queue:
        queue.enqueue("short", "short")
        assert ran.acquire(timeout=20)
        queue.enqueue("long", "long")
        queue.enqueue("waiting", "waiting")
        soon = datetime.now(UTC) + timedelta(seconds=1)
        deadline = time.monotonic() + 20
        while not queue.forget(soon) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert queue.forget(soon) == 0
        gate.set()
        assert ran.acquire(timeout=20)
        assert ran.acquire(timeout=20)
