"""What is due, whatever the clock did."""

from __future__ import annotations

from datetime import timedelta

import pytest

from storage import deliveries, priors
from storage.database import Database, now
from storage.readings import StoredObject
from tests.node.web import rows

PAUSE = timedelta(seconds=30)
REPORT = StoredObject("sr", "1.2.840.10008.5.1.4.1.1.88.34", "1.2.9", "results/sr.dcm")


@pytest.fixture
def a_year_ahead(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The clock, until it is put right by undoing."""
    for module in (deliveries, priors):
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
        priors.note_unanswered(session, uid, "archive", "it is away", PAUSE)
    a_year_ahead.undo()
    with database.snapshot() as session:
        assert [each.study_uid for each in priors.due_again(session)] == [uid]


def test_an_attempt_that_failed_waits_out_its_pause_be_it_the_longest(database: Database) -> None:
    posted(database)
    with database.session() as session:
        (each,) = deliveries.due(session, "pacs")
        for pause in (PAUSE, timedelta(days=7)):
            deliveries.record_failed(session, each.id, "away", pause)
            assert deliveries.due(session, "pacs") == []
