"""Masks against masks, and what a registration did."""

from __future__ import annotations

import numpy as np
import pytest

from training.metrics.overlap import dice, iou, per_image
from training.metrics.registration import folding, jacobian_determinant, structure_dice, target_error


@pytest.mark.parametrize(
    ("one", "other", "as_dice", "as_iou"),
    [
        ([1, 1, 0, 0], [1, 1, 0, 0], 1.0, 1.0),
        ([1, 1, 0, 0], [0, 1, 1, 0], 0.5, 1 / 3),
        ([1, 0, 0, 0], [0, 0, 0, 1], 0.0, 0.0),
        ([0, 0, 0, 0], [0, 0, 0, 0], 1.0, 1.0),
        ([0, 0, 0, 0], [1, 0, 0, 0], 0.0, 0.0),
    ],
)
def test_overlap_by_hand(one: list[int], other: list[int], as_dice: float, as_iou: float) -> None:
    assert dice(one, other) == pytest.approx(as_dice)
    assert iou(one, other) == pytest.approx(as_iou)


def test_every_image_counts_alike_whatever_its_size() -> None:
    small, large = np.ones(2), np.ones(1000)
    found = per_image([(small, 0 * small), (large, large)])
    assert found.mean_dice == 0.5
    assert found.mean_iou == 0.5


def test_masks_of_different_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot be compared"):
        dice(np.ones((2, 2)), np.ones((2, 3)))


def test_target_error_by_hand() -> None:
    found = target_error([[0, 0, 0], [0, 0, 0]], [[3, 4, 0], [0, 0, 1]])
    assert (found.mean_mm, found.sd_mm, found.worst_mm) == (3.0, 2.0, 5.0)


def test_structures_are_compared_label_by_label() -> None:
    assert structure_dice([0, 1, 1, 2], [0, 1, 0, 3]) == {1: pytest.approx(2 / 3), 2: 0.0, 3: 0.0}


def grid(spacing: tuple[float, float, float]) -> np.ndarray:
    axes = [np.arange(6) * s for s in spacing]
    return np.stack(np.meshgrid(*axes, indexing="ij"), -1)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.5, 0.7, 0.9)])
def test_a_field_that_doubles_one_axis_doubles_volume(spacing: tuple[float, float, float]) -> None:
    field = np.zeros((6, 6, 6, 3))
    field[..., 0] = grid(spacing)[..., 0]
    assert jacobian_determinant(field, spacing) == pytest.approx(np.full((6, 6, 6), 2.0))
    assert folding(field, spacing).folded == 0
    assert folding(field, spacing).sd_log == pytest.approx(0, abs=1e-9)


def test_a_rotation_keeps_volume() -> None:
    x, turn = grid((1, 1, 1)), np.deg2rad(20)
    matrix = np.array([[1, 0, 0], [0, np.cos(turn), -np.sin(turn)], [0, np.sin(turn), np.cos(turn)]])
    assert jacobian_determinant(x @ matrix.T - x, (1, 1, 1)) == pytest.approx(np.ones((6, 6, 6)))


def test_a_mirrored_axis_folds_everywhere() -> None:
    field = np.zeros((6, 6, 6, 3))
    field[..., 2] = -2 * grid((1, 1, 1))[..., 2]
    assert folding(field, (1, 1, 1)).folded == 1
