"""Trains and measures the network that draws the lungs, on radiographs with lung masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cc3d
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

from inference.readers.radiograph import (
    LUNGS_SIZE,
    Floats,
    of_one_part,
    on_picture,
    sampled,
    square,
    standardised,
)
from training.begun import begin
from training.datasets.case import Case, Mask
from training.kept import digest
from training.loop import Batch, Schedule
from training.metrics.overlap import dice
from training.segmenter import Segmenter, train_segmenter

BATCH = 8
SCHEDULE = Schedule(steps=1000, learning_rate=4e-3, warm_up=30, average=0.99)


@dataclass(frozen=True, eq=False)
class LungCase:
    """A radiograph, standardised, with the masks of the patient's right and left lung, (2, size, size)."""

    patient: str
    picture: Floats
    masks: Mask


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


class LungSource:
    """Batches of cases, each moved, bent, mirrored, re-exposed and made opaque in places by chance."""

    def __init__(self, cases: Sequence[LungCase], seed: int) -> None:
        self.cases, self.seed = cases, seed

    def __call__(self, step: int) -> Batch:
        rng = np.random.default_rng((self.seed, step))
        drawn = [self.cases[int(k)] for k in rng.choice(len(self.cases), BATCH)]
        pairs = [_mirrored(case) if rng.random() < 0.5 else (case.picture, case.masks) for case in drawn]
        pictures = torch.from_numpy(np.stack([picture for picture, _ in pairs])[:, None])
        masks = torch.from_numpy(np.stack([mask for _, mask in pairs]).astype(np.float32))
        size = pictures.shape[-1]
        places = torch.from_numpy(np.stack([_places(size, rng) for _ in drawn]))
        moved = functional.grid_sample(pictures, places, padding_mode="border", align_corners=True)
        masks = functional.grid_sample(masks, places, align_corners=True)
        seen = np.stack([_exposed(picture, rng) for picture in moved[:, 0].numpy()])[:, None]
        return torch.from_numpy(seen).contiguous(memory_format=torch.channels_last), masks


def _mirrored(case: LungCase) -> tuple[Floats, Mask]:
    """The right lung is the left one then."""
    return np.ascontiguousarray(case.picture[:, ::-1]), np.ascontiguousarray(case.masks[::-1, :, ::-1])


def _places(size: int, rng: np.random.Generator) -> Floats:
    """Where each pixel is taken from, (size, size, 2): columns and rows, -1 to 1."""
    angle = np.deg2rad(rng.normal(0, 6))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    axis = np.linspace(-1, 1, size)
    grid = np.stack(np.meshgrid(axis, axis, indexing="xy"), -1)
    moved = grid @ (turn * rng.uniform(0.8, 1.2, 2)).T + rng.normal(0, 0.08, 2)
    bent = np.stack([_smooth(size, 6, rng), _smooth(size, 6, rng)], -1) * rng.uniform(0, 0.05)
    return np.asarray(moved + bent, np.float32)


def _exposed(picture: Floats, rng: np.random.Generator) -> Floats:
    low, high = float(picture.min()), float(picture.max()) + 1e-3
    bent = ((picture - low) / (high - low)) ** np.exp(rng.normal(0, 0.3))
    bent = bent + rng.uniform(0, 0.12) * _smooth(len(picture), 4, rng)
    if rng.random() < 0.5:
        for _ in range(rng.integers(1, 4)):
            bent = bent + _opacity(len(picture), rng)
    noisy = bent + rng.normal(0, rng.uniform(0, 0.03), bent.shape)
    return standardised(noisy.astype(np.float32))


def _opacity(size: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """One that is white, as a consolidation, or dark, (size, size): lungs go on beneath it."""
    axis = np.linspace(-1, 1, size)
    across = (axis - rng.uniform(-1, 1)) / rng.uniform(0.08, 0.35)
    down = (axis - rng.uniform(-1, 1)) / rng.uniform(0.08, 0.35)
    opacity: npt.NDArray[np.float64] = np.exp(-(across[None] ** 2 + down[:, None] ** 2))
    return rng.uniform(-0.3, 0.45) * opacity


def _smooth(size: int, points: int, rng: np.random.Generator) -> Floats:
    """Noise of standard deviation 1 at ``points`` x ``points`` places, and between them, (size, size)."""
    coarse = Image.fromarray(rng.normal(size=(points, points)).astype(np.float32))
    return np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC))


def train_lungs(
    cases: Sequence[LungCase],
    out: Path,
    schedule: Schedule = SCHEDULE,
    *,
    seed: int = 1,
    resume: bool = True,
    device: str = "cpu",
) -> Segmenter:
    """
    Raises:
        BrokenDataError: a run on other radiographs, or of another seed, has begun in ``out``.
    """
    shown = digest(*(values.tobytes() for case in cases for values in (case.picture, case.masks)))
    begin(out, {"data": shown, "seed": seed}, resume=resume)
    torch.manual_seed(seed)
    network = Segmenter(1, 2)
    source = LungSource(cases, seed)
    train_segmenter(network, source, out, schedule, resume=resume, device=device, title="lungs")
    return network


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
