"""A study that is sent again leaves one line on its timeline."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from storage.database import Database
from storage.events import log_event
from storage.resends import Lines, Resent, note_resends
from storage.tables import Event

START = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Sender:
    """Sends again what is here, from its first association to its last, ``after`` so many seconds."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.lines: Lines = {}

    def __call__(self, after: float, *counts: int, study: str = "1.1", source: str = "CT1") -> None:
        at = START + timedelta(seconds=after)
        with self._database.session() as session:
            resent = [Resent(at, study, source, count) for count in counts]
            self.lines = note_resends(session, resent, self.lines)


@pytest.fixture
def resend(database: Database) -> Sender:
    return Sender(database)


def told(database: Database, study: str = "1.1") -> list[str]:
    with database.snapshot() as session:
        return list(session.scalars(select(Event.text).where(Event.study_uid == study).order_by(Event.id)))


def test_a_resend_is_one_line_with_its_count_and_sender(database: Database, resend: Sender) -> None:
    resend(0, 12)
    resend(0, 1, study="1.2", source="PACS")
    assert told(database) == ["12 images came again from CT1 and were already here."]
    assert told(database, "1.2") == ["1 image came again from PACS and was already here."]


def test_an_association_for_each_image_is_not_a_line_for_each(database: Database, resend: Sender) -> None:
    resend(0, 1, 1)
    for second in range(20, 120, 20):
        resend(second, 1)
    assert told(database) == ["7 images came again from CT1 and were already here."]
    with database.snapshot() as session:
        assert session.scalars(select(Event.at)).one() == START + timedelta(seconds=100)


def test_a_later_resend_one_of_another_and_one_after_something_else_are_lines_of_their_own(
    database: Database, resend: Sender
) -> None:
    resend(0, 3)
    resend(60, 3)
    resend(61, 3, source="CT2")
    with database.session() as session:
        log_event(session, "receive", "Reading again was asked for by anna.", study_uid="1.1")
    resend(62, 3, source="CT2")
    assert told(database) == [
        "3 images came again from CT1 and were already here.",
        "3 images came again from CT1 and were already here.",
        "3 images came again from CT2 and were already here.",
        "Reading again was asked for by anna.",
        "3 images came again from CT2 and were already here.",
    ]


def test_a_line_that_was_not_committed_is_not_added_to(database: Database, resend: Sender) -> None:
    resend(0, 3)
    with pytest.raises(RuntimeError), database.session() as session:
        note_resends(session, [Resent(START, "1.1", "CT1", 4)], resend.lines)
        raise RuntimeError("the database is away")
    resend(1, 4)
    assert told(database) == ["7 images came again from CT1 and were already here."]


def test_only_lines_that_may_still_grow_are_remembered(resend: Sender) -> None:
    for study in range(1, 5):
        resend(25 * study, 1, study=f"1.{study}")
    assert [study for study, _ in resend.lines] == ["1.2", "1.3", "1.4"]
