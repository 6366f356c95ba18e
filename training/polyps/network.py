"""Trains and measures the network that draws polyps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.progress import track
from torch import Tensor, nn

from inference.readers.endoscopic import SIZE, scaled
from training.datasets.case import Case
from training.loop import Schedule
from training.metrics.overlap import per_image
from training.phantoms.endoscopy import Frame, endoscopy_frame
from training.polyps.batches import FrameSource
from training.polyps.growing import load_grown
from training.segmenter import ARCHITECTURES, WIDTHS, train_segmenter
from training.shipped import Weights, recount

_AT_ONCE = 32
_MANY = 100
_DARKEST = 0.04
_WIDTHS = {"unet": (16, 32, 96, 160), "deeplab": WIDTHS}
SCHEDULE = Schedule(steps=5000, learning_rate=3e-3, warm_up=100, average=0.99, falling=0.6)


class PolypNetwork(nn.Module):
    """(batch, 3, rows, columns), -1 to 1, to (batch, 1, rows, columns) logits; the sides are multiples of 16.

    The network sees a picture as it is and its logarithm beside: what is lit by half the light is as much
    redder or paler there than what is around it as in full light.
    """

    def __init__(self, architecture: str = "unet", activation: str = "relu") -> None:
        super().__init__()
        self.trunk = ARCHITECTURES[architecture](6, 1, _WIDTHS[architecture], activation)

    def forward(self, pictures: Tensor) -> Tensor:
        light = torch.clamp((pictures + 1) / 2, 0, 1) + _DARKEST
        logits: Tensor = self.trunk(torch.cat([pictures, torch.log(light) / 1.6 + 1], 1))
        return logits


def phantom_frames(count: int, seed: int) -> list[Frame]:
    """In the last ninth the wall bulges more than in any phantom that is measured on: mucosa close by does so
    on real pictures."""
    usual = count - count // 9
    return [
        endoscopy_frame(seed * 1_000_003 + k, size=SIZE, swollen=k >= usual)
        for k in track(range(count), "frames", disable=count < _MANY)
    ]


def train_polyps(
    frames: Sequence[Frame],
    out: Path,
    schedule: Schedule = SCHEDULE,
    *,
    real: Sequence[Frame] = (),
    seed: int = 1,
    resume: bool = True,
    device: str = "cpu",
    activation: str = "relu",
    architecture: str = "unet",
    start: Weights | None = None,
) -> nn.Module:
    """real: frames that half of each batch is drawn from. start: weights to begin with, of the same
    architecture, also of a narrower network.

    Raises:
        ValueError: ``start`` holds the weights of another network.
    """
    torch.manual_seed(seed)
    network = PolypNetwork(architecture, activation)
    source = FrameSource((real, frames), seed)
    if start is not None:
        load_grown(network, start)
        recount(network, source)
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
