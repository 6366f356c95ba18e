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
from scipy import ndimage
from torch import nn

from inference.readers.radiograph import LUNGS_SIZE, Floats, sampled, square, standardised
from training.datasets.case import Case
from training.loop import Batch, Schedule
from training.segmenter import Segmenter, train_segmenter

BATCH = 8
SCHEDULE = Schedule(steps=450, learning_rate=4e-3, warm_up=30, average=0.98)


@dataclass(frozen=True, eq=False)
class LungCase:
    """A radiograph, standardised, with the masks of the patient's right and left lung, (2, size, size)."""

    patient: str
    picture: Floats
    masks: npt.NDArray[np.bool_]


def lung_cases(cases: Sequence[Case], size: int = LUNGS_SIZE) -> list[LungCase]:
    """Cases with masks of the ``lungs`` together, or of the ``right lung`` and the ``left lung``."""
    return [_fitted(case, size) for case in cases]


def _fitted(case: Case, size: int) -> LungCase:
    assert case.load_masks is not None
    pixels, masks = case.load().pixels, case.load_masks()
    if "lungs" in masks:
        both = sides(sampled_mask(masks["lungs"], square(masks["lungs"]), size))
    else:
        drawn = (masks["right lung"], masks["left lung"])
        both = np.stack([sampled_mask(mask, square(mask), size) for mask in drawn])
    return LungCase(case.patient, sampled(pixels, square(pixels), size), both)


def sampled_mask(
    mask: npt.NDArray[np.bool_], corners: tuple[float, float, float, float], size: int
) -> npt.NDArray[np.bool_]:
    """A mask on the same grid as ``sampled`` puts a picture on."""
    room = max(0, *(int(np.ceil(-v)) for v in corners[:2]))
    padded = Image.fromarray(np.pad(mask, room).astype(np.float32))
    box = (corners[0] + room, corners[1] + room, corners[2] + room, corners[3] + room)
    return np.asarray(padded.resize((size, size), Image.Resampling.BOX, box=box)) >= 0.5


def sides(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
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
    """Batches of cases, each moved, turned, scaled and re-exposed by chance."""

    def __init__(self, cases: Sequence[LungCase], seed: int) -> None:
        self.cases, self.seed = cases, seed

    def __call__(self, step: int) -> Batch:
        rng = np.random.default_rng((self.seed, step))
        chosen = rng.choice(len(self.cases), BATCH)
        drawn = [_changed(self.cases[int(k)], rng) for k in chosen]
        pictures = torch.from_numpy(np.stack([d[0] for d in drawn])[:, None])
        masks = torch.from_numpy(np.stack([d[1] for d in drawn]))
        return pictures.contiguous(memory_format=torch.channels_last), masks


def _changed(case: LungCase, rng: np.random.Generator) -> tuple[Floats, Floats]:
    angle = np.deg2rad(rng.normal(0, 5))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = turn * rng.uniform(0.8, 1.15, 2)
    middle = (np.array(case.picture.shape) - 1) / 2
    offset = middle - matrix @ middle + rng.normal(0, 5, 2)
    picture = ndimage.affine_transform(case.picture, matrix, offset, order=1, mode="nearest")
    masks = [ndimage.affine_transform(m.astype(np.float32), matrix, offset, order=1) for m in case.masks]
    low, high = float(picture.min()), float(picture.max()) + 1e-3
    bent = ((picture - low) / (high - low)) ** np.exp(rng.normal(0, 0.25))
    noisy = bent + rng.normal(0, rng.uniform(0, 0.03), bent.shape)
    return standardised(noisy.astype(np.float32)), np.stack(masks)


def train_lungs(
    cases: Sequence[LungCase],
    out: Path,
    schedule: Schedule = SCHEDULE,
    *,
    seed: int = 1,
    resume: bool = True,
    device: str = "cpu",
) -> Segmenter:
    torch.manual_seed(seed)
    network = Segmenter(1, 2)
    source = LungSource(cases, seed)
    train_segmenter(network, source, out, schedule, resume=resume, device=device, title="lungs")
    return network


def drawn_lungs(network: nn.Module, pictures: Floats) -> npt.NDArray[np.bool_]:
    """(pictures, 2, size, size) of pictures (pictures, size, size)."""
    with torch.no_grad():
        logits = network(torch.from_numpy(pictures)[:, None])
    return (logits > 0).numpy()
