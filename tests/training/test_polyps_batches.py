"""Batches of frames: drawn by their step alone, masks moved as their pictures are, no group left out."""

from __future__ import annotations

import numpy as np
import torch

from training.phantoms.endoscopy import Frame
from training.polyps.batches import BATCH, FrameSource

SIZE = 64


def square(size: int = 20) -> Frame:
    """White where its mask is, black elsewhere."""
    mask = np.zeros((SIZE, SIZE), bool)
    mask[8 : 8 + size, 30 : 30 + size] = True
    return Frame(np.where(mask[..., None], np.full(3, 255, np.uint8), np.uint8(0)), mask)


def test_a_step_gives_the_same_batch_again() -> None:
    one, other = (FrameSource([[square()]], seed=3)(7) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert not torch.equal(one[0], FrameSource([[square()]], seed=3)(8)[0])


def test_a_mask_goes_where_its_picture_goes() -> None:
    pictures, masks = FrameSource([[square()]], seed=1)(0)
    bright, inside = pictures.mean(1) > -0.4, masks[:, 0] > 0.5
    assert inside.sum() > 0
    assert (bright != inside).sum() < 0.15 * inside.sum()
    assert not torch.equal(masks[0], masks[1])


def test_a_few_frames_are_seen_as_much_as_many() -> None:
    few, many = [square(40)], [square(0)] * 50
    _, masks = FrameSource([few, many], seed=1)(0)
    assert int(masks.amax((1, 2, 3)).gt(0.5).sum()) == BATCH // 2


def test_a_group_without_frames_takes_no_part() -> None:
    _, masks = FrameSource([[], [square(40)]], seed=1)(0)
    assert int(masks.amax((1, 2, 3)).gt(0.5).sum()) == BATCH


def test_what_is_drawn_badly_is_shown_more_often() -> None:
    both, often = [square(0), square(40)], np.array([1.0, 3.0])
    source = FrameSource([both], seed=1, often=[often])
    shown = sum(int(source(step)[1].amax((1, 2, 3)).gt(0.5).sum()) for step in range(25))
    assert 0.68 < shown / (25 * BATCH) < 0.82


def test_a_polyp_beyond_the_field_is_in_neither_picture_nor_mask() -> None:
    """All white: where the picture is black, the endoscope sees nothing, and so there is no polyp either."""
    white = Frame(np.full((SIZE, SIZE, 3), 255, np.uint8), np.ones((SIZE, SIZE), bool))
    source = FrameSource([[white]], seed=1)
    pictures, masks = (torch.cat(parts) for parts in zip(*(source(step) for step in range(12)), strict=True))
    inside = masks[:, 0] > 0.5
    dark = pictures.amax(1) < -0.8
    assert (masks.mean((1, 2, 3)) < 0.75).sum() > 5
    assert (dark & inside).sum() < 0.02 * inside.sum()
