"""What is due, whatever the clock did, and when the next is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.orm import Session

from storage import deliveries, fetching
from storage.database import Database, now
from storage.readings import StoredObject
from storage.tables import Delivery
from tests.node.web import rows

PAUSE = timedelta(seconds=30)
REPORT = StoredObject("sr", "1.2.840.10008.5.1.4.1.1.88.34", "1.2.9", "results/sr.dcm")
MASKS = StoredObject("seg", "1.2.840.10008.5.1.4.1.1.66.4", "1.2.8", "results/seg.dcm")


@pytest.fixture
def a_year_ahead(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The clock, until it is put right by undoing."""
    for module in (deliveries, fetching):
        monkeypatch.setattr(module, "now", lambda: now() + timedelta(days=365))
    return monkeypatch


def posted(database: Database) -> str:
    """The UID of a study with one object posted by the clock as it stands."""
    with database.session() as session:
        study = rows.add_study(session)
        rows.close(session, study, state="delivering")
        deliveries.post(session, study.uid, 1, "pacs", [REPORT])
        return study.uid


def test_what_was_posted_by_a_clock_a_year_ahead_is_sent_once_it_is_put_right(
    database: Database, a_year_ahead: pytest.MonkeyPatch
) -> None:
    posted(database)
    a_year_ahead.undo()
    with database.snapshot() as session:
        assert [each.object_uid for each in deliveries.due(session, "pacs")] == [REPORT.uid]


def test_what_was_sent_by_a_clock_a_year_ahead_is_asked_to_be_kept_once_it_is_put_right(
    database: Database, a_year_ahead: pytest.MonkeyPatch
) -> None:
    posted(database)
    with database.session() as session:
        (each,) = deliveries.due(session, "pacs")
        deliveries.record_sent(session, each.id, confirm=True)
    a_year_ahead.undo()
    with database.snapshot() as session:
        assert [each.object_uid for each in deliveries.to_be_confirmed(session, "pacs")] == [REPORT.uid]


def test_an_archive_that_was_away_by_a_clock_a_year_ahead_is_asked_once_it_is_put_right(
    database: Database, a_year_ahead: pytest.MonkeyPatch
) -> None:
    uid = posted(database)
    with database.session() as session:
        fetching.note_unanswered(session, uid, "archive", "it is away", PAUSE)
    a_year_ahead.undo()
    with database.snapshot() as session:
        assert [each.study_uid for each in fetching.due_again(session)] == [uid]


def test_an_attempt_that_failed_waits_out_its_pause_be_it_the_longest(database: Database) -> None:
    posted(database)
    with database.session() as session:
        (each,) = deliveries.due(session, "pacs")
        for pause in (PAUSE, timedelta(days=7)):
            deliveries.record_failed(session, each.id, "away", pause)
            assert deliveries.due(session, "pacs") == []


def test_what_is_to_be_confirmed_is_not_due_while_another_object_of_its_revision_waits(
    database: Database,
) -> None:
    uid = posted(database)
    with database.session() as session:
        deliveries.post(session, uid, 1, "pacs", [MASKS])
        report, masks = deliveries.due(session, "pacs")
        deliveries.record_sent(session, report.id, confirm=True)
        again_at = deliveries.record_failed(session, masks.id, "away", PAUSE)
    with database.snapshot() as session:
        assert deliveries.due(session, "pacs") == deliveries.to_be_confirmed(session, "pacs") == []
        assert deliveries.next_due(session, "pacs") == again_at
    with database.session() as session:
        deliveries.record_sent(session, masks.id, confirm=True)
        (first, _) = deliveries.to_be_confirmed(session, "pacs")
        assert first.object_uid == REPORT.uid
        due_at = deliveries.next_due(session, "pacs")
        assert due_at is not None and due_at <= now()


def test_what_had_arrived_where_it_is_not_to_go_any_more_counts_as_sent(database: Database) -> None:
    uid = posted(database)
    with database.session() as session:
        deliveries.post(session, uid, 1, "vna", [REPORT])
        (there,) = deliveries.due(session, "pacs")
        deliveries.record_sent(session, there.id, confirm=True)
        assert deliveries.retire(session, ["vna"]) == 1
        assert deliveries.forget_unwanted(session, uid, 1, {"vna": ("sr",)}) == 1
    with database.session() as session:
        assert session.get_one(Delivery, there.id).state == "sent"
        (waiting,) = deliveries.due(session, "vna")
        deliveries.record_sent(session, waiting.id)
        assert deliveries.settle(session, uid, 1) == "delivered"


@pytest.mark.parametrize("look", [deliveries.next_due, deliveries.to_be_confirmed])
def test_what_awaits_commitment_is_found_without_a_look_at_all_that_was_sent(
    database: Database, look: Callable[[Session, str], object]
) -> None:
    with database.session() as session, plans_of(session) as plans:
        look(session, "pacs")
    assert any("ix_deliveries_commit_due" in plan for plan in plans)


@contextmanager
def plans_of(session: Session) -> Iterator[list[str]]:
    """How the database goes about each query, written down as it is asked."""
    plans: list[str] = []
    connection = session.connection()
    is_postgresql = connection.dialect.name == "postgresql"
    if is_postgresql:
        connection.execute(text("SET LOCAL enable_seqscan = off"))  # as it were with many rows

    def explain(_: object, cursor: Any, statement: str, parameters: Any, *__: object) -> None:
        cursor.execute(f"EXPLAIN {'' if is_postgresql else 'QUERY PLAN '}{statement}", parameters)
        plans.append(str(cursor.fetchall()))

    event.listen(connection, "before_cursor_execute", explain)
    yield plans
    event.remove(connection, "before_cursor_execute", explain)
