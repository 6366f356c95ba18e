"""Durable runs: a queue of function calls whose steps are checkpointed and survive ``kill -9``.

The only module that knows dbos. A step that was finished is never run again; one that was under way is run
again from its beginning, so whatever it does to the outside has to be idempotent.
"""

from __future__ import annotations

import errno
import json
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import datetime
from typing import Any, Protocol

from dbos import DBOS, DBOSConfig, SetEnqueueOptions, SetWorkflowID
from dbos._serialization import Serializer
from sqlalchemy import make_url, update
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from node.stopping import Stopping
from storage.database import DatabaseError, with_deadlines
from storage.errors import said
from storage.files import IN_TROUBLE
from storage.standstill import connector

log = logging.getLogger(__name__)

APPLICATION_VERSION = "1"  # constant, so that an upgrade finishes what the older version began
QUEUE = "runs"
GIVEN_UP = "MAX_RECOVERY_ATTEMPTS_EXCEEDED"
ENDED = ("SUCCESS", "ERROR", "CANCELLED", GIVEN_UP)
ON_ITS_WAY = ("PENDING", "ENQUEUED", "DELAYED")
PRIORITY = {"stat": 1, "routine": 10, "again": 100}  # the lower number goes first
MOST_LIVES = 10
"""How many lives of the node may end while a run is under way, until it is given up: one that takes the node
down would else be the first at every start, and nothing behind it would ever be run. Where power or memory
fails often, three ends in a row hit a healthy run now and then; ten do not. Orderly stops do not count."""

SECONDS_UNTIL_LOST = 30.0  # that a run is missed
PATIENCE_SECONDS = 300.0  # with a database that is away, or a disk that is full
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 30.0
FULL = errno.ENOSPC, errno.EDQUOT


class StepFailedError(Exception):
    """A step could not be done; ``reason`` is a sentence a person can act on."""

    def __init__(self, stage: str, reason: str) -> None:
        super().__init__(f"{stage}: {reason}")
        self.stage = stage
        self.reason = reason


class Step(Protocol):
    """Runs one step of a workflow by its stage's name; its value is JSON.

    Raises:
        StepFailedError: the step raised; the error is recorded with the workflow.
    """

    def __call__(self, stage: str, function: Callable[..., Any], *args: Any) -> Any: ...


def plain_step(stage: str, function: Callable[..., Any], *args: Any) -> Any:
    """A step without a checkpoint, for a run that has nobody to resume it."""
    try:
        return function(*args)
    except Exception as error:
        log.exception("the step %s failed", stage)
        raise StepFailedError(stage, _said(error)) from error


def _with_a_journal(file: str) -> None:
    with closing(sqlite3.connect(file)) as connection:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.DatabaseError as error:
            raise DatabaseError(
                f"The queue of readings, {file}, cannot be used ({error}). Where it is damaged, move it "
                "away: a new one is made, and what was under way is read anew."
            ) from error


class DurableQueue:
    """Runs ``body(step, *args)`` for each enqueued key, once per key, a few at a time.

    url: of the database that keeps the queue and the checkpoints.
    executor_id: stable name of this machine, so that a restart takes up what it left.
    """

    def __init__(self, url: str, executor_id: str, body: Callable[..., None], at_once: int = 1) -> None:
        self._url = with_deadlines(make_url(url))
        self._executor_id = executor_id
        self._body = body
        self._at_once = at_once
        self._alive: set[str] = set()
        self._missed: dict[str, float] = {}  # and since when
        self._under_way = 0
        self._idle = threading.Condition()
        self._stopping = False

    def start(self) -> None:
        """
        Raises:
            DatabaseError: the queue's file is damaged.
        """
        if self._url.get_backend_name() == "sqlite" and self._url.database:
            _with_a_journal(self._url.database)
        config: DBOSConfig = {
            "name": "overread",
            "system_database_url": self._url.render_as_string(hide_password=False),
            "application_version": APPLICATION_VERSION,
            "executor_id": self._executor_id,
            "serializer": _Json(),
            "log_level": "WARNING",
            "notification_listener_polling_interval_sec": 0.5,
        }
        if self._url.get_driver_name() == "psycopg":
            config["db_engine_kwargs"] = {"creator": connector(self._url)}
        dbos = DBOS(config=config)

        @DBOS.workflow(name="run", max_recovery_attempts=MOST_LIVES - 1)
        def run(*args: Any) -> None:
            name = DBOS.workflow_id or ""
            with self._idle:
                self._alive.add(name)
                if self._stopping:  # it was begun too late to be done
                    self._is_not_counted([name])
            try:
                self._body(self._step, *args)
            except Stopping:  # it stays among the living, whose end ``stop`` does not count
                raise
            except BaseException:
                self._ended(name)
                raise
            self._ended(name)

        self._run = run
        DBOS.launch()
        self._database = dbos._sys_db
        DBOS.register_queue(QUEUE, worker_concurrency=self._at_once, polling_interval_sec=0.2)

    def enqueue(self, key: str, *args: Any, priority: str = "routine") -> None:
        """Put a run in the queue; a key that is there already, finished or not, is not run again."""
        with SetWorkflowID(key), SetEnqueueOptions(priority=PRIORITY[priority]):
            DBOS.enqueue_workflow(QUEUE, self._run, *args)

    def take_up(self, key: str, *args: Any, priority: Callable[[], str] = lambda: "routine") -> bool:
        """Enqueue what was left behind; a run that has ended without doing its work, or is no longer known,
        is begun anew, and one that is on its way is left alone. ``priority`` is asked for where one is begun.
        One that should be under way here and is missed for ``SECONDS_UNTIL_LOST``, because not even its end
        could be written down, goes on behind its last finished step.

        Returns False for a run that was given up after ``MOST_LIVES``, or after as many that ended without
        doing their work: it is not begun again.
        """
        for attempt in range(MOST_LIVES):
            name = f"{key}#{attempt}" if attempt else key
            run = DBOS.get_workflow_status(name)
            if run is None:
                self.enqueue(name, *args, priority=priority())
                return True
            if run.status in ON_ITS_WAY or run.status == GIVEN_UP:
                if self._is_lost(name, run.status == "PENDING" and run.executor_id == self._executor_id):
                    DBOS.resume_workflow(name, queue_name=QUEUE)
                return run.status != GIVEN_UP
        return False

    def forget(self, before: datetime, at_once: int = 500) -> int:
        """Delete runs that ended and were enqueued before a moment, the oldest first; returns how many."""
        ended = DBOS.list_workflows(
            status=[*ENDED],
            end_time=before.isoformat(),
            limit=at_once,
            load_input=False,
            load_output=False,
        )
        DBOS.delete_workflows([run.workflow_id for run in ended])
        return len(ended)

    def stop(self, seconds: float = 60) -> None:
        """Let each step that is under way finish, for so many seconds; what comes after it, or ends in
        ``Stopping``, is resumed by the next start."""
        with self._idle:
            self._stopping = True
            self._idle.notify_all()
            self._is_not_counted([*self._alive])  # first, since we may be killed if it takes too long
            self._idle.wait_for(lambda: not self._under_way, seconds)
        DBOS.destroy(destroy_registry=True)

    def _ended(self, name: str) -> None:
        with self._idle:
            self._alive.discard(name)

    def _is_not_counted(self, names: Sequence[str]) -> None:
        """Take back that dbos counted these runs as they were begun: an orderly stop is not their fault."""
        if not names:
            return
        runs = self._database.tables.workflow_status
        these = runs.c.workflow_uuid.in_(names), runs.c.status == "PENDING", runs.c.recovery_attempts > 0
        try:
            with self._database.engine.begin() as connection:
                connection.execute(
                    update(runs).where(*these).values(recovery_attempts=runs.c.recovery_attempts - 1)
                )
        except SQLAlchemyError as error:  # then the stop counts as a crash does
            log.warning("what is under way counts as cut short by a crash: %s", said(error))

    def _is_lost(self, name: str, is_begun_here: bool) -> bool:
        """Whether a run is gone, which only time tells: one just missed may be about to begin, or to end."""
        if not is_begun_here or name in self._alive:
            self._missed.pop(name, None)
            return False
        if time.monotonic() - self._missed.setdefault(name, time.monotonic()) < SECONDS_UNTIL_LOST:
            return False
        del self._missed[name]
        return True

    def _step(self, stage: str, function: Callable[..., Any], *args: Any) -> Any:
        with self._idle:
            if self._stopping:
                raise Stopping
            self._under_way += 1
        try:
            outcome = DBOS.run_step({"name": stage}, self._outcome, stage, function, *args)
        finally:
            with self._idle:
                self._under_way -= 1
                self._idle.notify_all()
        if "failed" in outcome:
            raise StepFailedError(stage, outcome["failed"])
        return outcome["value"]

    def _outcome(self, stage: str, function: Callable[..., Any], *args: Any) -> dict[str, Any]:
        """What is recorded of a step. One that met what may pass is begun again, for ``PATIENCE_SECONDS`` and
        with growing pauses: that is no fault of the study's."""
        pause, give_up = FIRST_PAUSE_SECONDS, time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return {"value": function(*args)}
            except Exception as error:  # whatever it is, the study is seen to have failed with it
                if not may_pass(error) or time.monotonic() + pause > give_up:
                    log.exception("the step %s failed", stage)
                    return {"failed": _said(error)}
                log.warning("the step %s is begun again in %g s: %s", stage, pause, _said(error))
            with self._idle:
                if self._idle.wait_for(lambda: self._stopping, pause):
                    raise Stopping
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


def may_pass(error: Exception) -> bool:
    """Whether it is the database, away or written into by another meanwhile, or the machine, with a disk
    that is full, in trouble or away, no memory or too many open files, and not something of the study: what
    met it is begun again."""
    if isinstance(error, OSError):
        return error.errno in (*FULL, *IN_TROUBLE)
    return isinstance(error, (OperationalError, InterfaceError, IntegrityError, PoolTimeoutError))


def _said(error: Exception) -> str:
    return (
        f"the database failed: {said(error)}" if isinstance(error, DBAPIError) else str(error) or said(error)
    )


class _Json(Serializer):
    def serialize(self, data: Any) -> str:
        return json.dumps(data, default=repr)

    def deserialize(self, serialized_data: str) -> Any:
        return json.loads(serialized_data)

    def name(self) -> str:
        return "json"
