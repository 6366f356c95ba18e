"""How lungs that were drawn small come to lie on the radiograph itself."""

from __future__ import annotations

import numpy as np
import pytest

from inference.findings import Axis, Box, Code, Finding, Mask, Segment
from inference.readers.chest_xray import on_its_side
from inference.readers.radiograph import Floats, of_one_part, on_part, on_picture, sampled, strongest


def disc(radius: float, column: float = 64) -> Floats:
    """128 x 128 values that fall from 1 to 0 within eight pixels around the border of a disc."""
    rows, columns = np.indices((128, 128)) + 0.5
    distance = np.hypot(rows - 64, columns - column)
    return np.clip((radius + 4 - distance) / 8, 0, 1).astype(np.float32)


def test_a_lung_ends_where_its_probability_passes_one_half_between_pixels() -> None:
    drawn = on_picture(of_one_part(disc(20)), (1024, 1024))
    assert np.sqrt(drawn.sum() / np.pi) / 8 == pytest.approx(20, abs=0.1)


def test_what_lies_apart_from_a_lung_is_not_drawn() -> None:
    both = np.maximum(disc(20, 40), disc(8, 100))
    drawn = on_picture(of_one_part(both), (512, 512))
    assert drawn[:, :256].any() and not drawn[:, 340:].any()


def test_a_lung_lies_on_a_picture_of_any_shape_where_the_square_around_it_says() -> None:
    for shape in ((512, 401), (300, 512)):
        drawn = on_picture(disc(20), shape)
        assert drawn.shape == shape
        middle = np.argwhere(drawn).mean(0) + 0.5
        assert np.allclose(middle, (shape[0] / 2, shape[1] / 2), atol=1)


def test_what_is_drawn_on_a_part_of_a_picture_lies_where_the_part_was_taken_from() -> None:
    """Of a part that reaches beyond the picture, and is stretched."""
    rows, columns = np.indices((300, 260)) + 0.5
    true = np.hypot((rows - 180) / 1.4, columns - 110) < 50
    close = (-20.0, 60.0, 240.0, 330.0)
    seen = np.clip(sampled(true * 1.0, close, 128) + 0.5, 0, 1)
    drawn = on_part(seen, close, (300, 260))
    assert 2 * (drawn & true).sum() / (drawn.sum() + true.sum()) > 0.98


def test_the_place_of_the_strongest_evidence_hangs_together_around_its_peak() -> None:
    evidence = np.zeros((8, 8), np.float32)
    evidence[2, 1:4], evidence[6, 6] = 1.0, 0.9
    left, top, right, bottom = strongest(evidence, (100, 200, 260, 360), (600, 500))
    assert (left, right) == pytest.approx((120 - 0.5, 180 - 0.5), abs=3)
    assert (top, bottom) == pytest.approx((240 - 0.5, 260 - 0.5), abs=3)


def test_evidence_beside_the_picture_is_shown_on_its_edge() -> None:
    """The box around lungs that the picture cuts off reaches beyond it."""
    evidence = np.zeros((8, 8), np.float32)
    evidence[7, 7] = 1.0
    assert strongest(evidence, (0, 0, 160, 160), (90, 100)) == (98.5, 88.5, 99.5, 89.5)
    assert strongest(evidence[::-1, ::-1], (-60, -60, 100, 100), (90, 100)) == (-0.5, -0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("box", "side"),
    [
        (((10.0, 20.0, 0.0), (40.0, 60.0, 0.0)), "right"),
        (((10.0, 20.0, 0.0), (70.0, 60.0, 0.0)), None),
        (((36.0, 20.0, 0.0), (58.0, 95.0, 0.0)), None),
    ],
    ids=["on one lung", "on both", "a sliver of one, the rest beside it"],
)
def test_evidence_has_the_side_of_the_lung_that_it_lies_on(box: Box, side: str | None) -> None:
    right, left = np.zeros((1, 100, 100), bool), np.zeros((1, 100, 100), bool)
    right[:, 10:70, 5:40], left[:, 10:70, 60:95] = True, True
    lungs = tuple(
        Segment("Lung", Code("SCT", code, "Lung"), mask=Mask((0, 0, 0), mask))
        for code, mask in (("3341006", right), ("44029006", left))
    )
    middle = ((box[0][0] + box[1][0]) / 2, (box[0][1] + box[1][1]) / 2, 0.0)
    axis = Axis(box[0], box[1])
    effusion = Code("SCT", "60046008", "Pleural effusion")
    found = Finding("Pleural effusion", effusion, middle, box, "1.2", 0.9, axis, axis, 1.0, kind="saliency")
    assert on_its_side(found, lungs).side == side
