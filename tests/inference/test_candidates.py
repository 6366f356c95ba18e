"""Where a heat map peaks."""

from __future__ import annotations

import numpy as np
import pytest

from inference.readers.candidates import peaks


def heat_with(*tops: tuple[int, float]) -> np.ndarray:
    """A map with single voxels above 0: their row, and how strong each is."""
    heat = np.zeros((3, 40, 3), np.float32)
    for row, strength in tops:
        heat[1, row, 1] = strength
    return heat


def test_the_strongest_comes_first_and_takes_what_lies_inside_of_it() -> None:
    heat = heat_with((5, 0.5), (20, 0.9), (24, 0.8), (30, 0.7))
    found = peaks(heat, np.full(heat.shape, 12.0), np.eye(4), threshold=0.1, most=9)
    assert [round(one.score, 1) for one in found] == [0.9, 0.7, 0.5]
    assert [one.center_mm for one in found] == [(1.0, 20.0, 1.0), (1.0, 30.0, 1.0), (1.0, 5.0, 1.0)]


def test_what_lies_inside_of_one_that_was_taken_takes_nothing_itself() -> None:
    heat = heat_with((20, 0.9), (25, 0.8), (30, 0.7))
    found = peaks(heat, np.full(heat.shape, 12.0), np.eye(4), threshold=0.1, most=9)
    assert [round(one.score, 1) for one in found] == [0.9, 0.7]


def test_no_more_are_taken_than_wanted_and_none_below_the_threshold() -> None:
    heat = heat_with((5, 0.5), (20, 0.9), (35, 0.05))
    flat = np.full(heat.shape, 4.0)
    assert len(peaks(heat, flat, np.eye(4), threshold=0.1, most=9)) == 2
    assert [one.score for one in peaks(heat, flat, np.eye(4), threshold=0.1, most=1)] == [pytest.approx(0.9)]


def test_a_size_that_is_no_number_hides_nothing_else() -> None:
    heat = heat_with((5, 0.5), (20, 0.9))
    found = peaks(heat, np.full(heat.shape, np.nan), np.eye(4), threshold=0.1, most=9)
    assert [round(one.score, 1) for one in found] == [0.9, 0.5]
