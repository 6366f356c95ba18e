"""A prior's place in the current study, as registration objects that other systems can follow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from scipy.spatial.transform import Rotation

from inference.growth.frames import FramesAligned
from inference.resample import crop_affine
from node.results import write
from tests.node.results.phantoms import WHEN, Case
from tests.validators import dciodvfy

CURRENT, PRIOR = "1.2.3.1", "1.2.3.2"
POINTS = np.array([[-10.0, 5.0, -240.0], [0.0, 0.0, -235.0], [12.0, -8.0, -230.0]])


@pytest.fixture(scope="module")
def frames() -> FramesAligned:
    rigid = np.eye(4)
    rigid[:3, :3] = Rotation.from_euler("xyz", (3, -5, 8), degrees=True).as_matrix()
    rigid[:3, 3] = (12.0, -7.0, 31.0)
    z, y, x = np.meshgrid(*[np.linspace(-1, 1, n) for n in (9, 10, 12)], indexing="ij")
    vectors = np.stack([2 * z, 3 * x, 5 * np.sin(y)], -1).astype(np.float32)
    return FramesAligned(CURRENT, PRIOR, rigid, vectors, crop_affine((0, 0, -235), (9, 10, 12), 9.0))


@pytest.fixture(scope="module")
def written(case: Case, frames: FramesAligned, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    files = write(
        case.reading,
        case.volume,
        case.paths,
        tmp_path_factory.mktemp("registration"),
        kinds=("sr", "reg"),
        when=WHEN,
        identity=case.identity,
        frames=frames,
    )
    return {file.path.stem: file.path for file in files if file.kind == "reg"}


def test_the_rigid_motion_brings_the_prior_into_the_current_frame(
    written: dict[str, Path], frames: FramesAligned
) -> None:
    registration = dcmread(written["reg"])
    assert registration.FrameOfReferenceUID == CURRENT
    current, prior = registration.RegistrationSequence
    assert (current.FrameOfReferenceUID, prior.FrameOfReferenceUID) == (CURRENT, PRIOR)
    assert _carried(current.MatrixRegistrationSequence[0].MatrixSequence[0], POINTS) == pytest.approx(POINTS)
    there = POINTS @ frames.rigid[:3, :3].T + frames.rigid[:3, 3]
    back = _carried(prior.MatrixRegistrationSequence[0].MatrixSequence[0], there)
    assert back == pytest.approx(POINTS, abs=1e-4)


def test_the_grid_and_the_matrix_after_it_bring_a_place_into_the_prior(
    written: dict[str, Path], frames: FramesAligned
) -> None:
    (item,) = dcmread(written["reg-deformable"]).DeformableRegistrationSequence
    assert item.SourceFrameOfReferenceUID == PRIOR
    (grid,) = item.DeformableRegistrationGridSequence
    columns, rows, slices = grid.GridDimensions
    vectors = np.frombuffer(grid.VectorGridData, "<f4").reshape(slices, rows, columns, 3)
    k, j, i = 4, 6, 7
    place = np.array(grid.ImagePositionPatient) + np.array([i, j, k]) * grid.GridResolution
    moved = _carried(item.PostDeformationMatrixRegistrationSequence[0], place + vectors[k, j, i])
    expected = frames.rigid @ (*(place + frames.vectors[k, j, i]), 1)
    assert moved == pytest.approx(expected[:3], abs=1e-3)
    assert frames.affine @ (k, j, i, 1) == pytest.approx((*place, 1))


@pytest.mark.needs("dciodvfy")
def test_the_verifier_has_nothing_against_them(written: dict[str, Path]) -> None:
    assert {name: dciodvfy(path) for name, path in written.items()} == {"reg": [], "reg-deformable": []}


def test_without_a_prior_in_another_frame_there_is_none(case: Case, tmp_path: Path) -> None:
    files = write(
        case.reading,
        case.volume,
        case.paths,
        tmp_path,
        kinds=("sr", "reg"),
        when=WHEN,
        identity=case.identity,
    )
    assert "reg" not in {file.kind for file in files}


def test_what_is_kept_beside_a_reading_is_read_back(frames: FramesAligned, tmp_path: Path) -> None:
    assert FramesAligned.load(tmp_path) is None
    frames.save(tmp_path)
    again = FramesAligned.load(tmp_path)
    assert again is not None
    assert (again.current_frame, again.prior_frame) == (CURRENT, PRIOR)
    assert np.array_equal(again.vectors, frames.vectors) and np.array_equal(again.rigid, frames.rigid)


def _carried(item: Dataset, points: np.ndarray) -> np.ndarray:
    matrix = np.array(item.FrameOfReferenceTransformationMatrix, float).reshape(4, 4)
    return np.asarray(points @ matrix[:3, :3].T + matrix[:3, 3])
