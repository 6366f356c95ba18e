"""An archive that was away is come back to; one that answers with errors is not asked without end."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from sqlalchemy import select

from node.peers.sending import DeliveryError
from node.priors.recall import Recall
from node.settings import PriorsSettings
from node.upkeep.steady import SteadyClock
from storage import fetching
from storage.database import Database, now
from storage.tables import Event, Revision, Study, Unanswered
from tests.node.web import rows

PAUSE = timedelta(seconds=60)


def waiting_study(database: Database, folder: Path) -> str:
    """A delivered study whose archive was away a moment ago and is due again."""
    with database.session() as session:
        study = rows.add_study(session)
        rows.read_and_deliver(session, study, folder)
        fetching.note_unanswered(session, study.uid, "pacs", "it is away", -PAUSE)
        return study.uid


def look(database: Database, asked: list[str]) -> None:
    Recall(database, PriorsSettings(), {"pacs": lambda: asked.append("pacs")}).look()


def test_a_study_under_way_has_its_archive_asked_after_a_pause_and_not_at_every_look(
    database: Database, tmp_path: Path
) -> None:
    waiting_study(database, tmp_path)
    with database.session() as session:
        session.scalars(select(Revision)).one().state = "reading"
    asked: list[str] = []
    for _ in range(5):
        look(database, asked)
    assert asked == ["pacs"]


def test_an_archive_is_given_up_by_the_days_that_passed_and_not_by_a_clock_that_leaps(
    database: Database, tmp_path: Path
) -> None:
    uid = waiting_study(database, tmp_path)
    leap, passed = timedelta(0), timedelta(0)
    steady = SteadyClock(lambda: now() + passed + leap, lambda: (now() + passed).timestamp())
    recall = Recall(database, PriorsSettings(retry_days=7), {"pacs": is_away}, steady)

    def is_waited_for() -> bool:
        recall.look()
        with database.session() as session:
            row = session.scalars(select(Unanswered)).one_or_none()
            if row is not None:
                row.next_at = now()
            return row is not None

    assert is_waited_for()
    leap = timedelta(days=31)
    assert is_waited_for()
    leap, passed = timedelta(0), timedelta(days=6)
    assert is_waited_for()
    passed = timedelta(days=8)
    assert not is_waited_for()
    with database.snapshot() as session:
        assert "pacs is not asked for earlier studies any more" in [
            one.text for one in session.scalars(select(Event).where(Event.study_uid == uid))
        ]


def is_away() -> None:
    raise DeliveryError("it is away")


def test_an_archive_that_answers_the_echo_and_fails_has_a_study_read_again_ever_more_rarely(
    database: Database, tmp_path: Path
) -> None:
    uid = waiting_study(database, tmp_path)
    readings, at = 0, now()
    week = at + timedelta(days=7)
    while at < week:
        look(database, [])
        with database.session() as session:
            study = session.scalars(select(Study).where(Study.uid == uid)).one()
            readings += study.read_now
            study.read_now = False  # it is read again, and the archive answers with an error
            longest = fetching.LONGEST_PAUSE_AFTER_AN_ERROR
            fetching.note_unanswered(session, uid, "pacs", "0xC001", PAUSE, longest)
            row = session.scalars(select(Unanswered)).one()
            at += row.next_at - now()
            row.next_at = now()
    assert 3 <= readings <= 15
