"""How hot a sphere of 1 ml is."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from inference.findings import Mask
from inference.hot_spots import HotSpot
from inference.readers.pet_ct import uptake
from inference.volume import Volume

FINE_MM = 1.0


@pytest.mark.parametrize(
    "spacing_mm",
    [(3.27, 4.69, 4.69), (3.0, 4.07, 4.07), (4.25, 5.3, 5.3), (3.27, 5.47, 5.47), (2.0, 2.0, 2.0)],
)
def test_the_peak_is_the_mean_over_1_ml_of_what_the_camera_sees(
    spacing_mm: tuple[float, float, float],
) -> None:
    """A sphere of 20 mm and SUV 10 in 1, blurred by 6 mm, against its true mean over 1 ml."""
    away = np.linalg.norm(np.indices((81, 81, 81)) - 40, axis=0) * FINE_MM
    seen = ndimage.gaussian_filter(np.where(away <= 10, 10.0, 1.0), 6 / 2.355 / FINE_MM)
    true = seen[away <= (3000 / (4 * np.pi)) ** (1 / 3)].mean()
    at = [(np.arange(-4, 5) * s + s / 4) / FINE_MM + 40 for s in spacing_mm]
    voxels = ndimage.map_coordinates(seen, np.meshgrid(*at, indexing="ij"), order=1).astype(np.float32)
    pet = Volume(voxels, np.diag([*spacing_mm, 1.0])[[2, 1, 0, 3]], "1.2.3", "1.2", (None,) * 9)
    spot = HotSpot((4, 4, 4), 10.0, Mask((3, 3, 3), np.ones((3, 3, 3), bool)), 1.0, 4.1)
    assert uptake(spot, pet).suv_peak == pytest.approx(true, rel=0.04)
