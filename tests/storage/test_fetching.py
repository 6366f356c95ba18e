"""Priors that are about to come in, and which archives have still to be asked for some."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select

from storage import fetching, priors
from storage.closing import close_quiet
from storage.database import Database, now
from storage.intake import Received, record
from storage.overview import list_sources
from storage.priors import PatientIdentity
from storage.tables import Study, Unanswered
from tests.storage.test_intake import image

PATIENT = PatientIdentity("P1")
PAUSE = timedelta(seconds=30)


def take_in(database: Database, *images: Received) -> None:
    with database.session() as session:
        record(session, images)


def expect(database: Database, uid: str = "1.1", *, for_seconds: float = 60) -> None:
    with database.session() as session:
        until = now() + timedelta(seconds=for_seconds)
        fetching.expect(session, uid, PATIENT, "20230101", "", "CT", until)


def coming(number: int, study: str = "1.1", **facts: object) -> Received:
    return replace(image(number, study, f"{study}.1", **facts), received_at=now(), fetched=True)


def closed(database: Database) -> list[str]:
    with database.session() as session:
        return [one.study_uid for one in close_quiet(session, now(), lambda study: True)]


def state(database: Database, uid: str = "1.1") -> tuple[bool, bool]:
    """Whether the study is open, and whether it was only fetched."""
    with database.snapshot() as session:
        study = session.scalars(select(Study).where(Study.uid == uid)).one()
        return study.is_open, study.fetched_until is not None


def test_what_is_fetched_is_not_read_for_results_of_its_own(database: Database) -> None:
    expect(database)
    take_in(database, coming(1), coming(2))
    assert state(database) == (False, True)
    assert closed(database) == []
    with database.snapshot() as session:
        assert priors.images_of(session, "1.1") == {
            "1.1.1": ["images/1.1/1.1.1.1.dcm", "images/1.1/1.1.1.2.dcm"]
        }


@pytest.mark.parametrize("number", [1, 3], ids=["images known already", "a new image"])
def test_a_study_that_was_fetched_and_is_sent_later_is_read(database: Database, number: int) -> None:
    expect(database)
    take_in(database, coming(1), coming(2))
    with database.session() as session:
        fetching.arrived(session, "1.1")
    take_in(database, replace(coming(number), received_at=now() + timedelta(seconds=5), fetched=False))
    assert state(database) == (True, False)
    assert closed(database) == ["1.1"]


def test_a_fetched_study_is_of_no_sender_until_somebody_sends_it(database: Database) -> None:
    expect(database)
    take_in(database, coming(1))
    with database.snapshot() as session:
        assert list_sources(session) == ()
    take_in(database, replace(coming(2, source="CT1"), fetched=False))
    with database.snapshot() as session:
        assert [line.source for line in list_sources(session)] == ["CT1"]


@pytest.mark.parametrize("number", [1, 3], ids=["images known already", "a new image"])
def test_a_study_that_is_sent_while_it_is_fetched_is_read(database: Database, number: int) -> None:
    expect(database)
    take_in(database, coming(1), coming(2))
    take_in(database, replace(coming(number), fetched=False))
    take_in(database, coming(4))
    assert state(database) == (True, False)
    assert closed(database) == ["1.1"]


def test_a_study_that_was_sent_stays_so_when_more_of_it_is_fetched(database: Database) -> None:
    take_in(database, coming(1))
    expect(database)
    assert state(database) == (True, False)


def test_an_archive_without_answer_is_due_again_later_and_later_until_it_answers(database: Database) -> None:
    take_in(database, coming(1))
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
    take_in(database, coming(1))
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
