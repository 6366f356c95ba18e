from __future__ import annotations

import subprocess
import sys

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
