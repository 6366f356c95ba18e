"""Sheets of the worst cases: what a person sees of them."""

from __future__ import annotations

import numpy as np

from inference.findings import Mask
from inference.volume import Volume
from training.evaluate.sheets import LUNG, SOFT_TISSUE, TILE, tile


def test_a_lesion_of_the_liver_can_be_seen_in_the_window_of_soft_tissue() -> None:
    """It is 40 HU darker than the liver about it."""
    voxels = np.full((3, 90, 90), 100, np.int16)
    voxels[1, 40:50, 40:50] = 60
    volume = Volume(voxels, np.eye(4), "1.2", "1.3", tuple((f"1.2.{n}", None) for n in range(3)))
    lesion = Mask((1, 40, 40), np.ones((1, 10, 10), bool))
    contrast = {}
    for window in (LUNG, SOFT_TISSUE):
        picture = tile(volume, lesion, None, window)
        assert picture.shape == (2 * TILE, 2 * TILE, 3)
        inside, outside = picture[TILE, TILE].astype(int), picture[8, 8].astype(int)
        assert len(set(inside)) == len(set(outside)) == 1
        contrast[window] = outside[0] - inside[0]
    assert contrast[SOFT_TISSUE] > 20 > contrast[LUNG] > 0
