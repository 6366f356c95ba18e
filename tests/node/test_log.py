from __future__ import annotations

import json
import logging
import subprocess
import sys

import psycopg

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
dbos_logger.warning("Invalid crontab")
"""


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
    away, other = (line["text"] for line in warnings)
    assert away.startswith("the queue of readings cannot use its database: connection failed")
    assert "secret" not in away
    assert other == "Invalid crontab"
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
        except psycopg.OperationalError:
            told += away.filter(logging.LogRecord("dbos", logging.WARNING, "", 0, "Oh", None, None))
    assert told == 3
