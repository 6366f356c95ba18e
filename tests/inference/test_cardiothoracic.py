"""The cardiothoracic ratio: of what it is taken, and when it is not given at all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from inference.picture import View
from inference.readers.cardiothoracic import CHEST_WIDTH, HEART_WIDTH, RATIO, certain, diameters, measurements
from inference.readers.radiograph import Floats
from inference.readers.upright import Turn

Mask = npt.NDArray[np.bool_]
PA = View("DX", "PA", spacing_mm=(0.5, 0.25))


def box(rows: tuple[int, int], columns: tuple[int, int]) -> Mask:
    mask = np.zeros((200, 240), bool)
    mask[rows[0] : rows[1], columns[0] : columns[1]] = True
    return mask


RIGHT, LEFT = box((20, 160), (20, 100)), box((20, 160), (140, 220))
HEART = box((90, 150), (80, 130)) | box((110, 150), (100, 170))


def heart_of(size: float, softness: float = 1.5, column: float = 64.0) -> Floats:
    """128 x 128 values that fall from 1 to 0 around the border of a disc."""
    rows, columns = np.indices((128, 128)) + 0.5
    away = np.hypot(rows - 70, columns - column)
    return np.asarray(1 / (1 + np.exp((away - size) / softness)), np.float32)


def close_up(white: float = -1.0) -> tuple[Floats, Mask]:
    """A heart between two black lungs, the left one as white as is asked for; and the lungs."""
    lungs = np.zeros((2, 128, 128), bool)
    lungs[0, 10:118, 8:60] = lungs[1, 10:118, 68:120] = True
    picture = np.where(lungs[0], -1.0, np.where(lungs[1], white, 1.0))
    return np.where(heart_of(30) >= 0.5, 1.0, picture).astype(np.float32), lungs


def test_the_heart_is_measured_to_either_side_of_the_midline_and_the_chest_where_it_is_widest() -> None:
    lungs = RIGHT | box((150, 152), (10, 100)), LEFT
    found = diameters(HEART, *lungs)
    assert found is not None
    assert (found.right.start[0], found.left.end[0]) == (79.5, 169.5)
    assert (found.right.start[1], found.left.end[1]) == (119.5, 129.5)  # each where it reaches farthest
    assert found.right.end[0] == found.left.start[0] == (9.5 + 219.5) / 2
    assert (found.chest.start, found.chest.end) == ((9.5, 150.0, 0.0), (219.5, 150.0, 0.0))
    assert found.ratio == pytest.approx(90 / 210)


@pytest.mark.parametrize(
    ("heart", "right", "left"),
    [
        (HEART, RIGHT & box((20, 70), (0, 240)), LEFT),
        (HEART, RIGHT & box((0, 200), (70, 240)), LEFT),
        (np.roll(HEART, 45, 1), RIGHT, LEFT),
        (box((120, 132), (85, 155)), RIGHT, LEFT),
        (box((100, 150), (102, 138)), RIGHT, LEFT),
        (box((20, 198), (21, 219)), RIGHT, LEFT),
        (np.zeros_like(HEART), RIGHT, LEFT),
    ],
    ids=[
        "lung too low",
        "lung too narrow",
        "beside the midline",
        "too flat",
        "too narrow",
        "too wide",
        "none",
    ],
)
def test_no_ratio_is_taken_of_a_heart_or_lungs_that_are_not_plausible(
    heart: Mask, right: Mask, left: Mask
) -> None:
    assert diameters(HEART, RIGHT, LEFT) is not None
    assert diameters(heart, right, left) is None


def test_a_heart_is_made_out_where_it_is_one_and_its_border_is_sure() -> None:
    picture, lungs = close_up()
    assert certain(picture, heart_of(30), lungs) is not None
    in_parts = np.maximum(heart_of(20, column=40), heart_of(20, column=90))
    stripe = np.zeros((128, 128), np.float32)
    stripe[40:90, 60:64] = 0.9
    for doubtful in (
        in_parts,
        heart_of(30, 12.0),
        heart_of(30, column=20.0),
        np.zeros((128, 128), np.float32),
        stripe,
    ):
        assert certain(picture, doubtful, lungs) is None


def test_where_a_lung_is_as_white_as_the_heart_no_heart_is_made_out() -> None:
    for white, is_made_out in ((-1.0, True), (0.5, True), (0.8, False), (1.0, False)):
        picture, lungs = close_up(white)
        assert (certain(picture, heart_of(30), lungs) is not None) == is_made_out
    picture, lungs = close_up()
    lungs[1, 38:102] = False  # nothing of the left lung lies beside the heart
    assert certain(picture, heart_of(30), lungs) is None


def test_spurs_holes_and_crumbs_are_no_part_of_the_heart_and_the_rest_stays_as_it_is() -> None:
    picture, lungs = close_up()
    sure = heart_of(30)
    smooth = certain(picture, sure, lungs)
    assert smooth is not None and np.array_equal(smooth >= 0.5, sure >= 0.5)
    rough = sure.copy()
    rough[4:8, 4:8] = 0.9
    rough[70:73, 20:40] = 0.9
    rough[60:63, 60:63] = 0.1
    mended = certain(picture, rough, lungs)
    assert mended is not None
    differs = (mended >= 0.5) != (sure >= 0.5)
    assert not differs[:, :30].any() and not differs[55:65, 55:65].any()


def test_the_view_says_how_far_a_ratio_is_to_be_believed() -> None:
    found = diameters(HEART, RIGHT, LEFT)
    assert found is not None
    turn = Turn((200, 240))
    said = {
        view: measurements(found, turn, replace(PA, position=view), "1.2", None)[0].caveat
        for view in ("PA", "AP", "")
    }
    assert said["PA"] == ""
    assert "magnified" in said["AP"] and "exaggerated" in said["AP"]
    assert "not say whether" in said[""]


def test_diameters_are_told_in_millimetres_where_the_spacing_of_pixels_is_known() -> None:
    found = diameters(HEART, RIGHT, LEFT)
    assert found is not None
    ratio, heart, chest = measurements(found, Turn((200, 240)), PA, "1.2", None)
    assert [one.code for one in (ratio, heart, chest)] == [RATIO, HEART_WIDTH, CHEST_WIDTH]
    assert (heart.value, chest.value, heart.unit) == (90 * 0.25, 200 * 0.25, "mm")
    (alone,) = measurements(found, Turn((200, 240)), replace(PA, spacing_mm=None), "1.2", None)
    assert (alone.code, alone.value) == (RATIO, pytest.approx(90 / 200))


def test_lines_lie_on_the_picture_as_it_is_stored_and_are_as_long_as_its_spacing_says() -> None:
    """A picture whose rows run from head to foot: what is level on the patient runs down its columns."""
    found = diameters(HEART, RIGHT, LEFT)
    assert found is not None
    turn = Turn((240, 200), transposed=True)
    ratio, heart, chest = measurements(found, turn, PA, "1.2", 3)
    assert ratio.value == pytest.approx(90 / 200)
    assert (heart.value, chest.value) == (90 * 0.5, 200 * 0.5)
    for line in ratio.lines:
        assert line.start[0] == line.end[0]
    assert chest.lines[0].start[1] == 19.5 and chest.frame == 3
