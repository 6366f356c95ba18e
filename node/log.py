"""What the node logs, and how: lines for a person or JSON for a collector, never a patient's name."""

from __future__ import annotations

import json
import logging
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from node.quoting import silence_quotes
from node.settings import LogSettings
from storage.errors import said
from storage.events import events_into_log

REPEATING = "pynetdicom.transport"  # that a peer cannot be reached; who asked it says so, and says which
QUEUE = "dbos"  # the readings' queue
SECONDS_BETWEEN_LINES = 60.0  # that say the same
MOST_LINES = 100  # told apart at a time
TALKATIVE = (QUEUE, "alembic", "uvicorn", "asyncio", "PIL", "matplotlib")


class JsonLines(logging.Formatter):
    """One object a line: at, level, logger, text and, of an error, its traceback."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "text": record.getMessage(),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class DatabaseAway(logging.Filter):
    """A database that is away, of which dbos warns ten times a second and with tracebacks, is told in a line
    a minute of each thing that could not be done. All else passes as it is."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._told: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        error = _error_of(record) if record.levelno == logging.WARNING else None
        if error is None or not _is_away(error):
            return True
        what = _without(error, record.getMessage())
        line = f"the queue of readings cannot use its database ({what}): {said(error)}"
        moment = self._clock()
        if moment - self._told.get(line, -SECONDS_BETWEEN_LINES) < SECONDS_BETWEEN_LINES:
            return False
        if len(self._told) >= MOST_LINES:
            self._told.clear()
        self._told[line] = moment
        record.msg, record.args, record.exc_info = line, (), None
        return True


def _error_of(record: logging.LogRecord) -> BaseException | None:
    """What it was logged with, or what is being handled if its text quotes that."""
    error = (record.exc_info or (None, None, None))[1]
    if error is not None:
        return error
    handled = sys.exc_info()[1]
    return handled if handled is not None and str(handled) in record.getMessage() else None


def _is_away(error: BaseException) -> bool:
    """Whether it says of a database that it cannot be reached: by SQLSTATE a connection exception (08), an
    operator's intervention (57P) or, of what never came to a connection, none (PostgreSQL, appendix A)."""
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or _is_away(error.orig or Exception())
    if isinstance(error, sqlite3.OperationalError):
        return (
            getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_CANTOPEN
        )  # whose higher bits say why
    psycopg = sys.modules.get("psycopg")  # which a node upon SQLite has no need to load
    if psycopg is None or not isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError)):
        return False
    return (error.sqlstate or "08").startswith(("08", "57P"))


def _without(error: BaseException, words: str) -> str:
    """The first line of ``words`` without the error it quotes, and without a traceback."""
    words = words.partition(str(error) or "\n")[0].partition("\n")[0]
    return words.removesuffix("Traceback (most recent call last):").strip(" :.")


def set_up_logging(settings: LogSettings, file: Path | None = None) -> None:
    """Log to standard error from now on, or to a file."""
    handler = logging.FileHandler(file, encoding="utf-8") if file else logging.StreamHandler()
    plain = logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%Y-%m-%d %H:%M:%S")
    handler.setFormatter(JsonLines() if settings.format == "json" else plain)
    logging.basicConfig(level=settings.level.upper(), handlers=[handler], force=True)
    silence_quotes()
    events_into_log()
    queue = logging.getLogger(QUEUE)
    queue.addHandler(logging.NullHandler())  # without any, dbos would write past ours
    queue.addFilter(DatabaseAway())
    logging.getLogger(REPEATING).setLevel(logging.CRITICAL)
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
