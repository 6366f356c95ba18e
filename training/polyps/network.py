"""Trains and measures the network that draws polyps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from scipy import ndimage
from torch import nn

from inference.readers.endoscopic import SIZE, scaled
from training.datasets.case import Case
from training.loop import Batch, Schedule
from training.metrics.overlap import per_image
from training.phantoms.endoscopy import Frame, endoscopy_frame
from training.segmenter import ARCHITECTURES, train_segmenter

BATCH = 8
_AT_ONCE = 32
SCHEDULE = Schedule(steps=4000, learning_rate=3e-3, warm_up=60, average=0.98)


def phantom_frames(count: int, seed: int) -> list[Frame]:
    return [endoscopy_frame(seed * 1_000_003 + k, size=SIZE) for k in range(count)]


class FrameSource:
    """Batches of frames, each turned, mirrored, moved, scaled and re-coloured by chance."""

    def __init__(self, frames: Sequence[Frame], seed: int) -> None:
        self.frames, self.seed = frames, seed

    def __call__(self, step: int) -> Batch:
        rng = np.random.default_rng((self.seed, step))
        drawn = [_changed(self.frames[int(k)], rng) for k in rng.choice(len(self.frames), BATCH)]
        pictures = torch.from_numpy(np.stack([d[0] for d in drawn]).transpose(0, 3, 1, 2).copy())
        masks = torch.from_numpy(np.stack([d[1] for d in drawn])[:, None])
        return pictures.contiguous(memory_format=torch.channels_last), masks


def _changed(
    frame: Frame, rng: np.random.Generator
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    turns, mirrored = int(rng.integers(4)), bool(rng.integers(2))
    picture, mask = np.rot90(frame.picture, turns), np.rot90(frame.mask, turns)
    if mirrored:
        picture, mask = picture[:, ::-1], mask[:, ::-1]
    zoom = rng.uniform(0.6, 1.15, 2)
    middle = (np.array(mask.shape) - 1) / 2
    offset = middle - zoom * middle + rng.normal(0, 8, 2)
    moved = np.stack(
        [
            ndimage.affine_transform(
                picture[..., k].astype(np.float32), zoom, offset, order=1, mode="nearest"
            )
            for k in range(3)
        ],
        -1,
    )
    inside = ndimage.affine_transform(mask.astype(np.float32), zoom, offset, order=1)
    gain = rng.uniform(0.8, 1.2, 3) * rng.uniform(0.8, 1.2)
    recoloured = 255 * np.clip(moved * gain / 255, 0, 1) ** np.exp(rng.normal(0, 0.15))
    return scaled(recoloured.astype(np.float32)), inside.astype(np.float32)


def train_polyps(
    frames: Sequence[Frame],
    out: Path,
    schedule: Schedule = SCHEDULE,
    *,
    seed: int = 1,
    resume: bool = True,
    device: str = "cpu",
    activation: str = "relu",
    architecture: str = "unet",
    start: Path | None = None,
) -> nn.Module:
    """start: weights to begin with, as ``best.pt`` of an earlier run of the same architecture."""
    torch.manual_seed(seed)
    network = ARCHITECTURES[architecture](3, 1, activation=activation)
    if start is not None:
        network.load_state_dict(torch.load(start, map_location="cpu", weights_only=True))
    source = FrameSource(frames, seed)
    train_segmenter(network, source, out, schedule, resume=resume, device=device, title="polyps")
    return network


def frames_of(cases: Sequence[Case]) -> list[Frame]:
    """Pictures with masks, brought to the network's size."""
    return [_resized(case) for case in cases]


def _resized(case: Case) -> Frame:
    assert case.load_masks is not None
    picture = Image.fromarray(case.load().pixels)
    mask = Image.fromarray(case.load_masks()["polyp"].astype(np.float32))
    size = (SIZE, SIZE)
    return Frame(
        np.asarray(picture.resize(size, Image.Resampling.BILINEAR, reducing_gap=3.0)),
        np.asarray(mask.resize(size, Image.Resampling.BOX)) >= 0.5,
    )


def dice_of(network: nn.Module, frames: Sequence[Frame], threshold: float = 0.5) -> list[float]:
    """Of each frame, at the network's size."""
    network.eval()
    found: list[float] = []
    for at in range(0, len(frames), _AT_ONCE):
        part = frames[at : at + _AT_ONCE]
        pictures = np.stack([scaled(f.picture.astype(np.float32)) for f in part]).transpose(0, 3, 1, 2)
        with torch.no_grad():
            drawn = torch.sigmoid(network(torch.from_numpy(pictures.copy())))[:, 0].numpy() >= threshold
        found += per_image((f.mask, mask) for f, mask in zip(part, drawn, strict=True)).dice
    return found
