"""Lungs are found on a few voxels, wherever and however the scan lies."""

from __future__ import annotations

import numpy as np
import pytest

from inference.readers.lungs import find_lungs, part_of
from inference.volume import Volume

SPACING = (2.5, 2.0, 2.0)


def chest(shape: tuple[int, int, int] = (80, 120, 150), *, cut_at: int = 0) -> Volume:
    """Two boxes of lung in a block of tissue in air; ``cut_at``: columns missing on the patient's right."""
    z, y, x = np.mgrid[: shape[0], : shape[1], : shape[2]]
    hu = np.full(shape, -1000, np.int16)
    hu[(abs(y - 60) < 45) & (abs(x - 75) < 65)] = 40
    hu[(abs(y - 60) < 35) & (abs(abs(x - 75) - 32) < 22) & (z > 20) & (z < 70)] = -860
    affine = np.eye(4)
    affine[:3, :3] = np.fliplr(np.diag(SPACING[::-1]))
    affine[:3, 3] = (-150.0 + 2 * cut_at, -120.0, 30.0)
    images = tuple((str(n), None) for n in range(shape[0]))
    return Volume(np.ascontiguousarray(hu[:, :, cut_at:]), affine, "1", "2", images)


def test_the_box_holds_both_lungs_and_a_margin_and_little_more() -> None:
    volume = chest()
    lungs = find_lungs(volume)
    assert lungs is not None
    air = np.argwhere((volume.voxels > -950) & (volume.voxels < -500))
    low, high = [s.start for s in lungs.box], [s.stop for s in lungs.box]
    assert (air.min(0) >= np.array(low) + 4).all()
    assert (air.max(0) < np.array(high) - 4).all()
    assert np.prod(np.subtract(high, low)) < 0.75 * volume.voxels.size


def test_distance_is_in_millimetres_from_aerated_lung() -> None:
    volume = chest()
    lungs = find_lungs(volume)
    assert lungs is not None
    inside, between = volume.to_patient((45, 60, 43)), volume.to_patient((45, 60, 75))
    assert lungs.distance_mm([inside, between]) == pytest.approx([0, 20], abs=5)


def test_a_lung_that_reaches_the_border_of_the_image_is_found() -> None:
    volume = chest(cut_at=30)
    lungs = find_lungs(volume)
    assert lungs is not None
    assert lungs.distance_mm([volume.to_patient((45, 60, 4))])[0] == 0


def test_nothing_is_lung_in_a_head_or_in_air() -> None:
    volume = chest()
    for hu in (40, -1000):
        assert find_lungs(Volume(np.full_like(volume.voxels, hu), volume.affine, "1", "2", ())) is None


def test_a_part_lies_where_it_lay_in_the_whole() -> None:
    volume = chest()
    part = part_of(volume, (slice(10, 50), slice(5, 60), slice(20, 90)))
    assert part.shape == (40, 55, 70)
    assert part.to_patient((1, 2, 3)) == pytest.approx(volume.to_patient((11, 7, 23)))
    assert part.images == volume.images[10:50]
