"""An image that contradicts what is known of its study is refused before its sender is told it is kept."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pydicom import Dataset
from sqlalchemy import select

from storage.tables import Study
from tests.node.intake.conftest import Intake
from tests.node.intake.senders import ct_series, ct_slice, send

StartIntake = Callable[..., Intake]
CONFLICT, SUCCESS = 0xC001, 0x0000


def of_patient(patient_id: str, study_uid: str | None = None) -> Dataset:
    image = ct_slice(study_uid)
    image.PatientID = patient_id
    return image


@pytest.mark.parametrize("is_recorded", [True, False], ids=["recorded", "still-in-the-queue"])
def test_another_patients_image_is_refused_and_kept_in_quarantine(intake: Intake, is_recorded: bool) -> None:
    first = of_patient("A")
    images = [first, of_patient("B", first.StudyInstanceUID), of_patient("A", first.StudyInstanceUID)]
    if is_recorded:
        assert send(intake.port, images[:1]) == [SUCCESS]
        intake.receiver.settle()
        assert send(intake.port, images[1:]) == [CONFLICT, SUCCESS]
    else:
        assert send(intake.port, images) == [SUCCESS, CONFLICT, SUCCESS]
    assert len(intake.instances()) == 2
    assert intake.files(intake.archive.set_aside) == []
    [refusal] = intake.refusals()
    assert "its Patient ID is not that of the study it names" in refusal.reason
    assert refusal.study_uid == first.StudyInstanceUID
    assert intake.archive.path(refusal.path).is_relative_to(intake.archive.quarantine)


def test_a_series_of_another_study_is_refused(intake: Intake) -> None:
    image = ct_slice()
    split = ct_slice(series_uid=image.SeriesInstanceUID)
    assert send(intake.port, [image, split]) == [SUCCESS, CONFLICT]
    assert "a series of another study" in intake.refusals()[0].reason


def test_what_an_earlier_run_received_is_known(start_intake: StartIntake, transport: str) -> None:
    first = of_patient("A")
    intake = start_intake(transport)
    assert send(intake.port, [first]) == [SUCCESS]
    intake.receiver.stop()
    again = start_intake(transport)
    assert send(again.port, [of_patient("B", first.StudyInstanceUID)]) == [CONFLICT]


def test_what_was_refused_claims_no_study(intake: Intake) -> None:
    broken, sound = of_patient("B"), of_patient("A")
    broken.StudyInstanceUID = sound.StudyInstanceUID
    del broken.PixelData
    assert send(intake.port, [broken, sound]) == [0xC000, SUCCESS]


def test_a_study_that_was_given_to_another_patient_meanwhile_is_asked_about_again(intake: Intake) -> None:
    first = of_patient("A")
    send(intake.port, [first])
    intake.receiver.settle()
    with intake.database.session() as session:
        session.scalars(select(Study)).one().patient.patient_id = "B"
    assert send(intake.port, [of_patient("B", first.StudyInstanceUID)]) == [SUCCESS]


def test_without_a_database_nothing_is_refused_and_what_contradicts_is_set_aside_later(
    intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, stranger = of_patient("A"), of_patient("B")
    stranger.StudyInstanceUID = first.StudyInstanceUID
    assert send(intake.port, [first]) == [SUCCESS]
    intake.receiver.settle()
    monkeypatch.setattr("node.intake.belongings.belonging", away)
    assert send(intake.port, [stranger, *ct_series(2)]) == [SUCCESS] * 3
    assert len(intake.instances()) == 3
    assert len(intake.files(intake.archive.set_aside)) == 1


def away(*_: object) -> None:
    raise ConnectionError("the database is away")
