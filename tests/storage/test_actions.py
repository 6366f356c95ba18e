"""Read now, read again, send again."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from node.settings import DestinationSettings, Settings
from storage import readings
from storage.actions import ActionRefusedError, read_again, read_now, send_again
from storage.closing import OpenStudy, close_quiet
from storage.database import Database, now
from storage.deliveries import due, post, record_refused, record_sent, replace, settle
from storage.priors import compare_again
from storage.readings import StoredObject
from storage.tables import Delivery, Event, Instance, ResultObject, Revision, Series
from tests.node.web import rows

PACS = {"pacs": ("seg", "sr")}
"""What is set for it."""


def never(_study: OpenStudy) -> bool:
    return False


def test_read_now_closes_a_study_within_its_quiet_period(database: Database) -> None:
    with database.session() as session:
        study = rows.add_study(session)
    with database.session() as session:
        assert close_quiet(session, now(), never) == []
        read_now(session, study.uid, "Ann")
    with database.session() as session:
        assert [closed.study_uid for closed in close_quiet(session, now(), never)] == [study.uid]
        texts = session.scalars(select(Event.text).where(Event.study_uid == study.uid)).all()
    assert "Reading now was asked for by Ann." in texts


def test_read_again_makes_a_new_revision_of_a_failed_study(database: Database) -> None:
    with database.session() as session:
        study = rows.add_study(session)
        rows.fail(session, study, "infer", "The lamp was out.")
    with database.session() as session:
        read_again(session, study.uid, "Ann")
    with database.session() as session:
        close_quiet(session, now(), never)
        numbers = session.scalars(select(Revision.number).where(Revision.study_pk == study.id)).all()
    assert sorted(numbers) == [1, 2]


def test_read_again_is_refused_while_it_is_read_or_was_asked_for(database: Database) -> None:
    with database.session() as session:
        receiving, reading, asked = (rows.add_study(session) for _ in range(3))
        rows.begin_reading(session, reading, rows.close(session, reading))
        rows.fail(session, asked, "infer", "The lamp was out.")
        read_again(session, asked.uid, "Ann")
    for study in (receiving, reading, asked):
        with database.session() as session, pytest.raises(ActionRefusedError):
            read_again(session, study.uid, "Ann")


@pytest.mark.parametrize("is_closed", [False, True], ids=["not closed yet", "queued"])
def test_a_person_need_not_wait_for_a_comparison_that_waits_for_all_others(
    database: Database, tmp_path: Path, is_closed: bool
) -> None:
    with database.session() as session:
        study = rows.add_study(session)
        read = rows.read_and_deliver(session, study, tmp_path)
        session.execute(update(Instance).values(revision=read.number))
        assert compare_again(session, study.uid)
    with database.session() as session:
        assert len(close_quiet(session, now(), never) if is_closed else [study]) == 1
        read_again(session, study.uid, "Ann")
        with pytest.raises(ActionRefusedError, match="under way"):
            read_again(session, study.uid, "Ann")
    with database.session() as session:
        (closed,) = close_quiet(session, now(), never)
        newest = readings.find_revision(session, study.uid, closed.revision_number)
        assert (newest.state, newest.compares_again) == ("queued", False)
        others = session.scalars(select(Revision.state).where(Revision.number < newest.number)).all()
        assert sorted(others) == (["delivered", "superseded"] if is_closed else ["delivered"])
        with pytest.raises(ActionRefusedError, match="under way"):
            read_again(session, study.uid, "Ann")


def test_a_comparison_is_not_begun_anew_while_it_is_read(database: Database) -> None:
    with database.session() as session:
        study = rows.add_study(session)
        rows.begin_reading(session, study, rows.close(session, study, compares_again=True))
        with pytest.raises(ActionRefusedError, match="under way"):
            read_again(session, study.uid, "Ann")


@pytest.mark.parametrize(("is_open", "action"), [(True, read_now), (False, read_again)])
def test_a_result_that_came_back_is_no_image_to_read_where_all_were_deleted(
    database: Database, is_open: bool, action: Callable[[Session, str, str], int]
) -> None:
    with database.session() as session:
        study = rows.add_study(session)
        rows.fail(session, study, "infer", "The lamp was out.")
        result = rows.add_series(session, study, 99, "Not read", 1, now())
        result.modality = "SR"
        report = session.scalars(select(Instance).where(Instance.series_pk == result.id)).one()
        post(session, study.uid, 1, "pacs", [StoredObject("sr", "1.2", report.uid, "1/sr-not-processed.dcm")])
        session.execute(delete(Instance).where(Instance.id != report.id))
        study.is_open, study.images_deleted_at = is_open, now()
    with database.session() as session, pytest.raises(ActionRefusedError, match="Send it again"):
        action(session, study.uid, "Ann")
    with database.session() as session:
        scout = session.scalars(select(Series).where(Series.modality == "CT", Series.number == 1)).one()
        rows.add_image(session, scout, 1, now())
        action(session, study.uid, "Ann")
        assert len(close_quiet(session, now(), never)) == 1


def test_read_now_is_refused_when_nothing_is_waiting(database: Database, tmp_path: Path) -> None:
    with database.session() as session:
        study = rows.add_study(session)
        rows.read_and_deliver(session, study, tmp_path)
    with database.session() as session, pytest.raises(ActionRefusedError, match="Read again"):
        read_now(session, study.uid, "Ann")


def test_send_again_makes_every_delivery_due_and_ends_delivered(database: Database, tmp_path: Path) -> None:
    with database.session() as session:
        study = rows.add_study(session)
        rows.read_and_deliver(session, study, tmp_path)
    with database.session() as session:
        assert due(session, "pacs") == []
        for delivery in session.scalars(select(Delivery)):
            delivery.commit_requests, delivery.commit_due = 3, now()
        assert send_again(session, study.uid, "Ann", PACS) == 2
    with database.session() as session:
        waiting = due(session, "pacs")
        assert [(delivery.kind, delivery.attempts) for delivery in waiting] == [("seg", 0), ("sr", 0)]
        every = session.scalars(select(Delivery)).all()
        assert {(d.commit_requests, d.commit_due) for d in every} == {(0, None)}
        for delivery in waiting:
            record_sent(session, delivery.id)
        assert settle(session, study.uid, 1) == "delivered"


def test_an_object_sent_again_keeps_when_it_was_first_sent(database: Database, tmp_path: Path) -> None:
    with database.session() as session:
        study = rows.add_study(session)
        rows.read_and_deliver(session, study, tmp_path)
    moments = []
    for _ in range(3):
        with database.session() as session:
            first, *_ = session.scalars(select(Delivery).order_by(Delivery.id))
            moments.append((first.first_sent_at, first.sent_at))
            send_again(session, study.uid, "Ann", PACS)
            record_sent(session, first.id)
    assert moments[0][0] is None
    assert [first for first, _ in moments[1:]] == [moments[0][1]] * 2
    assert moments[0][1] < moments[1][1] < moments[2][1]


def test_sending_again_mends_a_refusal_but_not_a_failed_reading(database: Database, tmp_path: Path) -> None:
    outcomes = []
    for stage in ("deliver", "infer"):
        with database.session() as session:
            study = rows.add_study(session)
            revision = rows.read_and_deliver(session, study, tmp_path)
            revision.state, revision.stage, revision.reason = "failed", stage, "It did not go."
        with database.session() as session:
            send_again(session, study.uid, "Ann", PACS)
            for delivery in due(session, "pacs"):
                record_sent(session, delivery.id)
            outcomes.append(settle(session, study.uid, 1))
    assert outcomes == ["delivered", "failed"]


def test_results_that_stand_for_a_later_revision_are_sent_again_for_it(
    database: Database, tmp_path: Path
) -> None:
    with database.session() as session:
        study = rows.add_study(session)
        rows.read_and_deliver(session, study, tmp_path)
        for delivery in session.scalars(select(Delivery)):
            record_refused(session, delivery.id, "class not supported")
        rows.close(session, study)
    with database.session() as session:
        (made,) = readings.readings_of(session, study.uid, 1)
        readings.repeat_reading(session, study.uid, 2, made)
        readings.finish(session, study.uid, 2, "delivering", stage="deliver")
        assert post(session, study.uid, 2, "pacs", made.objects) == 0
        assert settle(session, study.uid, 2) == "failed"
    with database.session() as session:
        send_again(session, study.uid, "Ann", PACS)
    with database.session() as session:
        for waiting in due(session, "pacs"):
            record_sent(session, waiting.id)
        settle(session, study.uid, 1)  # whose objects they are
    with database.snapshot() as session:
        assert readings.find_revision(session, study.uid, 2).state == "delivered"


def test_what_all_readers_made_is_sent_again_whichever_revision_posted_it(
    database: Database, tmp_path: Path
) -> None:
    with database.session() as session:
        study = rows.add_study(session)
        rows.read_and_deliver(session, study, tmp_path)
        later = rows.close(session, study)
        other = rows.add_reading(session, study, later, tmp_path, findings=1)
        other.reader = "ct-lesions"
        rows.deliver(session, study, later, rows.post(session, later, other))
    with database.session() as session:
        (made,) = readings.readings_of(session, study.uid, 1)
        readings.repeat_reading(session, study.uid, 2, made)
    with database.session() as session:
        assert send_again(session, study.uid, "Ann", PACS) == 4
        assert len(due(session, "pacs")) == 4


def test_results_of_a_reading_under_way_are_not_sent(database: Database, tmp_path: Path) -> None:
    with database.session() as session:
        study = rows.add_study(session)
        rows.read_and_deliver(session, study, tmp_path)
        later = rows.close(session, study)
        rows.begin_reading(session, study, later)
        rows.add_reading(session, study, later, tmp_path)
    with database.session() as session:
        assert send_again(session, study.uid, "Ann", PACS) == 2
        assert readings.find_revision(session, study.uid, 2).state == "reading"


@pytest.mark.parametrize(("state", "stage"), [("skipped", "select"), ("failed", "infer")])
def test_a_study_that_was_not_read_stays_so_while_the_report_of_it_is_sent_again(
    state: str, stage: str, database: Database
) -> None:
    with database.session() as session:
        study = rows.add_study(session)
        rows.fail(session, study, stage, "nothing to read: a localizer", state)
        post(session, study.uid, 1, "pacs", [StoredObject("sr", "1.2", "1.2.3.4", "1/sr-not-processed.dcm")])
    with database.session() as session:
        for _ in ("posted", "sent again"):
            for waiting in due(session, "pacs"):
                record_sent(session, waiting.id)
                settle(session, study.uid, 1)
            ended = readings.find_revision(session, study.uid, 1)
            assert (ended.state, ended.stage, ended.reason) == (state, stage, "nothing to read: a localizer")
            assert send_again(session, study.uid, "Ann", PACS) == 1


def test_send_again_leaves_a_destination_alone_that_is_no_longer_set(
    database: Database, tmp_path: Path
) -> None:
    with database.session() as session:
        study = rows.add_study(session)
        rows.read_and_deliver(session, study, tmp_path)
        kept = next(d.id for d in session.scalars(select(Delivery).order_by(Delivery.id)))
        for delivery in session.scalars(select(Delivery).where(Delivery.id != kept)):
            delivery.destination = "old"
        assert send_again(session, study.uid, "Ann", PACS) == 1
        assert due(session, "old") == []
        with pytest.raises(ActionRefusedError, match="none of the destinations"):
            send_again(session, study.uid, "Ann", {"new": ("seg", "sr")})


@pytest.mark.parametrize("wanted", [{"pacs": ("seg", "sr"), "viewer": ("sr",)}, PACS])
@pytest.mark.parametrize("state", ["refused", "waiting"])
def test_what_is_not_to_go_somewhere_any_more_keeps_no_study_from_being_delivered(
    state: str, wanted: dict[str, tuple[str, ...]], database: Database, tmp_path: Path
) -> None:
    with database.session() as session:
        study = rows.add_study(session)
        revision = rows.read_and_deliver(session, study, tmp_path)
        (made,) = readings.readings_of(session, study.uid, 1)
        post(session, study.uid, 1, "viewer", made.objects)
        for waiting in due(session, "viewer"):
            if waiting.kind == "seg" and state == "refused":
                record_refused(session, waiting.id, "class not supported")
        revision.state = "delivering"
    with database.session() as session:
        send_again(session, study.uid, "Ann", wanted)
        assert {one.kind for one in due(session, "viewer")} == set(wanted.get("viewer", ()))
        for waiting in (*due(session, "pacs"), *due(session, "viewer")):
            record_sent(session, waiting.id)
        assert settle(session, study.uid, 1) == "delivered"


@pytest.mark.parametrize("takes_masks", [True, False])
def test_pictures_that_are_not_set_any_more_are_wanted_only_in_the_place_of_what_was_not_taken(
    takes_masks: bool, database: Database, tmp_path: Path
) -> None:
    destinations = (
        DestinationSettings(name="pacs", ae_title="PACS", host="127.0.0.1", port=4242),
        DestinationSettings(name="viewer", ae_title="VIEWER", host="127.0.0.1", port=4243, objects=("sc",)),
    )
    with database.session() as session:
        study = rows.add_study(session)
        revision = rows.close(session, study, state="delivering")
        reading = rows.add_reading(session, study, revision, tmp_path)
        pictures = ResultObject(kind="sc", sop_class="1.2.840.10008.5.1.4.1.1.7", uid="1.2.9", path="sc.dcm")
        reading.objects.append(pictures)
        session.flush()
        (made,) = readings.readings_of(session, study.uid, 1)
        post(session, study.uid, 1, "pacs", made.objects)
    with database.session() as session:
        for each in due(session, "pacs"):
            if each.kind == "sc":
                record_refused(session, each.id, "class not supported")
            elif each.kind == "seg" and not takes_masks:
                assert replace(session, each, "sc")
            else:
                record_sent(session, each.id)
        assert settle(session, study.uid, 1) == "failed"
    with database.session() as session:
        send_again(session, study.uid, "Ann", Settings(destinations=destinations).deliverable)
        again = due(session, "pacs")
        assert [each.kind for each in again] == ["seg", "sr"] + ([] if takes_masks else ["sc"])
        for each in again:
            record_sent(session, each.id)
        assert settle(session, study.uid, 1) == "delivered"


def test_send_again_is_refused_where_there_is_no_result(database: Database) -> None:
    with database.session() as session:
        study = rows.add_study(session)
    with database.session() as session, pytest.raises(ActionRefusedError, match="no result"):
        send_again(session, study.uid, "Ann", PACS)


def test_an_unknown_study_is_named(database: Database) -> None:
    for action in (read_now, read_again, partial(send_again, wanted=PACS)):
        with database.session() as session, pytest.raises(LookupError, match=r"1\.2\.3"):
            action(session, "1.2.3", "Ann")
