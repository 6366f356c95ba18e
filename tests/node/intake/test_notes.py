"""A sender whose objects are refused is told of without filling log, page and database."""

from __future__ import annotations

import pytest

from node.intake import notes
from node.intake.callers import Caller
from node.intake.door import Door
from node.intake.notes import RefusalNotes
from node.settings import AllowedCaller, DicomSettings
from tests.node.intake.conftest import Intake
from tests.node.intake.senders import ct_series, send


def test_refused_objects_are_noted_one_by_one_until_they_are_too_many(
    intake: Intake, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(notes, "OBJECTS_AN_HOUR", 3)
    broken = ct_series(11)
    for image in broken:
        del image.PixelData
    assert send(intake.port, broken[:10]) == [0xC000] * 10
    assert len(intake.refusals()) == 4
    monkeypatch.setattr(notes, "SECONDS_BETWEEN_NOTES", 0)
    send(intake.port, broken[10:])
    *_, last = intake.refusals()
    assert last.uid == broken[10].SOPInstanceUID
    assert last.reason.endswith("without pixel data (6 more from there since the last such line)")
    assert len([record for record in caplog.records if record.name == notes.__name__]) == 5
    assert len(intake.files(intake.archive.quarantine)) == 11


def test_the_log_names_once_who_was_turned_away(intake: Intake, caplog: pytest.LogCaptureFixture) -> None:
    door = Door(
        DicomSettings(allowed_callers=(AllowedCaller(ae_title="CT1"),)), RefusalNotes(intake.receiver._ledger)
    )
    door.is_welcome(Caller("CT2", "10.0.0.9"))
    (line,) = [record.getMessage() for record in caplog.records if record.name == notes.__name__]
    assert line.startswith("Turned away: CT2@10.0.0.9 is not among dicom.allowed_callers")
