from __future__ import annotations

import json
import logging
import sqlite3
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.exc import DBAPIError

from node.log import DatabaseAway

SAY = """
import logging, sys, warnings
from pathlib import Path
from node.log import set_up_logging
from node.settings import LogSettings
set_up_logging(LogSettings(format=sys.argv[1]))
"""
QUOTE = """
import pydicom
from pydicom.dataset import Dataset
from highdicom.valuerep import check_person_name
pydicom.config.settings.reading_validation_mode = pydicom.config.WARN
check_person_name("Secret")
Dataset().StudyInstanceUID = "Secret"
data = Dataset()
data.PatientName = "Secret" * 20
logging.getLogger("highdicom.sr").info("Secret")
print("said", file=sys.stderr)
"""
STORE = """
from storage.database import Database
from storage.events import log_event
database = Database(sys.argv[2])
with database.session() as session:
    log_event(session, "infer", "The lamp was out.", study_uid="1.2.3", level="warning")
with database.session() as session:
    log_event(session, "retention", "12 images were deleted.")
"""

AWAY = """
import traceback
import psycopg
from sqlalchemy import create_engine
from dbos._logger import dbos_logger, init_logger
init_logger()
def warn(database):
    try:
        database()
    except Exception as error:
        dbos_logger.warning(f"Exception polling schedules: {traceback.format_exc()}")
        dbos_logger.warning("Fallback notification poll failed", exc_info=True)
        dbos_logger.error("DBOS failed to launch:", exc_info=error)
closed = "postgresql+psycopg://overread:secret@127.0.0.1:1/overread"
for _ in range(3):
    warn(create_engine(closed).connect)
    warn(lambda: psycopg.connect("postgresql://127.0.0.1:1"))
try:
    create_engine("sqlite://").connect().exec_driver_sql("SELECT * FROM absent")
except Exception as error:
    dbos_logger.warning("Skipping recovery of workflow 7")
    dbos_logger.warning(f"Exception listing queues: {error}")
try:
    create_engine(closed).connect()
except Exception:
    dbos_logger.warning("Invalid crontab")
"""
LOADED = "print([name for name in ('psycopg', 'psycopg_binary') if name in sys.modules], file=sys.stderr)"


def said(*code: str, arguments: tuple[str, ...] = ("plain",)) -> str:
    """On standard error, by a process that logs as the node does."""
    ran = subprocess.run(
        [sys.executable, "-c", "\n".join((SAY, *code)), *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    return ran.stderr


def test_libraries_that_quote_a_name_are_not_heard() -> None:
    assert said(QUOTE) == "said\n"


def test_what_comes_onto_a_timeline_is_logged_with_its_study_and_level(database_url: str) -> None:
    study, node = said(STORE, arguments=("plain", database_url)).splitlines()
    assert study.endswith("WARNING storage.events: study 1.2.3, infer: The lamp was out.")
    assert node.endswith("INFO    storage.events: the node, retention: 12 images were deleted.")


def test_a_queue_whose_database_is_away_says_so_in_a_line_and_hides_nothing_else() -> None:
    lines = [json.loads(line) for line in said(AWAY, arguments=("json",)).splitlines()]
    warnings = [line for line in lines if line["level"] == "warning"]
    schedules, notifications, skipped, queues, crontab = (line["text"] for line in warnings)
    begin = "the queue of readings cannot use its database"
    assert schedules.startswith(f"{begin} (Exception polling schedules): connection failed")
    assert notifications.startswith(f"{begin} (Fallback notification poll failed): connection failed")
    assert "secret" not in schedules + notifications
    assert (skipped, crontab) == ("Skipping recovery of workflow 7", "Invalid crontab")
    assert queues.startswith("Exception listing queues: (sqlite3.OperationalError) no such table: absent")
    assert not any("traceback" in line for line in warnings)
    errors = [line for line in lines if line["level"] == "error"]
    assert len(errors) == 6
    assert all("Traceback" in line["traceback"] for line in errors)


def test_a_database_that_stays_away_is_told_again_each_minute() -> None:
    clock = [0.0]
    away = DatabaseAway(lambda: clock[0])
    told = 0
    for clock[0] in range(0, 180, 5):
        try:
            psycopg.connect("postgresql://127.0.0.1:1")
        except psycopg.OperationalError as error:
            told += away.filter(warning(error))
    assert told == 3


@pytest.mark.parametrize(
    ("error", "is_away"),
    [
        (psycopg.OperationalError("consuming input failed: the server closed the connection"), True),
        (psycopg.errors.AdminShutdown("terminating connection"), True),
        (psycopg.errors.DeadlockDetected("deadlock detected"), False),
        (psycopg.errors.DiskFull("No space left on device"), False),
        (psycopg.ProgrammingError("cannot adapt"), False),
        (ValueError("no number"), False),
    ],
)
def test_a_database_that_fails_otherwise_is_told_as_it_is(error: Exception, is_away: bool) -> None:
    for one in (error, DBAPIError("SELECT 1", None, error)):
        record = warning(one)
        assert DatabaseAway().filter(record)
        assert (record.exc_info is None) is is_away
        assert (record.getMessage() != "Polling failed") is is_away


def test_a_file_of_sqlite_that_cannot_be_opened_is_a_database_that_is_away(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError) as failed:
        sqlite3.connect(tmp_path / "absent" / "overread.db")
    record = warning(failed.value)
    assert DatabaseAway().filter(record)
    assert record.getMessage().endswith("(Polling failed): unable to open database file")


def test_logging_loads_no_driver_of_a_database() -> None:
    assert said(LOADED) == "[]\n"


def warning(error: Exception) -> logging.LogRecord:
    exc_info = (type(error), error, None)
    return logging.LogRecord("dbos", logging.WARNING, "", 0, "Polling failed", None, exc_info)
