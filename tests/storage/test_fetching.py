"""Which archives have still to be asked for priors, and when."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select

from storage import fetching
from storage.database import Database, now
from storage.intake import record
from storage.tables import Unanswered
from tests.storage.test_intake import image

PAUSE = timedelta(seconds=30)


def came_in(database: Database) -> None:
    with database.session() as session:
        record(session, [image(1, "1.1", "1.1.1")])


def test_an_archive_without_answer_is_due_again_later_and_later_until_it_answers(database: Database) -> None:
    came_in(database)
    pauses = []
    for _ in range(3):
        with database.session() as session:
            fetching.note_unanswered(session, "1.1", "pacs", "it is away", PAUSE)
            session.flush()
            row = session.scalars(select(Unanswered)).one()
            pauses.append((row.next_at - now()).total_seconds())
            row.next_at = now()
            session.flush()
            assert [(d.study_uid, d.archive) for d in fetching.due_again(session)] == [("1.1", "pacs")]
    assert pauses == pytest.approx([30, 60, 120], abs=5)
    with database.session() as session:
        fetching.note_answered(session, "1.1", "pacs")
        assert fetching.due_again(session) == []


def test_after_errors_an_archive_is_asked_a_day_later_at_most(database: Database) -> None:
    came_in(database)
    longest = fetching.LONGEST_PAUSE_AFTER_AN_ERROR
    with database.session() as session:
        for _ in range(20):
            fetching.note_unanswered(session, "1.1", "pacs", "0xC001", PAUSE, longest)
            session.flush()
        row = session.scalars(select(Unanswered)).one()
        assert row.next_at - now() > timedelta(hours=23)
        attempts = row.attempts
        fetching.ask_later(session, "1.1", "pacs", PAUSE)
        assert row.next_at - now() <= PAUSE
        assert row.attempts == attempts
