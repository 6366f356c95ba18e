"""A prior that was sent wrong and comes again, corrected, under UIDs of its own; and one that is gone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from inference.catalogue import Catalogue
from inference.engine import Engine
from inference.findings import Reading
from inference.measure import measure
from inference.readers import READERS
from inference.resample import cropped
from inference.volume import Volume
from node.reading_room import ReadingRoom
from node.results import codes
from storage.actions import read_again
from storage.closing import close_quiet
from storage.database import Database, now
from storage.readings import StoredReading
from storage.retention import release
from tests.growing_patient import nodules, visit
from tests.node.steps.bright_spots import READER, bright_spots, read, room_in, take_in, tracking_uids

WRONG, RIGHT, CURRENT = "20220101", "20230101", "20240101"


NODULE_MM = 14.0


def the_nodule(volume: Volume, engine: Engine, catalogue: Catalogue) -> Reading:
    """The one that was drawn, where it was drawn."""
    reading = bright_spots(replace(volume, voxels=np.full_like(volume.voxels, -800)), engine, catalogue)
    (drawn,) = nodules([NODULE_MM])
    z, y, x = np.indices(volume.voxels.shape, sparse=True)
    points = np.stack(np.broadcast_arrays(z, y, x, 1), -1) @ volume.affine.T
    mask = cropped(np.linalg.norm(points[..., :3] - drawn.center_mm, axis=-1) <= NODULE_MM / 2)
    finding = measure(mask, volume).finding("nodule", codes.PULMONARY_NODULE.code, 0.9, mask)
    return replace(reading, findings=(finding,))


def entered(room: ReadingRoom, folder: Path, date: str) -> str:
    visit(folder / date, date, [NODULE_MM], noise=int(date[:4]))
    return take_in(room, folder / date)


def changes(reading: StoredReading) -> set[tuple[str, int]]:
    """With which study its findings were compared, and how many days before that was."""
    found = [finding["change"] for finding in reading.body["findings"]]
    return {(change["prior_study_uid"], change["days"]) for change in found}


def reports(room: ReadingRoom, reading: StoredReading) -> list[Dataset]:
    return [dcmread(room.archive.path(made.path)) for made in reading.objects if made.kind == "sr"]


def replaces(room: ReadingRoom, after: StoredReading, before: StoredReading) -> bool:
    """Whether its reports are others than those before, and name those as their predecessors."""
    replaced = {report.SOPInstanceUID for report in reports(room, before)}
    named = {
        one.ReferencedSOPInstanceUID
        for report in reports(room, after)
        for study in report.PredecessorDocumentsSequence
        for series in study.ReferencedSeriesSequence
        for one in series.ReferencedSOPSequence
    }
    made = {report.SOPInstanceUID for report in reports(room, after)}
    return bool(named) and named <= replaced and not made & replaced


def read_anew(room: ReadingRoom, study_uid: str) -> StoredReading:
    """What comes of the study that was asked to be read again, which is this one."""
    with room.database.session() as session:
        (again,) = close_quiet(session, now(), lambda study: False)
    assert again.study_uid == study_uid
    return read(room, study_uid, again.revision_number)


@pytest.mark.slow
def test_results_follow_a_prior_that_is_corrected_and_one_that_is_gone(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = room_in(tmp_path, database, monkeypatch)
    monkeypatch.setitem(READERS, READER, replace(READERS[READER], read=the_nodule))
    room = replace(named, named_priors=None)
    wrong = entered(room, tmp_path, WRONG)
    read(room, wrong, 1)
    current = entered(room, tmp_path, CURRENT)
    first = read(room, current, 1)
    assert changes(first) == {(wrong, 730)}

    corrected = entered(room, tmp_path, RIGHT)
    read(room, corrected, 1)
    second = read_anew(room, current)
    assert changes(second) == {(corrected, 365)}
    assert tracking_uids(second) == tracking_uids(first)
    assert replaces(room, second, first)

    with room.database.session() as session:
        assert all(release(session, gone, "withdrawn") is not None for gone in (wrong, corrected))
    with room.database.session() as session:
        assert close_quiet(session, now(), lambda study: False) == []
        read_again(session, current, "a test")
    third = read_anew(room, current)
    assert [finding["change"] for finding in third.body["findings"]] == [None]
    assert tracking_uids(third) != tracking_uids(second)  # its own, no longer the prior's
    assert replaces(room, third, second)
