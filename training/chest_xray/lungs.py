"""Trains and measures the network that draws the lungs, on radiographs with lung masks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cc3d
import numpy as np
import torch
from PIL import Image
from torch import nn

from inference.readers.radiograph import (
    LUNGS_SIZE,
    Floats,
    of_one_part,
    on_picture,
    sampled,
    square,
)
from training.chest_xray.lung_batches import LungCase, LungSource
from training.chest_xray.outlines import parted, train_outlines
from training.datasets.case import Case, Mask
from training.loop import Batch, Schedule
from training.metrics.overlap import dice
from training.segmenter import Segmenter
from training.shipped import Weights

SCHEDULE = Schedule(steps=2000, learning_rate=4e-3, warm_up=30, average=0.99)


def lung_cases(cases: Sequence[Case], size: int = LUNGS_SIZE) -> list[LungCase]:
    """Cases with masks as the network learns from them."""
    return [_fitted(case, size) for case in cases]


def _fitted(case: Case, size: int) -> LungCase:
    pixels = case.load().pixels
    masks = np.stack([sampled_mask(mask, size) for mask in lung_masks(case)])
    return LungCase(case.patient, sampled(pixels, square(pixels), size), masks)


def lung_masks(case: Case) -> Mask:
    """(2, rows, columns) as they were drawn: the patient's right and left lung, of a case with masks of
    either or of both ``lungs`` together."""
    assert case.load_masks is not None
    masks = case.load_masks()
    return sides(masks["lungs"]) if "lungs" in masks else np.stack([masks["right lung"], masks["left lung"]])


def sampled_mask(mask: Mask, size: int) -> Mask:
    """A mask (rows, columns) on the grid that ``sampled`` puts the ``square`` around a picture on."""
    rows, columns = mask.shape
    side = max(rows, columns)
    room = side - min(rows, columns)
    padded = Image.fromarray(np.pad(mask, room).astype(np.float32))
    left, top = room + (columns - side) / 2, room + (rows - side) / 2
    box = (left, top, left + side, top + side)
    return np.asarray(padded.resize((size, size), Image.Resampling.BOX, box=box)) >= 0.5


def sides(mask: Mask) -> Mask:
    """(2, rows, columns): the right lung, which is on the left of the picture, and the left one. Lungs that
    touch are parted in the middle between them."""
    parts = cc3d.connected_components(mask, connectivity=4)
    size = np.bincount(parts.ravel())
    size[0] = 0
    order = np.argsort(size)[::-1]
    both = np.zeros((2, *mask.shape), bool)
    if len(size) > 2 and size[order[1]] > 0.15 * size[order[0]]:
        centre = [float(np.argwhere(parts == order[k])[:, 1].mean()) for k in (0, 1)]
        middle = sum(centre) / 2
        for number in np.flatnonzero(size):
            column = float(np.argwhere(parts == number)[:, 1].mean())
            both[int(column > middle)] |= parts == number
        return both
    columns = np.flatnonzero(mask.any(0))
    middle = (columns[0] + columns[-1]) / 2
    right = np.arange(mask.shape[1]) <= middle
    both[0], both[1] = mask & right, mask & ~right
    return both


def train_lungs(
    cases: Sequence[LungCase],
    out: Path,
    schedule: Schedule = SCHEDULE,
    *,
    phantoms: Sequence[LungCase] = (),
    seed: int = 1,
    resume: bool = True,
    device: str = "cpu",
    start: Weights | None = None,
) -> Segmenter:
    """What a tenth of the patients of ``cases``, held out, have drawn best is kept.

    phantoms: half of each batch, where there are any. start: weights to begin with.

    Raises:
        BrokenDataError: a run on other radiographs, with others held out, or of another seed, has begun in
            ``out``.
    """
    learned, held = parted(cases)
    return train_outlines(
        lambda: Segmenter(1, 2),
        (values for case in (*cases, *phantoms) for values in (case.picture, case.masks)),
        (case.patient for case in held),
        LungSource([learned, phantoms], seed),
        out,
        schedule,
        title="lungs",
        seed=seed,
        resume=resume,
        device=device,
        start=start,
        held_out=_fed(held) if held else None,
    )


def _fed(cases: Sequence[LungCase]) -> Batch:
    """Pictures and masks as they are."""
    pictures, masks = np.stack([case.picture for case in cases]), np.stack([case.masks for case in cases])
    return torch.from_numpy(pictures[:, None]), torch.from_numpy(masks.astype(np.float32))


def drawn_lungs(network: nn.Module, pictures: Floats) -> Floats:
    """Probabilities of the right and the left lung, (pictures, 2, size, size), of pictures (pictures, size,
    size)."""
    with torch.no_grad():
        logits = network(torch.from_numpy(pictures)[:, None])
    return np.asarray(torch.sigmoid(logits).numpy(), np.float32)


def lungs_on(picture: Case, network: nn.Module) -> Mask:
    """(2, rows, columns): the lungs as the reader draws them on a picture's own pixels."""
    pixels = picture.load().pixels
    rows, columns = pixels.shape
    drawn = drawn_lungs(network, sampled(pixels, square(pixels), LUNGS_SIZE)[None])[0]
    return np.stack([on_picture(of_one_part(side), (rows, columns)) for side in drawn])


def dices(true: Mask, drawn: Mask) -> tuple[float, float, float]:
    """Dice of both lungs together, of the right one and of the left one, on the pixels of ``drawn``.

    true: (2, rows, columns), also of a copy of another size. drawn: (2, rows, columns).
    """
    right, left = (enlarged(mask, drawn.shape[1:]) for mask in true)
    return dice(right | left, drawn.any(0)), dice(right, drawn[0]), dice(left, drawn[1])


def enlarged(mask: Mask, shape: tuple[int, ...]) -> Mask:
    """A mask (rows, columns) that was drawn on a copy of another size, on a picture's own pixels."""
    rows, columns = (np.minimum(np.arange(n) * m // n, m - 1) for n, m in zip(shape, mask.shape, strict=True))
    return mask[np.ix_(rows, columns)]
