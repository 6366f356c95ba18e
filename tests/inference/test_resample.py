"""Other grids show the same patient, and what is found there falls back on the right voxels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from inference.errors import UnreadableSeriesError
from inference.resample import AIR_HU, crop_affine, cropped, mask_from_crop, resample, sample_crops
from inference.volume import Volume
from tests.inference.series import CENTER, affine_of, places

SHAPE = (24, 40, 44)
AXIAL = np.array([[0.0, 0, 1], [0, 1, 0], [1, 0, 0]])

rotations = st.tuples(*[st.sampled_from([0.0, 90.0, 180.0]) | st.floats(-180, 180) for _ in range(3)])
flips = st.tuples(*[st.sampled_from([-1, 1])] * 3)
spacings = st.tuples(st.floats(0.7, 4), st.floats(0.4, 1.2), st.floats(0.4, 1.2))
tilts = st.sampled_from([0.0, 0.3])


def slope(mm: np.ndarray) -> np.ndarray:
    """A field that linear interpolation reproduces exactly."""
    return (mm - CENTER) @ np.array([1.0, 2.0, 3.0])


def volume_of(affine: np.ndarray, values) -> Volume:
    voxels = values(places(affine, SHAPE)).astype(np.float32)
    return Volume(voxels, affine, "1.2", "1.3", tuple((f"1.2.{n}", None) for n in range(SHAPE[0])))


def turned(angles, flip, spacing, tilt=0.0) -> np.ndarray:
    affine = affine_of(
        spacing, Rotation.from_euler("xyz", angles, degrees=True).as_matrix() @ AXIAL * flip, SHAPE
    )
    affine[:3, 0] += tilt * affine[:3, 1]
    return affine


def inside(volume: Volume, mm: np.ndarray, margin: float) -> np.ndarray:
    index = volume.to_index(mm)
    return ((index >= margin) & (index <= np.array(volume.shape) - 1 - margin)).all(axis=-1)


@settings(max_examples=25, deadline=None)
@given(rotations, flips, spacings, tilts, st.sampled_from([0.8, 1.5, (2.0, 1.0, 0.7), 3.0]))
def test_an_aligned_grid_shows_the_same_patient_whatever_the_source(
    angles, flip, spacing, tilt, grid
) -> None:
    volume = volume_of(turned(angles, flip, spacing, tilt), slope)
    aligned = resample(volume, grid, fill=-9999)
    assert aligned.spacing_mm == pytest.approx(np.broadcast_to(grid, 3))
    assert np.count_nonzero(np.abs(aligned.affine[:3, :3]) > 1e-9) == 3
    mm = places(aligned.affine, aligned.shape)
    sound = inside(volume, mm, margin=4.5 / min(spacing))  # so far in reaches a last bin half full
    assert np.abs(aligned.voxels - slope(mm))[sound].max(initial=0) < 0.01


def test_an_aligned_volume_on_its_own_grid_is_unchanged() -> None:
    volume = volume_of(affine_of((2.0, 0.8, 0.8), shape=SHAPE), slope)
    same = resample(volume, (2.0, 0.8, 0.8))
    assert same.affine == pytest.approx(volume.affine)
    assert same.voxels == pytest.approx(volume.voxels, abs=1e-4)


def test_grid_points_outside_the_source_get_the_fill_value() -> None:
    volume = volume_of(turned((0, 0, 45), (1, 1, 1), (2.0, 0.8, 0.8)), lambda mm: np.zeros(mm.shape[:-1]))
    corner = resample(volume, 1.0).voxels[0, 0, 0]
    assert corner == AIR_HU
    assert resample(volume, 1.0, fill=0).voxels[0, 0, 0] == 0


def test_integer_voxels_stay_integer() -> None:
    volume = volume_of(affine_of(shape=SHAPE), slope)
    whole = Volume(volume.voxels.astype(np.int16), volume.affine, "", "", volume.images)
    assert resample(whole, 1.5).voxels.dtype == np.int16


def test_no_voxel_is_lost_where_slices_do_not_divide_into_the_grid() -> None:
    affine = affine_of((1.0, 1.0, 1.0), shape=SHAPE)
    volume = volume_of(affine, lambda mm: np.full(mm.shape[:-1], 7.0))
    assert (resample(volume, 5.0).voxels == 7).all()


def test_noise_is_averaged_when_the_grid_is_much_coarser() -> None:
    noise = np.random.default_rng(0).normal(0, 100, SHAPE)
    volume = volume_of(affine_of((0.5, 0.5, 0.5), shape=SHAPE), lambda mm: noise)
    assert resample(volume, 2.0).voxels.std() < 30


def test_a_grid_that_would_fill_memory_is_refused_in_a_sentence() -> None:
    wide = volume_of(np.diag([200.0, 200.0, 200.0, 1.0]), slope)
    with pytest.raises(UnreadableSeriesError, match="more than can be searched"):
        resample(wide, 1.0)


@pytest.mark.parametrize("spacing", [0.0, -1.0, float("nan"), (1.0, 0.0, 1.0)])
def test_a_grid_without_spacing_is_refused(spacing) -> None:
    with pytest.raises(ValueError, match="above 0 mm"):
        resample(volume_of(affine_of(shape=SHAPE), slope), spacing)


@settings(max_examples=25, deadline=None)
@given(rotations, flips, spacings, tilts)
def test_a_crop_is_centred_on_its_point_whatever_the_source(angles, flip, spacing, tilt) -> None:
    volume = volume_of(turned(angles, flip, spacing, tilt), slope)
    size = (7, 8, 9)
    centers = np.array([CENTER, CENTER + np.array([1.0, -2.0, 0.5])])
    crops = sample_crops(volume, centers, size, (0.5, 0.6, 0.7))
    assert crops.shape == (2, *size)
    assert crops.dtype == np.float32
    for crop, center in zip(crops, centers, strict=True):
        mm = places(crop_affine(center, size, (0.5, 0.6, 0.7)), size)
        assert mm.reshape(-1, 3).mean(axis=0) == pytest.approx(center)
        sound = inside(volume, mm, margin=1)
        assert np.abs(crop - slope(mm))[sound].max(initial=0) < 0.01


def test_a_crop_beyond_the_volume_is_filled() -> None:
    volume = volume_of(affine_of(shape=SHAPE), slope)
    (far,) = sample_crops(volume, [CENTER + 1000.0], (4, 4, 4), 1.0)
    assert (far == AIR_HU).all()
    edge = sample_crops(volume, [volume.to_patient((0, 0, 0))], (9, 9, 9), 1.0)[0]
    assert edge[0, 0, 0] == AIR_HU
    assert edge[8, 8, 8] != AIR_HU


def test_no_crops_are_an_empty_array() -> None:
    assert sample_crops(volume_of(affine_of(shape=SHAPE), slope), [], (4, 5, 6), 1.0).shape == (0, 4, 5, 6)


@settings(max_examples=25, deadline=None)
@given(rotations, flips, spacings, tilts)
def test_a_mask_put_back_lands_on_the_lesion(angles, flip, spacing, tilt) -> None:
    volume = volume_of(turned(angles, flip, spacing, tilt), slope)
    center = CENTER + np.array([0.3, -0.4, 0.2])
    size, fine = (40, 40, 40), 0.5
    affine = crop_affine(center, size, fine)
    distance = np.linalg.norm(places(affine, size) - center, axis=-1)
    mask = mask_from_crop(1 / (1 + np.exp(4 * (distance - 6))), affine, volume)
    assert mask is not None
    drawn = np.zeros(SHAPE, bool)
    drawn[tuple(slice(o, o + n) for o, n in zip(mask.origin, mask.voxels.shape, strict=True))] = mask.voxels
    true = np.linalg.norm(places(volume.affine, SHAPE) - center, axis=-1)
    assert drawn[true < 6 - 0.1].all()
    assert not drawn[true > 6 + 0.1].any()


def test_a_mask_between_two_slices_is_none() -> None:
    volume = volume_of(affine_of((10.0, 0.8, 0.8), shape=SHAPE), slope)
    between = volume.to_patient((10.5, 20, 20))
    assert mask_from_crop(np.ones((5, 5, 5)), crop_affine(between, (5, 5, 5), 1.0), volume) is None


def test_a_mask_outside_the_volume_is_none() -> None:
    volume = volume_of(affine_of(shape=SHAPE), slope)
    assert mask_from_crop(np.ones((5, 5, 5)), crop_affine(CENTER + 900, (5, 5, 5), 1.0), volume) is None


def test_a_mask_is_cropped_to_its_box() -> None:
    voxels = np.zeros((5, 6, 7), bool)
    voxels[1:3, 4, 2:6] = True
    mask = cropped(voxels, origin=(10, 20, 30))
    assert mask.origin == (11, 24, 32)
    assert mask.voxels.shape == (2, 1, 4)
    assert mask.voxels.all()
