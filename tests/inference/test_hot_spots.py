"""Where a PET is hot, and how much of it belongs together."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from inference.hot_spots import HotSpot, hot_spots
from inference.volume import Volume

SPACING = (3.0, 4.0, 4.0)
SHAPE = (60, 60, 60)


def scan(
    *spheres: tuple[tuple[float, float, float], float, float], background: float = 0.8, noise: float = 0.0
) -> Volume:
    """Spheres (centre in z, y, x mm; diameter in mm; SUV) as a camera of 5 mm sees them."""
    index = np.meshgrid(*(np.arange(n) * s for n, s in zip(SHAPE, SPACING, strict=True)), indexing="ij")
    suv: npt.NDArray[np.floating] = np.full(SHAPE, background, np.float32)
    for center, diameter, hot in spheres:
        away = np.sqrt(sum((i - c) ** 2 for i, c in zip(index, center, strict=True)))
        suv += np.clip((diameter / 2 - away) / 3.6 + 0.5, 0, 1) * (hot - background)
    suv = ndimage.gaussian_filter(suv, [5 / 2.355 / s for s in SPACING])
    suv += np.random.default_rng(1).normal(0, noise, SHAPE)
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2], affine[3, 3] = *SPACING, 1
    return Volume(suv.astype(np.float32), affine, "pet", "frame", (None,) * SHAPE[0])


def found(volume: Volume) -> list[HotSpot]:
    return hot_spots(volume, least_suv=2.2, least_ml=0.3, most=50)


def millilitres(spot: HotSpot) -> float:
    return float(spot.mask.voxels.sum()) * float(np.prod(SPACING)) / 1000


@pytest.mark.parametrize("diameter", [16, 24, 36])
@pytest.mark.parametrize(("hot", "background"), [(10.0, 0.5), (6.0, 2.2)])
def test_the_volume_of_a_sphere_is_met_whatever_lies_round_it(
    diameter: float, hot: float, background: float
) -> None:
    (spot,) = found(scan(((90, 120, 120), diameter, hot), background=background))
    assert millilitres(spot) == pytest.approx(np.pi / 6 * diameter**3 / 1000, rel=0.2)
    assert spot.background == pytest.approx(background, rel=0.15)


def test_the_hottest_voxel_of_a_region_is_its_maximum() -> None:
    volume = scan(((90, 120, 120), 20, 8.0), noise=0.1)
    (spot,) = found(volume)
    assert spot.suv_max == volume.voxels.max()


def test_two_lesions_apart_are_two() -> None:
    spots = found(scan(((90, 90, 120), 20, 8.0), ((90, 124, 120), 20, 5.0)))
    assert [round(s.suv_max) for s in spots] == [8, 5]
    assert not (_whole(spots[0]) & _whole(spots[1])).any()


def test_a_lesion_with_two_peaks_and_no_valley_is_one() -> None:
    spots = found(scan(((90, 110, 120), 24, 8.0), ((90, 124, 120), 24, 7.5)))
    assert len(spots) == 1


def test_a_large_organ_does_not_swallow_the_lesion_in_it() -> None:
    spots = found(scan(((90, 120, 120), 110, 2.6), ((90, 120, 120), 20, 7.0)))
    assert millilitres(spots[0]) == pytest.approx(4.2, rel=0.4)


def test_noise_is_no_lesion() -> None:
    assert found(scan(background=1.0, noise=0.3)) == []


def test_a_plateau_has_one_peak() -> None:
    volume = scan(background=5.0)
    assert len(found(volume)) <= 1


def test_nothing_hot_gives_nothing() -> None:
    assert found(scan(((90, 120, 120), 24, 1.5))) == []


def _whole(spot: HotSpot) -> npt.NDArray[np.bool_]:
    out = np.zeros(SHAPE, bool)
    at = tuple(slice(o, o + n) for o, n in zip(spot.mask.origin, spot.mask.voxels.shape, strict=True))
    out[at] = spot.mask.voxels
    return out
