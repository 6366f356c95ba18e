"""A study that is sent again leaves one line on its timeline."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import select

from storage.database import Database
from storage.events import log_event
from storage.resends import Resent, note_resends
from storage.tables import Event

START = datetime(2026, 1, 1, 12, tzinfo=UTC)


def resend(database: Database, after: float, *counts: int, study: str = "1.1", source: str = "CT1") -> None:
    at = START + timedelta(seconds=after)
    with database.session() as session:
        note_resends(session, [Resent(at, study, source, count) for count in counts])


def told(database: Database, study: str = "1.1") -> list[str]:
    with database.snapshot() as session:
        return list(session.scalars(select(Event.text).where(Event.study_uid == study).order_by(Event.id)))


def test_a_resend_is_one_line_with_its_count_and_sender(database: Database) -> None:
    resend(database, 0, 12)
    resend(database, 0, 1, study="1.2", source="PACS")
    assert told(database) == ["12 images came again from CT1 and were already here."]
    assert told(database, "1.2") == ["1 image came again from PACS and was already here."]


def test_an_association_for_each_image_is_not_a_line_for_each(database: Database) -> None:
    resend(database, 0, 1, 1)
    for second in range(20, 120, 20):
        resend(database, second, 1)
    assert told(database) == ["7 images came again from CT1 and were already here."]
    with database.snapshot() as session:
        assert session.scalars(select(Event.at)).one() == START + timedelta(seconds=100)


def test_a_later_resend_one_of_another_and_one_after_something_else_are_lines_of_their_own(
    database: Database,
) -> None:
    resend(database, 0, 3)
    resend(database, 60, 3)
    resend(database, 61, 3, source="CT2")
    with database.session() as session:
        log_event(session, "receive", "Reading again was asked for by anna.", study_uid="1.1")
    resend(database, 62, 3, source="CT2")
    assert told(database) == [
        "3 images came again from CT1 and were already here.",
        "3 images came again from CT1 and were already here.",
        "3 images came again from CT2 and were already here.",
        "Reading again was asked for by anna.",
        "3 images came again from CT2 and were already here.",
    ]
