"""What the network for findings learns from: radiographs within the box of their lungs, as they might
have been taken and processed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from inference.readers.radiograph import Floats, standardised
from training.chest_xray.changes import blurred, places, smooth
from training.loop import Batch

BATCH = 24
_REACH = 2.5


@dataclass(frozen=True, eq=False)
class Labelled:
    """pictures: (radiographs, size, size) as ``packed`` makes them, in memory or on disk. labels:
    (radiographs, classes), 1 or 0, NaN where it is open."""

    pictures: npt.NDArray[np.uint8]
    labels: Floats

    def in_turn(self, count: int = 64) -> Iterator[Floats]:
        """All pictures, standardised, ``count`` at a time."""
        for at in range(0, len(self.pictures), count):
            yield unpacked(self.pictures[at : at + count])


def packed(pictures: Floats) -> npt.NDArray[np.uint8]:
    """Standardised pictures in 255 steps."""
    return np.asarray(np.rint((pictures + _REACH) * (255 / (2 * _REACH))), np.uint8)


def unpacked(pictures: npt.NDArray[np.uint8]) -> Floats:
    return np.asarray(pictures, np.float32) * np.float32(2 * _REACH / 255) - np.float32(_REACH)


class FindingSource:
    """Batches drawn as often from each part as from any other, however large it is; each radiograph moved,
    mirrored, exposed and processed by chance."""

    def __init__(self, parts: Sequence[Labelled], seed: int) -> None:
        self.parts, self.seed = [part for part in parts if len(part.pictures)], seed

    def __call__(self, step: int) -> Batch:
        rng = np.random.default_rng((self.seed, step))
        drawn = [self.parts[k % len(self.parts)] for k in range(BATCH)]
        chosen = [int(rng.integers(len(part.pictures))) for part in drawn]
        labels = np.stack([part.labels[k] for part, k in zip(drawn, chosen, strict=True)])
        pictures = [unpacked(part.pictures[k]) for part, k in zip(drawn, chosen, strict=True)]
        turned = [p[:, ::-1] if rng.random() < 0.5 else p for p in pictures]
        stack = torch.from_numpy(np.stack(turned)[:, None])
        size = stack.shape[-1]
        places_of = [places(size, rng, turn=5, stretch=0.1, shift=0.04, bend=0.025) for _ in drawn]
        moved = functional.grid_sample(
            stack, torch.from_numpy(np.stack(places_of)), padding_mode="border", align_corners=True
        )
        seen = np.stack([_processed(picture, rng) for picture in moved[:, 0].numpy()])[:, None]
        return (
            torch.from_numpy(seen).contiguous(memory_format=torch.channels_last),
            torch.from_numpy(labels),
        )


def _processed(picture: Floats, rng: np.random.Generator) -> Floats:
    """Exposed otherwise, with as much local contrast, sharpness and noise as some other device gives."""
    size = len(picture)
    low, high = float(picture.min()), float(picture.max()) + 1e-3
    values = ((picture - low) / (high - low)) ** np.exp(rng.normal(0, 0.3))
    if rng.random() < 0.6:
        values = values - rng.uniform(0, 0.6) * blurred(values, int(rng.integers(4, 14)))
    if rng.random() < 0.4:
        values = blurred(values, int(rng.integers(size // 2, size)))
    if rng.random() < 0.3:
        values = values + rng.uniform(0, 1.2) * (
            values - blurred(values, int(rng.integers(size // 4, size // 2)))
        )
    spread = float(values.std())
    values = values + rng.uniform(0, 0.3) * spread * smooth(size, 4, rng)
    values = values + rng.uniform(0, 0.06) * spread * rng.standard_normal(values.shape, np.float32)
    return standardised(np.asarray(values, np.float32))
