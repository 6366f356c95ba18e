"""What the network for polyps learns from, batch by batch: each time as another endoscope would see it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import cycle, islice

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from inference.readers.endoscopic import scaled
from training.loop import Batch
from training.phantoms.endoscope import grid
from training.phantoms.endoscopy import Frame

BATCH = 8
_LIGHTS = 5  # points across a frame between which its light changes


class FrameSource:
    """Batches of frames that are turned, mirrored, moved, scaled, framed, lit and recorded otherwise by
    chance. Every batch takes alike from each of ``groups``, however many frames they hold.

    often: of each group, how often each of its frames is drawn beside its others; all alike where empty.
    """

    def __init__(
        self,
        groups: Sequence[Sequence[Frame]],
        seed: int,
        often: Sequence[npt.NDArray[np.float64]] = (),
    ) -> None:
        weights = often or [np.ones(len(group)) for group in groups]
        drawn = [(group, own / own.sum()) for group, own in zip(groups, weights, strict=True) if group]
        self.drawn, self.seed = drawn, seed

    def __call__(self, step: int) -> Batch:
        rng = np.random.default_rng((self.seed, step))
        turns = islice(cycle(self.drawn), BATCH)
        drawn = [group[int(rng.choice(len(group), p=chances))] for group, chances in turns]
        both = np.stack([np.dstack((frame.picture, 255 * frame.mask.astype(np.uint8))) for frame in drawn])
        seen = _framed(_moved(torch.from_numpy(both).permute(0, 3, 1, 2).float(), rng), rng)
        pictures = scaled(_recorded(_lit(seen[:, :3], rng), rng).numpy())
        return torch.from_numpy(pictures).contiguous(memory_format=torch.channels_last), seen[:, 3:] / 255


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
            angle, zoom = rng.normal(0, 0.1), rng.uniform(0.65, 1.3) * np.exp(rng.normal(0, 0.08, 2))
            turn = np.array(((np.cos(angle), -np.sin(angle)), (np.sin(angle), np.cos(angle))))
            matrix, shift = matrix @ turn @ np.diag(zoom), rng.normal(0, 0.12, 2)
        rows.append(np.column_stack((matrix, shift)))
    theta = _tensor(np.stack(rows))
    places = functional.affine_grid(theta, list(frames.shape), align_corners=False)
    return functional.grid_sample(frames, places, mode="bilinear", padding_mode="zeros", align_corners=False)


def _framed(frames: Tensor, rng: np.random.Generator) -> Tensor:
    """A sixth of (batch, channels, rows, columns) in a smaller field, round or with corners, not always in
    the middle: what lies beyond is black, of polyps as of all else."""
    y, x = grid(frames.shape[-1])
    framed = frames.clone()
    for number in np.flatnonzero(rng.random(len(frames)) < 1 / 6):
        middle, reach = rng.normal(0, 0.15, 2), rng.uniform(0.6, 1.1, 2)
        dy, dx = np.abs(y - middle[0]) / reach[0], np.abs(x - middle[1]) / reach[1]
        is_open = np.hypot(dy, dx) < 1 if rng.random() < 1 / 3 else np.maximum(dy, dx) < 1
        is_open &= dy + dx < rng.uniform(1.2, 2)
        framed[number] *= torch.from_numpy(is_open)
    return framed


def _lit(pictures: Tensor, rng: np.random.Generator) -> Tensor:
    """Other exposure, colours and contrast, light that falls otherwise on half of them, and on a quarter
    less towards the border; 0 to 255."""
    count = len(pictures)
    gain = np.exp(rng.normal(0, 0.1, (count, 3, 1, 1)) + rng.normal(0, 0.17, (count, 1, 1, 1)))
    spread = rng.choice((0.0, 0.3), (count, 1, 1, 1)) * rng.uniform(size=(count, 1, 1, 1))
    field = _tensor(spread * rng.normal(size=(count, 1, _LIGHTS, _LIGHTS)))
    light = functional.interpolate(field, pictures.shape[2:], mode="bilinear", align_corners=True).exp()
    y, x = grid(pictures.shape[-1])
    fading = (rng.random((count, 1, 1, 1)) < 1 / 4) * rng.uniform(0, 0.7, (count, 1, 1, 1))
    light = light * _tensor(np.exp(-fading * (y**2 + x**2)))
    bent = _tensor(np.exp(rng.normal(0, 0.15, (count, 1, 1, 1))))
    return 255 * (pictures * (_tensor(gain) / 255) * light).clamp_(0, 1).pow(bent)


def _recorded(pictures: Tensor, rng: np.random.Generator) -> Tensor:
    """A third of them out of focus, half of them noisier, a quarter compressed as JPEG; 0 to 255."""
    seen = pictures.numpy().copy()
    count = len(seen)
    for number in np.flatnonzero(rng.random(count) < 1 / 3):
        deviation = rng.uniform(0.4, 1.1)
        seen[number] = ndimage.gaussian_filter(seen[number], (0, deviation, deviation), truncate=2)
    for number in np.flatnonzero(rng.random(count) < 1 / 2):
        grain = rng.standard_normal(seen.shape[1:], np.float32)
        seen[number] += grain * np.float32(255 * rng.uniform(0, 0.04))
    seen.clip(0, 255, out=seen)
    for number in np.flatnonzero(rng.random(count) < 1 / 4):
        file = io.BytesIO()
        picture = Image.fromarray(seen[number].transpose(1, 2, 0).astype(np.uint8))
        picture.save(file, "JPEG", quality=int(rng.integers(35, 95)))
        seen[number] = np.asarray(Image.open(file), np.float32).transpose(2, 0, 1)
    return torch.from_numpy(seen)


def _tensor(values: npt.NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))
