"""Lesions of known size are measured at that size, wherever and however they were scanned."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from inference.findings import Code, Mask
from inference.measure import measure
from inference.resample import cropped
from inference.volume import Volume
from tests.inference.series import affine_of, places

AXIAL = np.array([[0.0, 0, 1], [0, 1, 0], [1, 0, 0]])


def scan(affine: np.ndarray, shape: tuple[int, int, int], values: np.ndarray | None = None) -> Volume:
    voxels = np.zeros(shape, np.int16) if values is None else values.astype(np.int16)
    return Volume(voxels, affine, "1.2", "1.3", tuple((f"1.2.{n}", None) for n in range(shape[0])))


def ellipsoid(volume: Volume, center: np.ndarray, radii: np.ndarray, turn: np.ndarray) -> Mask:
    """``turn``: columns are the directions of the radii in patient space."""
    away = (places(volume.affine, volume.shape) - center) @ turn
    return cropped(((away / radii) ** 2).sum(axis=-1) <= 1)


def box_around(spacing: tuple[float, ...], reach: float) -> tuple[int, int, int]:
    depth, height, width = (int(2 * reach / step) + 6 for step in spacing)
    return depth, height, width


anywhere = st.tuples(*[st.floats(-180, 180)] * 3)
within_a_voxel = st.tuples(*[st.floats(-0.5, 0.5)] * 3)
spacings = st.sampled_from([(0.7, 0.7, 0.7), (1.0, 0.6, 0.8), (2.0, 0.8, 0.7)])


@settings(max_examples=30, deadline=None)
@given(anywhere, within_a_voxel, spacings, st.floats(4, 12))
def test_a_sphere_is_measured_at_its_diameter(angles, offset, spacing, radius) -> None:
    directions = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() @ AXIAL
    shape = box_around(spacing, radius)
    volume = scan(affine_of(spacing, directions, shape), shape)
    center = volume.to_patient((np.array(shape) - 1) / 2 + offset)
    measured = measure(ellipsoid(volume, center, np.full(3, radius), np.eye(3)), volume)
    pixel = max(spacing[1:])
    assert measured.long_axis.length_mm == pytest.approx(2 * radius, abs=1.2 * pixel)
    assert measured.short_axis.length_mm == pytest.approx(2 * radius, abs=1.6 * pixel)
    assert measured.volume_mm3 == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.1)
    assert np.linalg.norm(np.subtract(measured.center_mm, center)) < 0.3


@settings(max_examples=30, deadline=None)
@given(st.floats(0, 180), within_a_voxel, spacings)
def test_an_ellipsoid_gives_its_longest_diameter_in_the_plane_and_the_one_across(
    angle, offset, spacing
) -> None:
    shape = box_around(spacing, 12)
    volume = scan(affine_of(spacing, shape=shape), shape)
    center = volume.to_patient((np.array(shape) - 1) / 2 + (round(offset[0]), *offset[1:]))
    turn = Rotation.from_euler("z", angle, degrees=True).as_matrix()
    measured = measure(ellipsoid(volume, center, np.array([12.0, 7.0, 9.0]), turn), volume)
    assert measured.long_axis.length_mm == pytest.approx(24, abs=1.5)
    assert measured.short_axis.length_mm == pytest.approx(14, abs=1.5)
    along = np.subtract(measured.long_axis.end, measured.long_axis.start) / measured.long_axis.length_mm
    assert abs(along @ turn[:, 0]) > 0.97


@settings(max_examples=20, deadline=None)
@given(anywhere, st.tuples(*[st.sampled_from([-1, 1])] * 3), st.integers(0, 99))
def test_both_axes_lie_on_the_key_slice_and_cross_at_right_angles(angles, flips, seed) -> None:
    shape = (8, 20, 20)
    directions = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() @ AXIAL * flips
    volume = scan(affine_of((2.0, 0.7, 0.9), directions, shape), shape)
    voxels = np.random.default_rng(seed).random(shape) > 0.97
    measured = measure(cropped(voxels), volume)
    ends = [
        measured.long_axis.start,
        measured.long_axis.end,
        measured.short_axis.start,
        measured.short_axis.end,
    ]
    assert volume.to_index(ends)[:, 0] == pytest.approx(measured.slice_index)
    assert measured.image_uid == f"1.2.{measured.slice_index}"
    long = np.subtract(measured.long_axis.end, measured.long_axis.start)
    short = np.subtract(measured.short_axis.end, measured.short_axis.start)
    assert long @ short == pytest.approx(0, abs=1e-6)
    assert measured.short_axis.length_mm <= measured.long_axis.length_mm + 1e-9


@settings(max_examples=20, deadline=None)
@given(anywhere, st.tuples(*[st.sampled_from([-1, 1])] * 3), st.integers(0, 99))
@example((0.0, 1.0, 0.0), (-1, -1, -1), 78)  # two slices with axes of one length
def test_a_lesion_measures_the_same_in_any_position_of_the_patient(angles, flips, seed) -> None:
    shape = (8, 20, 20)
    rng = np.random.default_rng(seed)
    mask, values = cropped(rng.random(shape) > 0.9), rng.normal(40, 20, shape)
    plain = measure(mask, scan(affine_of((2.0, 0.7, 0.9), shape=shape), shape, values))
    directions = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() @ AXIAL * flips
    turned = measure(mask, scan(affine_of((2.0, 0.7, 0.9), directions, shape), shape, values))
    for name in ("volume_mm3", "mean_hu", "std_hu", "slice_index"):
        assert getattr(turned, name) == pytest.approx(getattr(plain, name))
    assert turned.long_axis.length_mm == pytest.approx(plain.long_axis.length_mm)
    assert turned.short_axis.length_mm == pytest.approx(plain.short_axis.length_mm)


def test_the_long_axis_matches_a_search_over_all_directions() -> None:
    plane = np.random.default_rng(3).random((1, 15, 15)) > 0.8
    volume = scan(affine_of((3.0, 0.5, 0.9), shape=plane.shape), plane.shape)
    measured = measure(cropped(plane), volume)
    row, column = np.nonzero(plane[0])
    edges = np.array([(-0.5, 0), (0.5, 0), (0, -0.5), (0, 0.5)])
    points = ((np.column_stack([row, column])[:, None] + edges).reshape(-1, 2)) * (0.5, 0.9)
    farthest = np.linalg.norm(points[:, None] - points[None], axis=-1).max()
    assert measured.long_axis.length_mm == pytest.approx(farthest)
    along = np.subtract(measured.long_axis.end, measured.long_axis.start)[:2][::-1] / farthest
    across = points @ np.array([-along[1], along[0]])
    assert measured.short_axis.length_mm <= np.ptp(across) + 1e-9


def test_the_short_axis_of_a_bar_is_its_width() -> None:
    voxels = np.zeros((3, 12, 30), bool)
    voxels[1, 4:9, 3:27] = True
    measured = measure(cropped(voxels), scan(affine_of((2.0, 1.0, 1.0), shape=voxels.shape), voxels.shape))
    assert measured.long_axis.length_mm == pytest.approx(np.hypot(24, 4))
    assert 4.5 < measured.short_axis.length_mm < 5.5


def test_a_single_voxel_has_a_size() -> None:
    volume = scan(affine_of((5.0, 0.8, 0.6), shape=(4, 5, 6)), (4, 5, 6), np.full((4, 5, 6), -300))
    measured = measure(Mask((2, 3, 4), np.ones((1, 1, 1), bool)), volume)
    center = volume.to_patient((2, 3, 4))
    assert measured.center_mm == pytest.approx(center)
    half = np.array([0.3, 0.4, 2.5])
    assert measured.box_mm[0] == pytest.approx(center - half)
    assert measured.box_mm[1] == pytest.approx(center + half)
    assert measured.long_axis.length_mm == pytest.approx(0.8)
    assert measured.short_axis.length_mm == pytest.approx(0.6)
    assert measured.volume_mm3 == pytest.approx(5.0 * 0.8 * 0.6)
    assert (measured.mean_hu, measured.std_hu) == (-300, 0)


def test_an_interpolated_slice_is_never_the_key_slice() -> None:
    shape = (3, 20, 20)
    voxels = np.zeros(shape, bool)
    voxels[0, 5:9, 5:9] = voxels[1, 2:18, 2:18] = True
    volume = scan(affine_of(shape=shape), shape)
    gap = Volume(volume.voxels, volume.affine, "", "", (("1.2.0", 4), None, ("1.2.0", 6)))
    measured = measure(cropped(voxels), gap)
    assert (measured.slice_index, measured.image_uid, measured.frame) == (0, "1.2.0", 4)
    only_there = measure(cropped(np.where(np.arange(3)[:, None, None] == 1, voxels, False)), gap)
    assert only_there.image_uid == "1.2.0"
    assert volume.to_index(only_there.long_axis.start)[0] == pytest.approx(only_there.slice_index)


def test_it_is_told_how_much_of_a_lesion_lies_in_slices_that_were_not_sent() -> None:
    shape = (3, 20, 20)
    voxels = np.zeros(shape, bool)
    voxels[0, 5:9, 5:9] = voxels[1, 5:9, 5:13] = True
    volume = scan(affine_of(shape=shape), shape)
    sent = tuple((f"1.2.{n}", None) for n in range(3))
    for images, share in ((sent, 0.0), ((sent[0], None, sent[2]), 2 / 3)):
        mask = cropped(voxels)
        measured = measure(mask, replace(volume, images=images))
        finding = measured.finding("Nodule", Code("SCT", "27925004", "Nodule"), 0.9, mask)
        assert finding.interpolated == pytest.approx(share)
        assert finding.caveat.startswith("67 % of its volume lies in slices that were not sent") is bool(
            share
        )


@pytest.mark.parametrize(
    ("slices", "drawn", "cut"),
    [(4, (0, 1), True), (4, (2, 3), True), (4, (1, 2), False), (1, (0,), False)],
    ids=["first", "last", "between", "one slice"],
)
def test_a_lesion_in_the_first_or_last_slice_of_a_stack_may_go_on_beyond(slices, drawn, cut) -> None:
    shape = (slices, 20, 20)
    voxels = np.zeros(shape, bool)
    voxels[list(drawn), 5:9, 5:9] = True
    mask = cropped(voxels)
    measured = measure(mask, scan(affine_of(shape=shape), shape))
    finding = measured.finding("Nodule", Code("SCT", "27925004", "Nodule"), 0.9, mask)
    assert finding.cut is cut
    assert finding.caveat == (
        "It reaches the first or last slice of the scan: it may be larger than measured." if cut else ""
    )


@pytest.mark.parametrize("origin", [(0, 0, 3), (-1, 0, 0)])
def test_a_mask_beyond_the_volume_is_refused(origin) -> None:
    with pytest.raises(ValueError, match="reaches beyond"):
        measure(Mask(origin, np.ones((2, 2, 2), bool)), scan(affine_of(shape=(4, 4, 4)), (4, 4, 4)))


def test_an_empty_mask_is_refused() -> None:
    with pytest.raises(ValueError, match="empty mask"):
        measure(Mask((0, 0, 0), np.zeros((2, 2, 2), bool)), scan(affine_of(shape=(4, 4, 4)), (4, 4, 4)))
