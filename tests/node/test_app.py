"""How a node is put together: what is closed is queued as its route asks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from pydicom import dcmwrite

from inference.catalogue import Catalogue
from node import app
from node.intake.files import received_file
from node.reading_room import ReadingRoom
from node.settings import RouteSettings, Settings
from storage import actions, readings
from storage.archive import Archive
from storage.closing import ClosedStudy, close_quiet
from storage.database import Database, now
from storage.intake import record
from tests.node.intake.senders import ct_slice
from tests.tiny_models import make_repository


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
def closed(tmp_path: Path) -> tuple[Database, Archive, dict[str, ClosedStudy]]:
    """An emergency and another, each complete."""
    database = Database(f"sqlite:///{tmp_path / 'overread.db'}")
    database.upgrade()
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
        app._enqueue(room, at_once, study)  # type: ignore[arg-type]
    app._take_up(room, after_a_crash)  # type: ignore[arg-type]
    wanted = {f"{studies[name].study_uid}/1": priority for name, priority in expected.items()}
    assert at_once.priorities == wanted
    assert after_a_crash.priorities == wanted
    database.close()


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

    app._take_up(room, GivenUp())  # type: ignore[arg-type]
    with database.snapshot() as session:
        ended = readings.find_revision(session, uid, 1)
        assert (ended.state, ended.stage) == ("failed", "infer")
        assert "the node ended, or was stopped, 10 times while it read this study" in ended.reason
        assert uid not in dict(readings.unfinished(session))
    with database.session() as session:
        actions.read_again(session, uid, "a tester")
        (again,) = close_quiet(session, now(), lambda study: True)
    assert again == ClosedStudy(uid, 2)
    database.close()


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

    monkeypatch.setattr(app, "give_up", damaged)
    app._take_up(room, GivenUp())  # type: ignore[arg-type]
    assert sorted(taken_up) == sorted(f"{study.study_uid}/1" for study in studies.values())
    database.close()


@pytest.mark.parametrize("durable", [True, False])
def test_the_database_of_a_node_is_as_durable_as_its_images(
    durable: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    class Seen(Database):
        def __init__(self, url: str, durable: bool = False) -> None:
            asked.append(durable)
            raise RuntimeError("seen")

    monkeypatch.setattr(app, "Database", Seen)
    settings = Settings.model_validate({"node": {"data_dir": tmp_path}, "dicom": {"durable": durable}})
    with pytest.raises(RuntimeError, match="seen"):
        app.Node(settings).start()
    assert asked == [durable]


def test_the_status_page_tells_the_port_that_the_receiver_took(tmp_path: Path) -> None:
    settings = Settings.model_validate(
        {
            "node": {"data_dir": tmp_path / "data"},
            "database": {"url": f"sqlite:///{tmp_path / 'overread.db'}"},
            "dicom": {"port": 0},
            "web": {"port": 0},
            "engine": {"models": make_repository(tmp_path / "models")},
        }
    )
    node = app.Node(settings).start()
    try:
        with urlopen(node.status_url) as answer:
            page = answer.read().decode()
    finally:
        node.stop()
    assert f"OVERREAD@127.0.0.1:{node.dicom_port}" in page
