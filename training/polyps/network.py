"""Trains and measures the network that draws polyps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from rich.progress import track
from torch import Tensor, nn
from torch.nn import functional

from inference.readers.endoscopic import SIZE, scaled
from training.datasets.case import Case
from training.loop import Batch, Schedule
from training.metrics.overlap import per_image
from training.phantoms.endoscope import USUAL, Camera
from training.phantoms.endoscopy import Frame, endoscopy_frame
from training.polyps.batches import FrameSource
from training.polyps.growing import load_grown
from training.segmenter import ARCHITECTURES, WIDTHS, drawing_loss, train_segmenter
from training.shipped import Weights, recount

_AT_ONCE = 32
_MANY = 100
_DARKEST = 0.04
_MISSED, _FEW_PIXELS = 0.1, 100
_BADLY = 0.85
_VARIED = Camera(half_angle=(0.65, 1.3), balance=0.1, noise=(0.0, 0.02))
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
    """Every second one through a lens from narrower to wider than usual. In the last ninth the wall bulges
    more than in any phantom that is measured on: mucosa close by does so on real pictures."""
    usual = count - count // 9
    return [
        endoscopy_frame(
            seed * 1_000_003 + k, size=SIZE, camera=_VARIED if k % 2 else USUAL, swollen=k >= usual
        )
        for k in track(range(count), "frames", disable=count < _MANY)
    ]


def train_polyps(
    frames: Sequence[Frame],
    out: Path,
    schedule: Schedule = SCHEDULE,
    *,
    real: Sequence[Frame] = (),
    checked: Sequence[Frame] = (),
    seed: int = 1,
    resume: bool = True,
    device: str = "cpu",
    activation: str = "relu",
    architecture: str = "unet",
    start: Weights | None = None,
) -> nn.Module:
    """real: frames that half of each batch is drawn from. checked: others, by which the weights are chosen;
    without, the whole schedule is gone through. start: weights to begin with, of the same
    architecture, also of a narrower network; what they draw badly is then shown more often.

    Raises:
        ValueError: ``start`` holds the weights of another network.
    """
    torch.manual_seed(seed)
    network = PolypNetwork(architecture, activation)
    groups = (real, frames)
    source = FrameSource(groups, seed)
    if start is not None:
        load_grown(network, start)
        source = FrameSource(groups, seed, [_how_often(network, group) for group in groups])
        recount(network, source)
    train_segmenter(
        network,
        source,
        out,
        schedule,
        held_out=fed(checked) if checked else None,
        resume=resume,
        device=device,
        title="polyps",
        loss=polyp_loss,
    )
    return network


def polyp_loss(network: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """As ``mask_loss``, and what of each polyp is missed, whatever its size: where nothing at all is drawn of
    one the Dice is flat, and a small one hardly counts among all pixels. It is focal (Lin et al.,
    arXiv:1708.02002), so that it says little where a border is in doubt."""
    pictures, masks = batch
    logits = network(pictures).float()
    unseen = (1 - torch.sigmoid(logits).detach()) ** 2
    each = functional.binary_cross_entropy_with_logits(logits, masks, reduction="none")
    missed = (unseen * masks * each).sum((2, 3)) / (masks.sum((2, 3)) + _FEW_PIXELS)
    return {**drawing_loss(logits, masks), "missed": _MISSED * missed.mean()}


def _how_often(network: nn.Module, frames: Sequence[Frame]) -> npt.NDArray[np.float64]:
    """How often each frame is to be drawn: twice where ``network`` misses a polyp or draws it badly."""
    return np.where(np.array(dice_of(network, frames)) < _BADLY, 2.0, 1.0)


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


def fed(frames: Sequence[Frame]) -> Batch:
    """Pictures (frames, 3, rows, columns) as the network takes them, masks (frames, 1, rows, columns)."""
    pictures = np.stack([scaled(frame.picture.astype(np.float32)) for frame in frames])
    masks = np.stack([frame.mask for frame in frames]).astype(np.float32)
    return torch.from_numpy(pictures.transpose(0, 3, 1, 2).copy()), torch.from_numpy(masks)[:, None]


def dice_of(network: nn.Module, frames: Sequence[Frame], threshold: float = 0.5) -> list[float]:
    """Of each frame, at the network's size."""
    network.eval()
    found: list[float] = []
    for at in range(0, len(frames), _AT_ONCE):
        part = frames[at : at + _AT_ONCE]
        with torch.no_grad():
            drawn = torch.sigmoid(network(fed(part)[0]))[:, 0].numpy() >= threshold
        found += per_image((f.mask, mask) for f, mask in zip(part, drawn, strict=True)).dice
    return found
