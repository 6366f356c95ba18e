"""What the network that draws the lungs learns from: radiographs as they might have been taken, and pictures
that show no upright chest, on which it is to draw nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import gaussian_filter
from torch.nn import functional

from inference.readers.radiograph import Floats, standardised
from training.chest_xray.changes import places, smooth
from training.datasets.case import Mask
from training.loop import Batch

BATCH = 8
NO_CHEST = 0.06  # of the pictures
VEILED = 0.15  # of the others


@dataclass(frozen=True, eq=False)
class LungCase:
    """A radiograph, standardised, with the masks of the patient's right and left lung, (2, size, size)."""

    patient: str
    picture: Floats
    masks: Mask


class LungSource:
    """Batches drawn as often from each part as from any other, however large it is; each case moved, bent,
    mirrored, veiled, re-exposed and made opaque in places by chance. Of some nothing is left that is an
    upright chest, and they have no lungs to draw."""

    def __init__(self, parts: Sequence[Sequence[LungCase]], seed: int) -> None:
        self.parts, self.seed = [part for part in parts if part], seed

    def __call__(self, step: int) -> Batch:
        rng = np.random.default_rng((self.seed, step))
        parts = islice(cycle(self.parts), BATCH)
        drawn = [part[int(rng.integers(len(part)))] for part in parts]
        pairs = [_no_chest(case, rng) if rng.random() < NO_CHEST else _chest(case, rng) for case in drawn]
        pictures = torch.from_numpy(np.stack([picture for picture, _ in pairs])[:, None])
        masks = torch.from_numpy(np.stack([mask for _, mask in pairs]).astype(np.float32))
        size = pictures.shape[-1]
        taken = torch.from_numpy(np.stack([places(size, rng) for _ in drawn]))
        moved = functional.grid_sample(pictures, taken, padding_mode="border", align_corners=True)
        masks = functional.grid_sample(masks, taken, align_corners=True)
        seen = np.stack([_exposed(picture, rng) for picture in moved[:, 0].numpy()])[:, None]
        return torch.from_numpy(seen).contiguous(memory_format=torch.channels_last), masks


def _chest(case: LungCase, rng: np.random.Generator) -> tuple[Floats, Mask]:
    """As it is or veiled, and mirrored by chance: the right lung is the left one then."""
    picture, masks = case.picture, case.masks
    if rng.random() < VEILED:
        picture = _veiled(picture, masks[rng.integers(2)], rng)
    if rng.random() < 0.5:
        return picture, masks
    return np.ascontiguousarray(picture[:, ::-1]), np.ascontiguousarray(masks[::-1, :, ::-1])


def _veiled(picture: Floats, lung: Mask, rng: np.random.Generator) -> Floats:
    """With one lung as white as what lies beside it, or, as by an effusion, what of it is below a level."""
    rows = np.flatnonzero(lung.any(1))
    if not len(rows):
        return picture
    level = rows[0] + rng.uniform(-0.3, 0.6) * np.ptp(rows)
    softness = rng.uniform(0.02, 0.1) * len(picture)
    below = 1 / (1 + np.exp((level - np.arange(len(picture))) / softness))
    veil = (
        gaussian_filter(lung.astype(np.float64), 0.02 * len(picture)) * below[:, None] * rng.uniform(0.5, 1)
    )
    white = np.percentile(picture, rng.uniform(75, 98))
    return np.asarray(picture + veil * np.maximum(white - picture, 0), np.float32)


def _no_chest(case: LungCase, rng: np.random.Generator) -> tuple[Floats, Mask]:
    """The same upside down, on its side or with black for white, or no more than noise, coarse or fine; and
    no lungs."""
    picture = case.picture if rng.random() < 0.5 else case.picture[:, ::-1]
    size = len(picture)
    changed = (
        lambda: picture[::-1],
        lambda: np.rot90(picture, rng.choice((-1, 1))),
        lambda: -picture,
        lambda: smooth(size, int(np.exp(rng.uniform(np.log(4), np.log(size)))), rng),
    )[rng.integers(4)]()
    return np.ascontiguousarray(changed, np.float32), np.zeros_like(case.masks)


def _exposed(picture: Floats, rng: np.random.Generator) -> Floats:
    low, high = float(picture.min()), float(picture.max()) + 1e-3
    bent = ((picture - low) / (high - low)) ** np.exp(rng.normal(0, 0.3))
    bent = bent + rng.uniform(0, 0.12) * smooth(len(picture), 4, rng)
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
