"""Patients over time move as they say, and the stand-in reader errs as much as it says."""

import numpy as np
import pytest

from inference.measure import measure
from inference.resample import cropped
from inference.volume import Volume
from training.growth.breathing import Pose, motion_of
from training.growth.reader import Faults, degraded
from training.phantoms.anatomy import chest_anatomy
from training.phantoms.fields import Grid


@pytest.fixture(scope="module")
def anatomy():
    return chest_anatomy(3)


def test_a_breath_moves_the_base_of_the_lungs_and_leaves_the_apex(anatomy):
    points = anatomy.points_in_lung(np.random.default_rng(1), 300, 8.0).astype(float)
    moved = motion_of(anatomy, Pose(diaphragm_mm=20)).to_scan(points)
    down = points[:, 2] - moved[:, 2]
    order = points[:, 2].argsort()
    assert down[order[:20]].mean() > 10
    assert down[order[-20:]].mean() < 5
    assert down.min() > -0.1 and down.max() < 20.1


def test_points_come_back_to_the_reference(anatomy):
    motion = motion_of(anatomy, Pose(-18, -3, (9, -7, 15), (2, -3, 4)))
    points = anatomy.points_in_lung(np.random.default_rng(2), 200, 4.0)
    assert np.abs(motion.to_reference(motion.to_scan(points)) - points).max() < 0.02


def test_a_warped_picture_shows_its_marks_where_the_motion_puts_them(anatomy):
    grid = Grid.centred((80, 70, 90), (3.0, 3.0, 3.0))
    z, y, x = grid.axes
    mark = np.array([60.0, 0.0, 10.0])
    hu = -1000 + 1100 * np.exp(-((x - mark[0]) ** 2 + (y - mark[1]) ** 2 + (z - mark[2]) ** 2) / (2 * 6**2))
    motion = motion_of(anatomy, Pose(15, 2, (6, -9, 12), (1, 2, 3)))
    seen = np.maximum(motion.warped(hu.astype(np.float32), grid, grid) + 800, 0)
    z, y, x = grid.axes
    middle = [float((axis * seen).sum() / seen.sum()) for axis in (x, y, z)]
    assert np.linalg.norm(np.subtract(middle, motion.to_scan(mark)[0])) < 1.0


def test_the_stand_in_readers_volumes_scatter_as_the_published_repeatability():
    shape, spacing = (30, 30, 30), (1.0, 1.0, 1.0)
    index = np.moveaxis(np.indices(shape), 0, -1)
    ball = cropped(np.linalg.norm(index - 14.5, axis=-1) < 5)
    affine = np.eye(4)
    affine[:3, :3] = np.fliplr(np.eye(3))
    volume = Volume(np.zeros(shape, np.int16), affine, "", "", (("1", None),) * 30)
    rng = np.random.default_rng(0)
    sizes = [measure(degraded(ball, spacing, Faults(), rng), volume).volume_mm3 for _ in range(150)]
    assert np.std(sizes) / np.mean(sizes) == pytest.approx(0.15, abs=0.05)
    assert np.mean(sizes) == pytest.approx(ball.voxels.sum(), rel=0.1)
