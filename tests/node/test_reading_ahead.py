"""What is read of an awaited study is not read again, and is believed only if nothing came after it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import dcmread
from sqlalchemy import select

from inference.catalogue import Catalogue
from inference.engine import Engine, EngineError
from inference.findings import Reading
from inference.readers import READERS
from inference.volume import Volume
from node import reading_ahead
from node.ahead import MOST, Ahead, Made
from node.intake.files import files_under, received_file
from node.reading_ahead import SECONDS_BETWEEN_LOOKS, ReadingAhead
from node.reading_room import ReadingRoom
from node.stopping import Stopping
from storage import readings
from storage.archive import Archive
from storage.closing import OpenStudy, close_quiet, open_studies
from storage.database import Database, now
from storage.intake import record
from storage.readings import StoredReading
from storage.tables import Event
from tests.databases import Databases
from tests.node.results.phantoms import phantom
from tests.node.steps.bright_spots import READER, bright_spots, read, room_in, tracking_uids
from tests.waiting import wait_for
from training.phantoms.dicom import Study

PATIENCE = 20.0  # seconds, for what takes a fraction of one


class Reader:
    """Finds what is bright, and counts the slices of each volume it was given."""

    def __init__(self) -> None:
        self.slices: list[int] = []
        self.begun, self.may_end = threading.Event(), threading.Event()
        self.may_end.set()
        self.fault: Exception | None = None

    def __call__(self, volume: Volume, engine: Engine, catalogue: Catalogue) -> Reading:
        self.slices.append(volume.shape[0])
        self.begun.set()
        assert self.may_end.wait(PATIENCE)
        if self.fault is not None:
            raise self.fault
        return bright_spots(volume, engine, catalogue)


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    """24 slices through two lesions."""
    return sorted(phantom(tmp_path / "series", shape=(24, 40, 48)).paths)


@pytest.fixture
def room(tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch) -> ReadingRoom:
    return room_in(tmp_path / "data", database, monkeypatch)


@pytest.fixture
def reader(room: ReadingRoom, monkeypatch: pytest.MonkeyPatch) -> Reader:
    counting = Reader()
    monkeypatch.setitem(READERS, READER, replace(READERS[READER], read=counting))
    return counting


def receive(room: ReadingRoom, images: list[Path]) -> str:
    """Images come in; the study stays open."""
    received = [received_file(path, now()) for path in files_under(images)]
    with room.database.session() as session:
        record(session, received)
    return received[0].study_uid


def close(room: ReadingRoom) -> None:
    with room.database.session() as session:
        close_quiet(session, now(), lambda study: True)


def waiting(room: ReadingRoom) -> OpenStudy:
    with room.database.snapshot() as session:
        (study,) = open_studies(session)
    return study


def pause(room: ReadingRoom, ahead: ReadingAhead) -> None:
    ahead.paused(waiting(room))


@pytest.fixture
def ahead(room: ReadingRoom) -> Iterator[ReadingAhead]:
    ahead = ReadingAhead(room)
    ahead.start()
    yield ahead
    ahead.stop()


def timeline(room: ReadingRoom) -> str:
    with room.database.snapshot() as session:
        return "\n".join(session.scalars(select(Event.text)))


def written(room: ReadingRoom, reading: StoredReading) -> dict[str, bytes]:
    return {o.path: room.archive.path(o.path).read_bytes() for o in reading.objects}


def test_a_paused_study_is_read_once_and_with_the_results_of_one_that_was_not_read_ahead(
    room: ReadingRoom,
    reader: Reader,
    images: list[Path],
    ahead: ReadingAhead,
    databases: Databases,
    tmp_path: Path,
) -> None:
    study = receive(room, images)
    pause(room, ahead)
    wait_for(lambda: reader.slices == [24])
    ahead.give_way()
    close(room)
    made = read(room, study, 1)
    assert reader.slices == [24]
    assert "found 2 in" in timeline(room)
    assert "while the study was awaited" in timeline(room)

    with databases.new(tmp_path / "other") as url:
        archive = Archive(tmp_path / "other", durable=False)
        other = replace(room, database=Database(url), archive=archive)
        receive(other, images)
        close(other)
        assert written(room, made) == written(other, read(other, study, 1))
        assert reader.slices == [24, 24]
        assert "while the study was awaited" not in timeline(other)
        other.database.close()


def test_an_image_that_comes_after_all_is_read_with_the_others(
    room: ReadingRoom, reader: Reader, images: list[Path], ahead: ReadingAhead
) -> None:
    late = max(images, key=lambda path: dcmread(path).ImagePositionPatient[2])
    study = receive(room, [image for image in images if image != late])
    pause(room, ahead)
    wait_for(lambda: reader.slices == [23])
    receive(room, [late])
    close(room)
    assert len(tracking_uids(read(room, study, 1))) == 2
    assert reader.slices == [23, 24]


def test_what_is_being_read_when_the_study_is_closed_is_waited_for(
    room: ReadingRoom, reader: Reader, images: list[Path], ahead: ReadingAhead
) -> None:
    study = receive(room, images)
    reader.may_end.clear()
    pause(room, ahead)
    assert reader.begun.wait(PATIENCE)
    close(room)
    threading.Timer(0.3, reader.may_end.set).start()
    ahead.give_way()
    assert reader.may_end.is_set()
    assert len(tracking_uids(read(room, study, 1))) == 2
    assert reader.slices == [24]


def test_a_node_that_stops_does_not_wait_for_it(
    room: ReadingRoom,
    reader: Reader,
    images: list[Path],
    ahead: ReadingAhead,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reading_ahead, "SECONDS_TO_STOP", 0.1)
    receive(room, images)
    reader.may_end.clear()
    pause(room, ahead)
    assert reader.begun.wait(PATIENCE)
    ahead.stop()
    with pytest.raises(Stopping):
        ahead.give_way()
    reader.may_end.set()


def test_a_complete_study_goes_first(
    room: ReadingRoom, reader: Reader, images: list[Path], ahead: ReadingAhead, tmp_path: Path
) -> None:
    complete = receive(room, phantom(tmp_path / "other", study=Study(accession_number="OTHER")).paths[:5])
    close(room)
    receive(room, images)
    pause(room, ahead)
    time.sleep(2.5 * SECONDS_BETWEEN_LOOKS)
    assert reader.slices == []
    with room.database.session() as session:
        readings.finish(session, complete, 1, "skipped", stage="select", reason="five slices")
    wait_for(lambda: reader.slices == [24])


def test_a_study_that_was_closed_or_got_an_image_since_it_paused_is_not_read_ahead(
    room: ReadingRoom, reader: Reader, images: list[Path], ahead: ReadingAhead
) -> None:
    receive(room, images[2:])
    paused = [waiting(room)]
    receive(room, images[1:2])
    paused.append(waiting(room))
    receive(room, images[:1])
    for study in paused:
        ahead.paused(study)
    last = waiting(room)
    close(room)
    ahead.paused(last)
    wait_for(lambda: not ahead._paused)
    assert reader.slices == []


@pytest.mark.parametrize(
    "fault", [EngineError("the server is away"), IndexError("a mistake of the reader's")]
)
def test_what_cannot_be_read_ahead_is_read_in_its_turn_and_holds_no_other_study_up(
    room: ReadingRoom,
    reader: Reader,
    images: list[Path],
    ahead: ReadingAhead,
    fault: Exception,
    tmp_path: Path,
) -> None:
    study = receive(room, images)
    first = waiting(room)
    reader.fault = fault
    ahead.paused(first)
    wait_for(lambda: reader.slices == [24] and not ahead._paused)
    ahead.give_way()
    reader.fault = None
    other = phantom(tmp_path / "other", shape=(30, 40, 48), study=Study(accession_number="OTHER")).paths
    receive(room, list(other))
    with room.database.snapshot() as session:
        (second,) = [one for one in open_studies(session) if one != first]
    ahead.paused(second)
    wait_for(lambda: reader.slices == [24, 30])
    ahead.give_way()
    assert ahead.task.problem == ""
    close(room)
    assert len(tracking_uids(read(room, study, 1))) == 2
    assert reader.slices == [24, 30, 24]


def test_the_volumes_of_a_study_that_was_not_read_after_all_are_forgotten(
    room: ReadingRoom,
    reader: Reader,
    images: list[Path],
    ahead: ReadingAhead,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forgotten = threading.Event()
    monkeypatch.setattr(ReadingRoom, "forget_volumes", lambda room: forgotten.set())
    study = receive(room, images)
    pause(room, ahead)
    wait_for(lambda: reader.slices == [24] and not ahead._paused)
    ahead.task.wake()
    assert not forgotten.wait(0.3)
    close(room)
    with room.database.session() as session:
        readings.finish(session, study, 1, "skipped", stage="select", reason="no route any more")
    ahead.task.wake()
    assert forgotten.wait(PATIENCE)


def test_the_last_few_are_kept_and_each_is_handed_out_once() -> None:
    ahead, made = Ahead(), Made(Reading("lung-nodules", "1.2", (), ()))
    for number in range(MOST + 1):
        ahead.keep(str(number), made)
    assert ahead.take("0") is None
    assert ahead.take("1") is made
    assert ahead.take("1") is None
