"""What was made leaves, and a study that comes late has those compared again that it is a prior of."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

from inference.catalogue import Catalogue
from inference.engine.embedded import EmbeddedEngine
from node.reading_room import ReadingRoom
from node.settings import DestinationSettings, PriorsSettings, Settings
from node.settings.results import ResultsSettings
from node.steps import Job, deliver, say_if_not_processed
from storage import deliveries, readings
from storage.archive import Archive
from storage.database import Database, now
from storage.readings import StoredObject
from storage.tables import Event, Instance, Series, Study
from tests.node.web import rows

MONTH = timedelta(days=30)
LONG_AGO = now() - 20 * MONTH


@pytest.fixture
def room(database: Database, tmp_path: Path) -> ReadingRoom:
    catalogue = Catalogue()
    archive = Archive(tmp_path / "data", durable=False)
    settings = Settings(priors=PriorsSettings(at_most=2))
    return ReadingRoom(settings, database, archive, catalogue, EmbeddedEngine(catalogue))


def add(room: ReadingRoom, at: datetime, modality: str = "CT", state: str = "delivered") -> str:
    """A study of the one patient, in a state; with a reading, unless it was skipped."""
    with room.database.session() as session:
        study = rows.add_study(session, patient_id="P1", at=at)
        for series in session.scalars(select(Series).where(Series.study_pk == study.id)):
            series.modality = modality
        revision = rows.close(session, study, state=state)
        if state != "skipped":
            rows.add_reading(session, study, revision, room.archive.root)
        if state == "stored":
            study.fetched_until = at
        return study.uid


def compared_again(room: ReadingRoom) -> list[str]:
    with room.database.snapshot() as session:
        return list(session.scalars(select(Study.uid).where(Study.read_now).order_by(Study.study_date)))


@pytest.mark.parametrize(
    ("modality", "state"), [("CR", "skipped"), ("CR", "delivered"), ("CT", "skipped"), ("CT", "stored")]
)
def test_what_is_not_compared_again_keeps_a_late_prior_from_no_study_that_is(
    room: ReadingRoom, modality: str, state: str
) -> None:
    late = add(room, LONG_AGO, state="reading")
    for months in (1, 2, 3):
        add(room, LONG_AGO + months * MONTH, modality, state)
    later = [add(room, LONG_AGO + months * MONTH) for months in (4, 5, 6)]
    deliver(room, Job(late, 1), ["lung-nodules"], [])
    assert compared_again(room) == later[:2]


def test_scans_of_the_same_day_are_compared_again_after_those_that_growth_is_told_of(
    room: ReadingRoom,
) -> None:
    morning = LONG_AGO.replace(hour=8)
    late = add(room, morning, state="reading")
    for hours in (1, 2):
        add(room, morning + timedelta(hours=hours))
    later = [add(room, morning + months * MONTH) for months in (1, 2)]
    deliver(room, Job(late, 1), ["lung-nodules"], [])
    assert compared_again(room) == later


def test_a_late_radiograph_has_nothing_compared_again(room: ReadingRoom) -> None:
    late = add(room, LONG_AGO, "CR", state="reading")
    add(room, LONG_AGO + MONTH)
    deliver(room, Job(late, 1), ["lung-nodules"], [])
    assert compared_again(room) == []


def test_a_study_that_comes_last_has_no_earlier_one_compared_again(room: ReadingRoom) -> None:
    add(room, LONG_AGO)
    last = add(room, LONG_AGO + MONTH, state="reading")
    deliver(room, Job(last, 1), ["lung-nodules"], [])
    assert compared_again(room) == []


def test_what_a_destination_refused_that_is_not_set_any_more_fails_no_study_that_is_read_again(
    room: ReadingRoom,
) -> None:
    with room.database.session() as session:
        study = rows.add_study(session)
        reading = rows.add_reading(session, study, rows.close(session, study), room.archive.root)
        posted = [StoredObject(o.kind, o.sop_class, o.uid, o.path) for o in reading.objects]
        deliveries.post(session, study.uid, 1, "old", posted)
        for waiting in deliveries.due(session, "old"):
            deliveries.record_refused(session, waiting.id, "it does not know the class")
        rows.close(session, study, state="reading")
        (made,) = readings.readings_of(session, study.uid, 1)
        readings.repeat_reading(session, study.uid, 2, made)
    deliver(room, Job(study.uid, 2), ["lung-nodules"], [])
    with room.database.snapshot() as session:
        assert readings.find_revision(session, study.uid, 2).state == "delivered"
        told = list(session.scalars(select(Event.text).where(Event.study_uid == study.uid)))
    left_out = "2 deliveries left out that had failed or still waited"
    assert f"{left_out}: by the settings nothing of the kind goes there" in told


def test_a_study_whose_results_a_destination_refused_is_not_said_to_be_unread(room: ReadingRoom) -> None:
    pacs = DestinationSettings(name="pacs", ae_title="PACS", host="127.0.0.1", port=4242)
    settings = Settings(destinations=(pacs,), results=ResultsSettings(not_processed=True))
    with room.database.session() as session:
        study = rows.add_study(session)
        session.execute(update(Instance).values(revision=1))
        rows.add_reading(session, study, rows.close(session, study, state="reading"), room.archive.root)
    job, there = Job(study.uid, 1), replace(room, settings=settings)
    deliver(there, job, ["lung-nodules"], [])
    with room.database.session() as session:
        for waiting in deliveries.due(session, "pacs"):
            deliveries.record_refused(session, waiting.id, "it does not know the class")
        assert deliveries.settle(session, study.uid, 1) == "failed"
    say_if_not_processed(there, job)
    with room.database.snapshot() as session:
        told = session.scalars(select(Event.text).where(Event.study_uid == study.uid))
        assert not [text for text in told if "nothing was read" in text]


def test_results_that_a_power_cut_took_back_are_not_said_to_be_delivered(room: ReadingRoom) -> None:
    with room.database.session() as session:
        study = rows.add_study(session)
        revision = rows.close(session, study, state="reading")
        rows.add_reading(session, study, revision, room.archive.root)
    deliver(room, Job(study.uid, 1), ["lung-nodules", "ct-lesions"], [])
    with room.database.snapshot() as session:
        ended = readings.find_revision(session, study.uid, 1)
        assert (ended.state, ended.stage) == ("failed", "results")
        assert ended.reason.startswith("the results of ct-lesions were written and are not in the database")
