"""Boxes as DeepLesion, its volumetric variant and NODE21 count them."""

from __future__ import annotations

import numpy as np
import pytest

from training.metrics.boxes import box_outcome, center_inside, greedy_outcome, iobb, iou, node21
from training.metrics.froc import Outcome, froc


def boxes(*corners: tuple[float, ...]) -> np.ndarray:
    return np.array(corners, float).reshape(len(corners), 2, -1)


@pytest.mark.parametrize(
    ("found", "true", "union", "of_found"),
    [
        ((0, 0, 10, 10), (0, 0, 10, 10), 1.0, 1.0),
        ((0, 0, 10, 10), (5, 0, 15, 10), 50 / 150, 0.5),
        ((2, 2, 4, 4), (0, 0, 10, 10), 0.04, 1.0),
        ((0, 0, 10, 10), (10, 0, 20, 10), 0.0, 0.0),
        ((0, 0, 0, 2, 2, 2), (1, 0, 0, 3, 2, 2), 4 / 12, 0.5),
    ],
)
def test_overlap_of_boxes(
    found: tuple[float, ...], true: tuple[float, ...], union: float, of_found: float
) -> None:
    assert iou(boxes(found), boxes(true)) == pytest.approx(np.array([[union]]))
    assert iobb(boxes(found), boxes(true)) == pytest.approx(np.array([[of_found]]))


def test_a_small_box_in_a_large_lesion_is_a_hit_by_iobb_alone() -> None:
    true, found, score = boxes((0, 0, 10, 10)), boxes((2, 2, 4, 4)), np.array([0.9])
    assert box_outcome(true, found, score).nodules == (None,)
    assert box_outcome(true, found, score, overlap=iobb).nodules == (0.9,)


def test_half_an_overlap_is_not_above_half() -> None:
    half = box_outcome(boxes((0, 0, 10, 10)), boxes((0, 0, 10, 5)), np.array([0.9]))
    assert half == Outcome((None,), (0.9,))


def test_a_second_box_on_a_lesion_is_neither_for_deeplesion_and_false_for_node21() -> None:
    true, found = boxes((0, 0, 10, 10)), boxes((0, 0, 10, 10), (1, 0, 10, 10))
    scores = np.array([0.6, 0.8])
    assert box_outcome(true, found, scores) == Outcome((0.8,), (), double=1)
    assert greedy_outcome(true, found, scores) == Outcome((0.8,), (0.6,))


def test_the_surest_box_takes_the_lesion_it_overlaps_most() -> None:
    true = boxes((0, 0, 10, 10), (8, 0, 18, 10))
    found = boxes((7, 0, 17, 10), (0, 0, 10, 10))
    assert greedy_outcome(true, found, np.array([0.9, 0.3])) == Outcome((0.3, 0.9), ())


def test_an_image_without_lesions_or_without_boxes_counts() -> None:
    none = np.zeros((0, 2, 2))
    assert box_outcome(none, boxes((0, 0, 1, 1)), np.array([0.4])) == Outcome((), (0.4,))
    assert box_outcome(boxes((0, 0, 1, 1)), none, np.array([])) == Outcome((None,), ())
    assert greedy_outcome(boxes((0, 0, 1, 1)), none, np.array([])) == Outcome((None,), ())


def test_a_centre_in_the_box_is_a_hit_in_a_volume() -> None:
    found, true = boxes((4, 4, 4, 6, 6, 6)), boxes((0, 0, 0, 10, 10, 10), (6, 6, 6, 9, 9, 9))
    assert center_inside(found, true).tolist() == [[1.0, 0.0]]


def test_sensitivities_at_deeplesions_rates() -> None:
    """Two images, a lesion each; one false box above the second lesion's: 0.5 FP per image."""
    images = [Outcome((0.9,), (0.7,)), Outcome((0.5,), (0.3, 0.2))]
    curve = froc(images, rates=(0.25, 0.5, 1.0), resamples=0)
    assert curve.at_rates == (0.5, 1.0, 1.0)


def test_node21_adds_three_quarters_of_auroc_and_a_quarter_of_sensitivity() -> None:
    images = [Outcome((0.9,), ()), Outcome((0.2,), ()), Outcome((), (0.5,)), Outcome((), ())]
    found = node21(images)
    assert found.auroc == pytest.approx(3 / 4)  # of four pairs, the second image loses to the third
    assert found.sensitivity == pytest.approx(1.0)  # 1 false box in 4 images
    assert found.score == pytest.approx(0.75 * 0.75 + 0.25)
