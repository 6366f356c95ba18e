"""What the network for polyps learns from, batch by batch: frames seen otherwise every time."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle, islice

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from inference.readers.endoscopic import scaled
from training.loop import Batch
from training.phantoms.endoscopy import Frame

BATCH = 8
_FIELD = 5  # points across a frame between which its light changes
_BINOMIAL = np.outer((1, 2, 1), (1, 2, 1)).astype(np.float32) / 16


class FrameSource:
    """Batches of frames that are turned, mirrored, moved, scaled, lit and recorded otherwise by chance. Every
    batch takes alike from each of ``groups``, however many frames they hold."""

    def __init__(self, groups: Sequence[Sequence[Frame]], seed: int) -> None:
        self.groups, self.seed = [group for group in groups if group], seed

    def __call__(self, step: int) -> Batch:
        rng = np.random.default_rng((self.seed, step))
        drawn = [group[int(rng.integers(len(group)))] for group in islice(cycle(self.groups), BATCH)]
        both = np.stack([np.dstack((frame.picture, 255 * frame.mask.astype(np.uint8))) for frame in drawn])
        moved = _moved(torch.from_numpy(both).permute(0, 3, 1, 2).float(), rng)
        pictures = scaled(_recorded(_lit(moved[:, :3], rng), rng).numpy())
        return torch.from_numpy(pictures).contiguous(memory_format=torch.channels_last), moved[:, 3:] / 255


def _moved(frames: Tensor, rng: np.random.Generator) -> Tensor:
    """Quarter turns and mirrors for all of (batch, channels, rows, columns), and for half of them more;
    beyond the frame it is black."""
    rows = []
    for _ in range(len(frames)):
        quarter, mirrored = int(rng.integers(4)), bool(rng.integers(2))
        matrix = np.linalg.matrix_power(np.array(((0.0, -1.0), (1.0, 0.0))), quarter)
        shift = np.zeros(2)
        if mirrored:
            matrix = matrix @ np.diag((-1, 1))
        if rng.random() < 0.5:
            angle, zoom = rng.normal(0, 0.1), rng.uniform(0.65, 1.2) * np.exp(rng.normal(0, 0.08, 2))
            turn = np.array(((np.cos(angle), -np.sin(angle)), (np.sin(angle), np.cos(angle))))
            matrix, shift = matrix @ turn @ np.diag(zoom), rng.normal(0, 0.12, 2)
        rows.append(np.column_stack((matrix, shift)))
    theta = _tensor(np.stack(rows))
    grid = functional.affine_grid(theta, list(frames.shape), align_corners=False)
    return functional.grid_sample(frames, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _lit(pictures: Tensor, rng: np.random.Generator) -> Tensor:
    """Other exposure, colours and contrast, and light that falls otherwise on half of them; 0 to 255."""
    count = len(pictures)
    gain = np.exp(rng.normal(0, 0.08, (count, 3, 1, 1)) + rng.normal(0, 0.15, (count, 1, 1, 1)))
    spread = rng.choice((0.0, 0.3), (count, 1, 1, 1)) * rng.uniform(size=(count, 1, 1, 1))
    field = _tensor(spread * rng.normal(size=(count, 1, _FIELD, _FIELD)))
    light = functional.interpolate(field, pictures.shape[2:], mode="bilinear", align_corners=True).exp()
    bent = _tensor(np.exp(rng.normal(0, 0.15, (count, 1, 1, 1))))
    return 255 * (pictures * (_tensor(gain) / 255) * light).clamp_(0, 1).pow(bent)


def _recorded(pictures: Tensor, rng: np.random.Generator) -> Tensor:
    """A third of them a little out of focus, half of them noisier; 0 to 255."""
    seen = pictures.clone()
    for number in np.flatnonzero(rng.random(len(seen)) < 1 / 3):
        padded = functional.pad(pictures[number, :, None], (1, 1, 1, 1), mode="replicate")
        seen[number] = functional.conv2d(padded, torch.from_numpy(_BINOMIAL)[None, None])[:, 0]
    for number in np.flatnonzero(rng.random(len(seen)) < 1 / 2):
        grain = rng.standard_normal(seen.shape[1:], np.float32)
        seen[number] += torch.from_numpy(grain * np.float32(255 * rng.uniform(0, 0.035)))
    return seen.clamp_(0, 255)


def _tensor(values: npt.NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))
