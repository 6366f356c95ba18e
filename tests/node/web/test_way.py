"""Where a study stands, and what can be done, as its page tells it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from node.web.way import Stop, stuck_deliveries, way_of, what_to_do
from storage.database import Database, now
from storage.dossier import Dossier, study_dossier
from tests.node.web import rows


def dossier(database: Database, uid: str) -> Dossier:
    with database.snapshot() as session:
        found = study_dossier(session, uid)
    assert found is not None
    return found


@pytest.fixture
def of_each_state(database: Database, data_dir: Path) -> dict[str, Dossier]:
    with database.session() as session:
        studies = rows.one_in_every_state(session, data_dir)
    return {state: dossier(database, study.uid) for state, study in studies.items()}


def test_no_stop_is_marked_done_that_was_not_reached(of_each_state: dict[str, Dossier]) -> None:
    marks = {state: tuple(stop.mark for stop in way_of(dossier)) for state, dossier in of_each_state.items()}
    assert marks == {
        "receiving": ("under", "", ""),
        "queued": ("done", "", ""),
        "reading": ("done", "under", ""),
        "delivering": ("done", "done", "under"),
        "delivered": ("done", "done", "done"),
        "negative": ("done", "done", "done"),
        "failed": ("done", "broken", ""),
        "skipped": ("done", "", ""),
        "stored": ("done", "", ""),
    }


def test_a_study_in_the_queue_again_is_not_told_by_its_last_reading(
    database: Database, data_dir: Path
) -> None:
    with database.session() as session:
        study = rows.add_study(session)
        rows.read_and_deliver(session, study, data_dir)
        rows.close(session, study)
    _, read, delivered = way_of(dossier(database, study.uid))
    assert read.words.startswith("in the queue for ")
    assert delivered == Stop("Delivered", "", "not yet")


def test_a_refused_object_breaks_the_delivery_and_a_failed_reader_the_reading(
    database: Database, data_dir: Path
) -> None:
    with database.session() as session:
        study = rows.add_study(session)
        revision = rows.read_and_deliver(session, study, data_dir)
        revision.state, revision.stage, revision.reason = "failed", "deliver", "1 of 2 objects is not there"
        uid = study.uid
    there = dossier(database, uid)
    assert [stop.mark for stop in way_of(there)] == ["done", "done", "broken"]
    assert "“Send again”" in what_to_do(there.study)
    with database.session() as session:
        session.merge(revision).stage = "infer"
    there = dossier(database, uid)
    assert [stop.mark for stop in way_of(there)] == ["done", "broken", ""]
    assert way_of(there)[1].words == "lung-nodules; another reader failed"
    assert way_of(there)[2].words == "2 of 2 deliveries"
    assert "“Read again”" in what_to_do(there.study)


def test_what_another_kind_went_instead_of_is_not_missing(database: Database, data_dir: Path) -> None:
    with database.session() as session:
        study = rows.add_study(session)
        revision = rows.close(session, study)
        reading = rows.add_reading(session, study, revision, data_dir)
        deliveries = rows.post(session, revision, reading)
        rows.deliver(session, study, revision, deliveries)
        deliveries[0].state = "replaced"
    assert way_of(dossier(database, study.uid))[2] == Stop("Delivered", "done", "1 of 1 delivery")


def test_what_waits_is_told_by_destination_once_it_was_tried(database: Database, data_dir: Path) -> None:
    soon, later = now() + timedelta(minutes=1), now() + timedelta(minutes=9)
    with database.session() as session:
        study = rows.add_study(session)
        revision = rows.close(session, study)
        reading = rows.add_reading(session, study, revision, data_dir)
        first, second = rows.post(session, revision, reading)
        rows.post(session, revision, reading, "viewer")
        first.attempts, first.next_at, first.last_error = 2, later, "was full"
        second.attempts, second.next_at, second.last_error = 5, soon, "cannot be reached"
    (stuck,) = stuck_deliveries(dossier(database, study.uid))
    assert (stuck.destination, stuck.count, stuck.attempts) == ("pacs", 2, 5)
    assert (stuck.next_at, stuck.last_error) == (soon, "cannot be reached")


def test_nothing_is_to_be_done_about_what_goes_well(of_each_state: dict[str, Dossier]) -> None:
    to_do = {state for state, dossier in of_each_state.items() if what_to_do(dossier.study)}
    assert to_do == {"failed", "skipped"}
