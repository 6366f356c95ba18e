"""What is closed is queued as its route asks, and what was left behind is come back to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmwrite
from sqlalchemy import select

from inference.catalogue import Catalogue
from node import reading_queue
from node.intake.files import received_file
from node.reading_queue import ReadingQueue
from node.reading_room import ReadingRoom
from node.settings import RouteSettings, Settings
from storage import actions, priors, readings
from storage.archive import Archive
from storage.closing import ClosedStudy, close_quiet
from storage.database import Database, now
from storage.intake import record
from storage.tables import Revision
from tests.node.intake.senders import ct_slice


class Queued:
    """What was put in the queue, by key."""

    def __init__(self) -> None:
        self.priorities: dict[str, str] = {}

    def enqueue(self, key: str, *_args: Any, priority: str = "routine") -> None:
        self.priorities[key] = priority

    def take_up(self, key: str, *_args: Any, priority: Callable[[], str]) -> bool:
        self.priorities[key] = priority()
        return True


def routes(*priorities: str) -> tuple[RouteSettings, ...]:
    """The first for an emergency department, the second for all of CT."""
    return (
        RouteSettings(
            reader="lung-nodules",
            match={"Modality": "CT", "StudyDescription": "~emergency"},
            priority=priorities[0],  # type: ignore[arg-type]
        ),
        RouteSettings(reader="lung-nodules", match={"Modality": "CT"}, priority=priorities[1]),  # type: ignore[arg-type]
    )


@pytest.fixture
def closed(database: Database, tmp_path: Path) -> tuple[Database, Archive, dict[str, ClosedStudy]]:
    """An emergency and another, each complete."""
    archive = Archive(tmp_path / "data", durable=False)
    studies = {}
    for name in ("emergency", "follow-up"):
        image = ct_slice()
        image.StudyDescription = f"CT chest {name}"
        path = archive.images / f"{name}.dcm"
        dcmwrite(path, image, enforce_file_format=True)
        with database.session() as session:
            record(session, [received_file(path, now())])
            (studies[name],) = close_quiet(session, now(), lambda study: True)
    return database, archive, studies


def test_a_study_whose_images_are_away_holds_up_no_other(closed) -> None:
    database, archive, _ = closed
    archive.images.rename(archive.root / "not mounted")
    room = ReadingRoom(
        Settings(routes=routes("stat", "routine")), database, archive, Catalogue(None), engine=None
    )  # type: ignore[arg-type]
    queued = Queued()
    ReadingQueue(room, queued).take_up()  # type: ignore[arg-type]
    assert list(queued.priorities.values()) == ["routine", "routine"]


@pytest.mark.parametrize(
    ("priorities", "expected"),
    [
        (("stat", "routine"), {"emergency": "stat", "follow-up": "routine"}),
        (("routine", "stat"), {"emergency": "routine", "follow-up": "stat"}),  # the first that matches counts
        (("routine", "routine"), {"emergency": "routine", "follow-up": "routine"}),
    ],
)
def test_a_study_is_queued_with_the_priority_of_its_route(closed, priorities, expected) -> None:
    database, archive, studies = closed
    settings = Settings(routes=routes(*priorities))
    room = ReadingRoom(settings, database, archive, Catalogue(None), engine=None)  # type: ignore[arg-type]
    at_once, after_a_crash = Queued(), Queued()
    for study in studies.values():
        ReadingQueue(room, at_once).enqueue(study)  # type: ignore[arg-type]
    ReadingQueue(room, after_a_crash).take_up()  # type: ignore[arg-type]
    wanted = {f"{studies[name].study_uid}/1": priority for name, priority in expected.items()}
    assert at_once.priorities == wanted
    assert after_a_crash.priorities == wanted


def test_a_comparison_made_again_is_read_after_all_others_unless_a_person_asks_for_it(closed) -> None:
    database, archive, studies = closed
    settings = Settings(routes=routes("stat", "routine"))
    room = ReadingRoom(settings, database, archive, Catalogue(None), engine=None)  # type: ignore[arg-type]
    uid = studies["emergency"].study_uid
    for ask in (priors.compare_again, lambda session, uid: actions.read_again(session, uid, "anna")):
        queued, after_a_crash = Queued(), Queued()
        with database.session() as session:
            for revision in session.scalars(select(Revision)):
                revision.state = "delivered"
            ask(session, uid)
            (again,) = close_quiet(session, now(), lambda study: False)
        ReadingQueue(room, queued).enqueue(again)  # type: ignore[arg-type]
        ReadingQueue(room, after_a_crash).take_up()  # type: ignore[arg-type]
        assert queued.priorities == after_a_crash.priorities
        assert queued.priorities == {
            f"{uid}/{again.revision_number}": "again" if again.revision_number == 2 else "stat"
        }


def test_a_study_that_takes_the_node_down_each_time_ends_failed_and_can_be_read_again(closed) -> None:
    database, archive, studies = closed
    room = ReadingRoom(Settings(), database, archive, Catalogue(None), engine=None)  # type: ignore[arg-type]
    uid = studies["follow-up"].study_uid
    with database.session() as session:
        readings.begin(session, uid, 1)
        readings.enter_stage(session, uid, 1, "infer")

    class GivenUp(Queued):
        def take_up(self, key: str, *_args: Any, priority: Callable[[], str]) -> bool:
            return uid not in key

    ReadingQueue(room, GivenUp()).take_up()  # type: ignore[arg-type]
    with database.snapshot() as session:
        ended = readings.find_revision(session, uid, 1)
        assert (ended.state, ended.stage) == ("failed", "infer")
        assert "the node ended 10 times while it read this study" in ended.reason
        assert uid not in dict(readings.unfinished(session))
    with database.session() as session:
        actions.read_again(session, uid, "a tester")
        (again,) = close_quiet(session, now(), lambda study: True)
    assert again == ClosedStudy(uid, 2)


def test_a_study_that_cannot_be_given_up_keeps_nothing_behind_it_waiting(
    closed, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, archive, studies = closed
    room = ReadingRoom(Settings(), database, archive, Catalogue(None), engine=None)  # type: ignore[arg-type]
    taken_up: list[str] = []

    class GivenUp(Queued):
        def take_up(self, key: str, *_args: Any, priority: Callable[[], str]) -> bool:
            taken_up.append(key)
            return False

    def damaged(*_: Any) -> None:
        raise ValueError("a header is damaged")

    monkeypatch.setattr(reading_queue, "give_up", damaged)
    ReadingQueue(room, GivenUp()).take_up()  # type: ignore[arg-type]
    assert sorted(taken_up) == sorted(f"{study.study_uid}/1" for study in studies.values())
