"""Readers that begin with the same search of a series have it made once, and each still stands by itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select

from inference.catalogue import Catalogue
from inference.engine import EngineError, Tensors
from inference.readers.lung_nodules import DETECTOR
from node.reading import read_study
from node.reading_ahead import ReadingAhead
from node.reading_room import ReadingRoom
from node.settings import RouteSettings, Settings
from node.workflow import plain_step
from storage import readings
from storage.archive import Archive
from storage.database import Database
from storage.tables import Event
from tests.node.steps.bright_spots import take_in
from tests.node.test_reading_ahead import close, pause, receive
from tests.waiting import wait_for
from training.phantoms.chest import Phantom, chest_phantom
from training.phantoms.dicom import Study, write_ct_series

BODY, LUNGS = "ct-lesions", "lung-nodules"
ROUTES = tuple(RouteSettings(reader=reader, match={"Modality": "CT"}) for reader in (BODY, LUNGS))


class Blind:
    """Answers as networks that see nothing in a volume, and remembers which were asked; one in ``away`` does
    not answer, as often as that says."""

    at_once = 1

    def __init__(self) -> None:
        self.catalogue = Catalogue()
        self.asked: list[str] = []
        self.away: dict[str, int] = {}

    def infer(self, model: str, inputs: Tensors) -> Tensors:
        self.asked.append(model)
        if self.away.get(model, 0) > 0:
            self.away[model] -= 1
            raise EngineError("the server is away")
        (volume,) = inputs.values()
        return {
            output.tensor: np.zeros((1, 8, *(n // output.stride for n in volume.shape[2:])), np.float32)
            for output in self.catalogue.find(model).card.outputs
        }

    def health(self) -> str | None:
        return None

    def close(self) -> None:
        pass

    @property
    def searches(self) -> float:
        """Of the lungs: each asks the detector about a fine grid and about a coarse one."""
        return self.asked.count(DETECTOR) / 2


@pytest.fixture
def engine() -> Blind:
    return Blind()


@pytest.fixture
def room(database: Database, tmp_path: Path, engine: Blind) -> ReadingRoom:
    """Where each CT is read by both."""
    settings = Settings().model_copy(update={"routes": ROUTES})
    archive = Archive(tmp_path / "data", durable=False)
    return ReadingRoom(settings, database, archive, Catalogue(), engine, named_priors=())


@pytest.fixture(scope="module")
def chest() -> Phantom:
    return chest_phantom(70_001, (24, 64, 88), (6.0, 4.0, 4.0), 0)


@pytest.fixture
def images(chest: Phantom, tmp_path: Path) -> list[Path]:
    return write_ct_series(tmp_path / "study", chest.voxels, chest.affine)


def read(room: ReadingRoom, study_uid: str) -> tuple[set[str], str]:
    """Who has reported of a study, and the reason that it failed for."""
    read_study(room, plain_step, study_uid, 1)
    with room.database.snapshot() as session:
        made = readings.readings_of(session, study_uid, 1)
        reason = readings.find_revision(session, study_uid, 1).reason
    return {str(one.body["reader"]) for one in made}, reason or ""


def test_the_lungs_are_searched_once_for_all_readers(
    room: ReadingRoom, engine: Blind, images: list[Path]
) -> None:
    assert read(room, take_in(room, images[0].parent)) == ({LUNGS, BODY}, "")
    assert engine.searches == 1


@pytest.mark.slow
def test_so_they_are_in_a_prior(
    room: ReadingRoom, engine: Blind, images: list[Path], chest: Phantom, tmp_path: Path
) -> None:
    earlier = Study(date="20230115", accession_number="EARLIER")
    write_ct_series(tmp_path / "prior", chest.voxels, chest.affine, study=earlier)
    named = replace(room, named_priors=(take_in(room, tmp_path / "prior"),))
    assert read(named, take_in(room, images[0].parent)) == ({LUNGS, BODY}, "")
    assert engine.searches == 2


def test_so_they_are_ahead(room: ReadingRoom, engine: Blind, images: list[Path]) -> None:
    ahead = ReadingAhead(room)
    ahead.start()
    study = receive(room, images)
    pause(room, ahead)
    wait_for(lambda: engine.asked != [] and not ahead._paused)
    ahead.give_way()
    ahead.stop()
    close(room)
    assert read(room, study) == ({LUNGS, BODY}, "")
    assert engine.searches == 1
    with room.database.snapshot() as session:
        timeline = list(session.scalars(select(Event.text)))
    for reader in (LUNGS, BODY):
        (said,) = (text for text in timeline if text.startswith(f"{reader} found"))
        assert said.endswith("while the study was awaited")


@pytest.mark.parametrize(
    ("away", "times", "reported", "searches"),
    [
        (BODY, 1, {LUNGS, BODY}, 2),  # it is read in its own turn
        (BODY, 9, {LUNGS}, 1),
        (DETECTOR, 1, {BODY}, 1.5),
    ],
)
def test_a_reader_that_fails_takes_no_other_down(
    room: ReadingRoom,
    engine: Blind,
    images: list[Path],
    away: str,
    times: int,
    reported: set[str],
    searches: float,
) -> None:
    engine.away[away] = times
    made, reason = read(room, take_in(room, images[0].parent))
    assert (made, engine.searches) == (reported, searches)
    assert ("the server is away" in reason) == (reported != {LUNGS, BODY})
