"""An image that contradicts what is known of its study is refused before its sender is told it is kept."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest
from pydicom import Dataset
from sqlalchemy import select

from node.intake.belongings import Belongings
from node.intake.header import Header
from storage.belonging import Owners
from storage.intake import Recorded, record
from storage.tables import Study
from tests.node.intake.conftest import Intake
from tests.node.intake.senders import ct_series, ct_slice, send

StartIntake = Callable[..., Intake]
CONFLICT, SUCCESS = 0xC001, 0x0000


def of_patient(patient_id: str, study_uid: str | None = None) -> Dataset:
    image = ct_slice(study_uid)
    image.PatientID = patient_id
    return image


def test_another_patients_image_is_refused_and_kept_in_quarantine(intake: Intake) -> None:
    first = of_patient("A")
    assert send(intake.port, [first]) == [SUCCESS]
    intake.receiver.settle()
    others = [of_patient("B", first.StudyInstanceUID), of_patient("A", first.StudyInstanceUID)]
    assert send(intake.port, others) == [CONFLICT, SUCCESS]
    assert len(intake.instances()) == 2
    assert intake.files(intake.archive.set_aside) == []
    [refusal] = intake.refusals()
    assert "its Patient ID is not that of the study it names" in refusal.reason
    assert refusal.study_uid == first.StudyInstanceUID
    assert intake.archive.path(refusal.path).is_relative_to(intake.archive.quarantine)


def test_a_series_of_another_study_is_refused(intake: Intake) -> None:
    image = ct_slice()
    split = ct_slice(series_uid=image.SeriesInstanceUID)
    assert send(intake.port, [image]) == [SUCCESS]
    intake.receiver.settle()
    assert send(intake.port, [split]) == [CONFLICT]
    assert "a series of another study" in intake.refusals()[0].reason


def under_another_study(image: Dataset) -> Dataset:
    other = ct_slice()
    other.SOPInstanceUID = image.SOPInstanceUID
    return other


def test_an_image_under_the_uid_of_another_studys_is_refused(intake: Intake) -> None:
    first = ct_slice()
    assert send(intake.port, [first]) == [SUCCESS]
    intake.receiver.settle()
    assert send(intake.port, [under_another_study(first), first]) == [CONFLICT, SUCCESS]
    assert intake.files(intake.archive.set_aside) == []
    [refusal] = intake.refusals()
    assert refusal.reason == "its SOP Instance UID belongs to an image of another study"
    [kept] = intake.instances()
    intake.archive.path(kept.path).unlink()
    with intake.database.session() as session:
        session.delete(session.merge(kept))
    assert send(intake.port, [under_another_study(first)]) == [SUCCESS]
    assert len(intake.instances()) == 1


def test_a_uid_that_an_earlier_run_received_in_another_study_is_known_once_it_was_set_aside(
    start_intake: StartIntake, transport: str
) -> None:
    first = ct_slice()
    intake = start_intake(transport)
    assert send(intake.port, [first]) == [SUCCESS]
    intake.receiver.stop()
    again = start_intake(transport)
    assert send(again.port, [under_another_study(first)]) == [SUCCESS]
    assert len(again.files(again.archive.set_aside)) == 1
    assert send(again.port, [under_another_study(first)]) == [CONFLICT]


def test_what_an_earlier_run_received_is_known_from_the_first_that_is_entered(
    start_intake: StartIntake, transport: str
) -> None:
    first = of_patient("A")
    intake = start_intake(transport)
    assert send(intake.port, [first]) == [SUCCESS]
    intake.receiver.stop()
    again = start_intake(transport)
    strangers = [of_patient("B", first.StudyInstanceUID) for _ in range(3)]
    assert send(again.port, strangers[:1]) == [SUCCESS]
    assert len(again.files(again.archive.set_aside)) == 1
    assert send(again.port, strangers[1:]) == [CONFLICT] * 2
    assert len(again.instances()) == 1


def test_what_was_refused_claims_no_study(intake: Intake) -> None:
    broken, sound = of_patient("B"), of_patient("A")
    broken.StudyInstanceUID = sound.StudyInstanceUID
    del broken.PixelData
    assert send(intake.port, [broken, sound]) == [0xC000, SUCCESS]


def test_of_two_patients_whose_first_images_come_at_once_the_one_entered_first_keeps_the_study(
    intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    both_came = threading.Event()

    def record_then(*given: Any) -> Recorded:
        both_came.wait(60)
        return record(*given)

    monkeypatch.setattr("node.intake.ledger.record", record_then)
    study_uid = ct_slice().StudyInstanceUID
    assert send(intake.port, [of_patient("A", study_uid), of_patient("B", study_uid)]) == [SUCCESS] * 2
    both_came.set()
    assert len(intake.files(intake.archive.set_aside)) == 1
    assert send(intake.port, [of_patient("B", study_uid), of_patient("A", study_uid)]) == [CONFLICT, SUCCESS]
    assert len(intake.instances()) == 2
    assert len(intake.files(intake.archive.set_aside)) == 1


def test_a_study_that_was_given_to_another_patient_meanwhile_is_known_as_theirs_after_one_refusal(
    intake: Intake,
) -> None:
    first = of_patient("A")
    send(intake.port, [first])
    intake.receiver.settle()
    with intake.database.session() as session:
        session.scalars(select(Study)).one().patient.patient_id = "B"
    image = of_patient("B", first.StudyInstanceUID)
    assert send(intake.port, [image]) == [CONFLICT]
    intake.receiver.settle()
    assert send(intake.port, [image]) == [SUCCESS]


def test_without_a_database_nothing_is_refused_and_once_it_is_back_what_contradicts_is(
    start_intake: StartIntake, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = of_patient("A")
    intake = start_intake(transport)
    assert send(intake.port, [first]) == [SUCCESS]
    intake.receiver.stop()
    intake = start_intake(transport)
    is_back = threading.Event()
    true_record = record

    def away_for_now(*given: Any) -> Recorded:
        if not is_back.is_set():
            raise ConnectionError("the database is away")
        return true_record(*given)

    monkeypatch.setattr("node.intake.ledger.record", away_for_now)
    strangers = [of_patient("B", first.StudyInstanceUID) for _ in range(4)]
    assert send(intake.port, [*strangers[:2], *ct_series(2)]) == [SUCCESS] * 4
    is_back.set()
    assert len(intake.instances()) == 3
    assert len(intake.files(intake.archive.set_aside)) == 2
    assert send(intake.port, strangers[2:]) == [CONFLICT] * 2
    assert len(intake.files(intake.archive.set_aside)) == 2


def test_a_database_that_never_answers_holds_up_no_sender(
    intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = threading.Event()

    def hangs(*given: Any) -> Recorded:
        answers.wait(60)
        return record(*given)

    monkeypatch.setattr("node.intake.ledger.record", hangs)
    monkeypatch.setattr(intake.database, "snapshot", hangs)
    began = time.monotonic()
    assert send(intake.port, [of_patient("A"), *ct_series(2)]) == [SUCCESS] * 3
    took = time.monotonic() - began
    answers.set()
    assert took < 20
    monkeypatch.undo()
    assert len(intake.instances()) == 3


def test_no_more_is_known_than_what_came_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.intake.belongings.MOST_KNOWN", 2)
    known = Belongings()
    for uid in ("1.1", "1.2", "1.1", "1.3"):
        known.learn(Owners({uid: "A"}, {f"{uid}.1": uid}, {}), {})
    strangers = [header(uid) for uid in ("1.1", "1.2", "1.3")]
    assert [bool(known.contradiction(one)) for one in strangers] == [True, False, True]


def header(study_uid: str) -> Header:
    """Of the first image of a series, of patient B."""
    texts = {field.name: "" for field in fields(Header)}
    return Header(**{**texts, "study_uid": study_uid, "patient_id": "B", "series_number": None})  # type: ignore[arg-type]
