"""What the network that draws the heart learns from: close-ups of phantoms, each as many machines, exposures
and illnesses might show it, so that what is left to learn is what real hearts and drawn ones share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import gaussian_filter
from torch.nn import functional

from inference.readers.radiograph import HEART_SIZE, Corners, Floats, standardised
from training.chest_xray.changes import blurred, places, smooth
from training.datasets.case import Mask
from training.loop import Batch

BATCH = 8
_OFF = 0.035  # of the box around the lungs, a standard deviation of where either side is drawn
_KNOTS = 6
_HIDDEN = 0.3  # of the pictures


@dataclass(frozen=True, eq=False)
class HeartCase:
    """A square radiograph, 0 to 1, (rows, columns), with the masks of its heart and of either lung, (2, rows,
    columns), and the corners of the box around the lungs."""

    patient: str
    picture: Floats
    heart: Mask
    lungs: Mask
    close: Corners


class HeartSource:
    """Batches of close-ups, each moved, bent, veiled, re-exposed, blurred and covered in places by chance.
    The heart goes on beneath what hides it."""

    def __init__(self, cases: Sequence[HeartCase], seed: int) -> None:
        self.cases, self.seed = cases, seed

    def __call__(self, step: int) -> Batch:
        rng = np.random.default_rng((self.seed, 31, step))
        return close_ups([self.cases[int(k)] for k in rng.choice(len(self.cases), BATCH)], rng)


def close_ups(cases: Sequence[HeartCase], rng: np.random.Generator) -> Batch:
    """Each of ``cases`` once, as the network sees it, and its heart, 0 to 1; both (cases, 1, size, size)."""
    pairs = [_close_up(case, rng) for case in cases]
    pictures = np.stack([picture for picture, _ in pairs])[:, None]
    hearts = torch.from_numpy(np.stack([heart for _, heart in pairs])[:, None])
    return torch.from_numpy(pictures).contiguous(memory_format=torch.channels_last), hearts


def _close_up(case: HeartCase, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """The picture as the network sees it, and the heart on it, 0 to 1; both (size, size)."""
    picture = case.picture
    if rng.random() < _HIDDEN:
        picture = _veiled(picture, case.lungs[rng.integers(2)], rng)
    maps = torch.from_numpy(np.stack([picture, case.heart.astype(np.float32)]))[None]
    taken = torch.from_numpy(_taken(case, rng))[None]
    seen, heart = functional.grid_sample(maps, taken, align_corners=False)[0].numpy()
    return _exposed(seen, rng), heart


def _taken(case: HeartCase, rng: np.random.Generator) -> Floats:
    """Where each pixel is taken from, (size, size, 2), -1 to 1 across the whole picture."""
    side = len(case.picture)
    left, top, right, bottom = case.close
    wide, high = right - left, bottom - top
    left, right = left + rng.normal(0, _OFF) * wide, right + rng.normal(0, _OFF) * wide
    top, bottom = top + rng.normal(0, _OFF) * high, bottom + rng.normal(0, 1.5 * _OFF) * high
    within = places(HEART_SIZE, rng, turn=3, stretch=0.12, shift=0.02, bend=0.05)
    middle = np.array([left + right, top + bottom]) / side - 1
    half = np.array([right - left, bottom - top]) / side
    return np.asarray(middle + within * half, np.float32)


def _veiled(picture: Floats, lung: Mask, rng: np.random.Generator) -> Floats:
    """With one lung whiter, or, as by an effusion, what of it lies below a level."""
    rows = np.flatnonzero(lung.any(1))
    if not len(rows):
        return picture
    level = rows[0] + rng.uniform(-0.3, 0.9) * np.ptp(rows)
    softness = rng.uniform(0.02, 0.1) * len(picture)
    below = 1 / (1 + np.exp(np.clip((level - np.arange(len(picture))) / softness, -50, 50)))
    veil = gaussian_filter(lung.astype(np.float32), 0.02 * len(picture)) * below[:, None]
    white = np.percentile(picture, rng.uniform(75, 98))
    return np.asarray(picture + rng.uniform(0.2, 0.95) * veil * np.maximum(white - picture, 0), np.float32)


def _exposed(picture: Floats, rng: np.random.Generator) -> Floats:
    """Of another grey scale, contrast, sharpness, noise and texture, with shadows, and covered in places."""
    size = len(picture)
    grey: npt.NDArray[np.floating] = _another_scale(picture, rng)
    if rng.random() < 0.5:
        wide = np.exp(rng.uniform(np.log(2), np.log(20)))
        grey = grey + rng.uniform(-0.4, 1.2) * (grey - gaussian_filter(grey, wide))
    if rng.random() < 0.4:
        grey = blurred(grey, int(rng.uniform(0.35, 0.9) * size))
    grey = grey + rng.uniform(0, 0.16) * smooth(size, 4, rng)
    for points, most in ((9, 0.06), (24, 0.05), (56, 0.05)):
        grey = grey + rng.uniform(0, most) * smooth(size, points, rng)
    if rng.random() < 0.6:
        for _ in range(rng.integers(1, 4)):
            grey = grey + _shadow(size, rng)
    grey = grey + rng.normal(0, rng.uniform(0, 0.05), grey.shape)
    for _ in range(rng.integers(0, 3)):
        grey = _covered(grey, rng)
    return standardised(np.asarray(grey, np.float32))


def _another_scale(picture: Floats, rng: np.random.Generator) -> Floats:
    """The same order of greys on a scale of any shape."""
    low, high = np.percentile(picture, (1, 99))
    grey = np.clip((picture - low) / (high - low + 1e-3), 0, 1) ** np.exp(rng.normal(0, 0.35))
    rise = np.cumsum(rng.gamma(1.5, 1.0, _KNOTS) + 0.15)
    curve = np.concatenate([[0.0], rise / rise[-1]])
    bent = np.interp(grey, np.linspace(0, 1, _KNOTS + 1), curve)
    share = rng.uniform(0, 1)
    return np.asarray(share * bent + (1 - share) * grey, np.float32)


def _shadow(size: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """White as an opacity or dark as gas, (size, size)."""
    axis = np.linspace(-1, 1, size)
    across = (axis - rng.uniform(-1, 1)) / rng.uniform(0.06, 0.4)
    down = (axis - rng.uniform(-1, 1)) / rng.uniform(0.06, 0.4)
    lean = rng.uniform(-0.8, 0.8)
    away = across[None] ** 2 + down[:, None] ** 2 + lean * across[None] * down[:, None]
    shadow: npt.NDArray[np.float64] = np.exp(-away)
    return rng.uniform(-0.3, 0.4) * shadow


def _covered(grey: npt.NDArray[np.floating], rng: np.random.Generator) -> npt.NDArray[np.floating]:
    """With a patch of one grey, or of noise, in it."""
    size = len(grey)
    rows, columns = (rng.uniform(0.05, 0.28, 2) * size).astype(int)
    top, left = rng.integers(0, size - rows), rng.integers(0, size - columns)
    out = grey.copy()
    noise = rng.normal(0, 0.25, (rows, columns)) if rng.random() < 0.5 else 0.0
    out[top : top + rows, left : left + columns] = rng.uniform(0, 1) + noise
    return out
