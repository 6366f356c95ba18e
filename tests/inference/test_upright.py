"""A radiograph is turned upright to be read, and what was found is turned back."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from inference.errors import UnreadableSeriesError
from inference.findings import Axis
from inference.picture import View
from inference.readers.upright import Turn, turn_of

EVERY_TURN = [Turn((5, 7), *flags) for flags in itertools.product((False, True), repeat=3)]


@pytest.mark.parametrize("turn", EVERY_TURN, ids=str)
def test_what_is_turned_comes_back(turn: Turn) -> None:
    stored = np.arange(35).reshape(5, 7)
    assert (turn.stored(turn.upright(stored)) == stored).all()


@pytest.mark.parametrize("turn", EVERY_TURN, ids=str)
def test_a_point_is_turned_as_its_pixel_is(turn: Turn) -> None:
    stored = np.zeros((5, 7), int)
    stored[1, 5] = 1
    ((row, column),) = np.argwhere(turn.upright(stored))
    assert turn.stored_point((column, row, 0)) == (5, 1, 0)
    assert turn.stored_axis(Axis((column, row, 0), (column, row, 0))).start == (5, 1, 0)


@pytest.mark.parametrize("turn", EVERY_TURN, ids=str)
def test_a_box_stays_one(turn: Turn) -> None:
    (left, top, _), (right, bottom, _) = turn.stored_box(((1, 2, 0), (3, 4, 0)))
    assert left < right and top < bottom


@pytest.mark.parametrize(
    ("orientation", "turn"),
    [
        (None, Turn((5, 7))),
        (("L", "F"), Turn((5, 7))),
        (("LA", "FP"), Turn((5, 7))),
        (("R", "F"), Turn((5, 7), mirrored=True)),
        (("L", "H"), Turn((5, 7), inverted=True)),
        (("F", "L"), Turn((5, 7), transposed=True)),
        (("H", "L"), Turn((5, 7), transposed=True, inverted=True)),
    ],
)
def test_patient_orientation_says_how_a_picture_lies(orientation: tuple[str, str] | None, turn: Turn) -> None:
    assert turn_of(View("DX", "PA", orientation=orientation), (5, 7)) == turn


@pytest.mark.parametrize("orientation", [("L", "R"), ("F", "H"), ("A", "F")])
def test_an_orientation_that_no_frontal_view_has_is_refused(orientation: tuple[str, str]) -> None:
    with pytest.raises(UnreadableSeriesError):
        turn_of(View("DX", orientation=orientation), (5, 7))
