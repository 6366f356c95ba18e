"""A room with a memory of its own and a reader that finds whatever is bright, in no time."""

from __future__ import annotations

from pathlib import Path

import cc3d
import numpy as np
import pytest
from sqlalchemy import select

from inference.catalogue import Catalogue
from inference.engine import Engine
from inference.engine.embedded import EmbeddedEngine
from inference.findings import Finding, Reading
from inference.measure import measure
from inference.readers import READERS, Reader
from inference.resample import cropped
from inference.volume import Volume
from node.offline import enter_study
from node.reading import read_study
from node.reading_room import ReadingRoom
from node.results import codes
from node.settings import Settings
from node.workflow import plain_step
from storage import readings
from storage.archive import Archive
from storage.closing import close_quiet
from storage.database import Database, now
from storage.readings import StoredReading
from storage.tables import Study

READER = "lung-nodules"


def bright_spots(volume: Volume, engine: Engine, catalogue: Catalogue) -> Reading:
    """Everything above 0 HU."""
    parts, count = cc3d.connected_components(volume.voxels > 0, connectivity=6, return_N=True)
    models = tuple(catalogue.find(name).identity for name in READERS[READER].models)
    findings = [_spot(parts == number, volume) for number in range(1, count + 1)]
    return Reading(READER, volume.series_uid, models, tuple(findings))


def _spot(voxels: np.ndarray, volume: Volume) -> Finding:
    mask = cropped(voxels)
    return measure(mask, volume).finding("nodule", codes.PULMONARY_NODULE.code, 0.9, mask)


def room_in(
    folder: Path, database: Database, monkeypatch: pytest.MonkeyPatch, priors: tuple[Path, ...] = ()
) -> ReadingRoom:
    """``priors``: folders of the studies to compare with, as a person would name them."""
    monkeypatch.setitem(READERS, READER, Reader(READER, READERS[READER].models, bright_spots))
    named = tuple(enter_study(database, prior) for prior in priors)
    catalogue = Catalogue()
    archive = Archive(folder, durable=False)
    return ReadingRoom(
        Settings(), database, archive, catalogue, EmbeddedEngine(catalogue), named_priors=named
    )


def take_in(room: ReadingRoom, folder: Path) -> str:
    """Enter the study in ``folder`` as received, and complete; returns its UID."""
    return enter_study(room.database, folder)


def once_more(room: ReadingRoom, study_uid: str) -> None:
    """Have the study read again as it is."""
    with room.database.session() as session:
        session.scalars(select(Study).where(Study.uid == study_uid)).one().read_now = True
        close_quiet(session, now(), lambda study: True)


def read(room: ReadingRoom, study_uid: str, revision: int) -> StoredReading:
    """Read one revision, and what was remembered of it."""
    read_study(room, plain_step, study_uid, revision)
    with room.database.snapshot() as session:
        found = readings.find_revision(session, study_uid, revision)
        assert found.state == "delivered", f"{found.stage}: {found.reason}"
        (made,) = readings.readings_of(session, study_uid, revision)
    return made


def tracking_uids(reading: StoredReading) -> list[str]:
    return [finding["tracking_uid"] for finding in reading.body["findings"]]
