"""Files of data sets: grey levels of any depth, and what is inside of a mask."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.training.datasets.pictures import half, picture
from training.datasets.files import grey, mask
from training.errors import BrokenDataError


def test_grey_levels_of_sixteen_bits_are_those_of_the_file(tmp_path: Path) -> None:
    stored = np.linspace(0, 4095, 48).reshape(6, 8).astype(np.uint16)
    assert np.array_equal(grey(picture(tmp_path / "a.png", stored)).pixels, stored)


@pytest.mark.parametrize("inside", [1, 255, 65535])
def test_what_is_inside_of_a_mask_is_1_or_white(tmp_path: Path, inside: int) -> None:
    drawn = (half() > 0) * np.array(inside, np.uint16 if inside > 255 else np.uint8)
    assert np.array_equal(mask(picture(tmp_path / "a.png", drawn)), half() > 0)


def test_an_empty_mask_is_one(tmp_path: Path) -> None:
    assert not mask(picture(tmp_path / "a.png", 0 * half())).any()


@pytest.mark.parametrize(("highest", "depth"), [(2, np.uint8), (127, np.uint8), (254, np.uint16)])
def test_what_is_drawn_on_another_scale_is_refused(tmp_path: Path, highest: int, depth: type) -> None:
    drawn = ((half() > 0) * highest).astype(depth)
    with pytest.raises(BrokenDataError, match=rf"a\.png is no mask: its highest value is {highest},"):
        mask(picture(tmp_path / "a.png", drawn))
