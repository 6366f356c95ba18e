"""Small networks that draw on pictures, the loss they learn by, and how they are trained and exported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.detection.networks import ACTIVATIONS
from training.export import export_one, random_input
from training.loop import Batch, History, Losses, Schedule, fit

WIDTHS = (16, 32, 64, 96)
_AT_ONCE = 32


def _block(taken: int, given: int, activation: str, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(taken, given, 3, stride, dilation, dilation, bias=False),
        nn.BatchNorm2d(given),
        ACTIVATIONS[activation](),
        nn.Conv2d(given, given, 3, 1, 1, bias=False),
        nn.BatchNorm2d(given),
        ACTIVATIONS[activation](),
    )


class Segmenter(nn.Module):
    """A U-Net: (batch, ``channels``, rows, columns) to (batch, ``classes``, rows, columns) logits; rows and
    columns are multiples of 16. The stem halves the picture at once: full resolution costs most and shows
    least."""

    def __init__(
        self,
        channels: int,
        classes: int,
        widths: tuple[int, ...] = WIDTHS,
        activation: str = "relu",
    ) -> None:
        super().__init__()
        self.down = nn.ModuleList(
            _block(taken, given, activation, 2)
            for taken, given in zip((channels, *widths[:-1]), widths, strict=True)
        )
        deep = widths[::-1]
        self.up = nn.ModuleList(nn.ConvTranspose2d(taken, given, 2, 2) for taken, given in pairwise(deep))
        self.join = nn.ModuleList(_block(2 * given, given, activation) for given in deep[1:])
        self.out = nn.ConvTranspose2d(widths[0], classes, 2, 2)

    def forward(self, pictures: Tensor) -> Tensor:
        kept = [pictures]
        for down in self.down:
            kept.append(down(kept[-1]))
        x = kept.pop()
        for up, join in zip(self.up, self.join, strict=True):
            x = join(torch.cat([up(x), kept.pop()], 1))
        logits: Tensor = self.out(x)
        return logits


class DeepLabSegmenter(nn.Module):
    """Takes and gives what ``Segmenter`` does; on an eighth of the resolution it looks through dilated
    convolutions side by side, then goes back up through the stem alone (DeepLab v3+, arXiv:1802.02611)."""

    def __init__(
        self,
        channels: int,
        classes: int,
        widths: tuple[int, ...] = WIDTHS,
        activation: str = "relu",
    ) -> None:
        super().__init__()
        low, middle, high, wide = widths
        self.stem = _block(channels, low, activation, 2)
        self.down = nn.Sequential(
            _block(low, middle, activation, 2),
            _block(middle, high, activation, 2),
            _block(high, wide, activation),
        )
        self.beside = nn.ModuleList(_block(wide, middle, activation, 1, rate) for rate in (1, 2, 4, 6))
        self.joined = _block(4 * middle, high, activation)
        self.up = nn.Sequential(
            nn.ConvTranspose2d(high, middle, 2, 2),
            ACTIVATIONS[activation](),
            nn.ConvTranspose2d(middle, low, 2, 2),
        )
        self.merge = _block(2 * low, low, activation)
        self.out = nn.ConvTranspose2d(low, classes, 2, 2)

    def forward(self, pictures: Tensor) -> Tensor:
        fine = self.stem(pictures)
        coarse = self.down(fine)
        seen = self.joined(torch.cat([look(coarse) for look in self.beside], 1))
        logits: Tensor = self.out(self.merge(torch.cat([self.up(seen), fine], 1)))
        return logits


ARCHITECTURES: Mapping[str, type[Segmenter] | type[DeepLabSegmenter]] = {
    "unet": Segmenter,
    "deeplab": DeepLabSegmenter,
}


class SegmenterForService(nn.Module):
    """Probabilities instead of logits."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, picture: Tensor) -> tuple[Tensor]:
        return (torch.sigmoid(self.network(picture)),)


def mask_loss(network: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """Soft Dice of each channel of each picture, and cross-entropy; ``batch``: pictures, masks in 0..1."""
    pictures, masks = batch
    return drawing_loss(network(pictures).float(), masks)


def drawing_loss(logits: Tensor, masks: Tensor) -> dict[str, Tensor]:
    """The same of what a network has drawn; both (batch, channels, rows, columns)."""
    p = torch.sigmoid(logits)
    shared, whole = (p * masks).sum((2, 3)), (p + masks).sum((2, 3))
    dice = 1 - ((2 * shared + 20) / (whole + 20)).mean()
    return {"dice": dice, "cross": functional.binary_cross_entropy_with_logits(logits, masks)}


def mean_dice(network: nn.Module, shown: Batch, device: str = "cpu") -> float:
    """Over pictures and channels, of what is drawn where a logit is above 0; 1 of a channel in which nothing
    is, and nothing is drawn. shown: pictures and masks in 0..1, as for ``mask_loss``."""
    found = []
    with torch.no_grad():
        for pictures, masks in zip(*(part.split(_AT_ONCE) for part in shown), strict=True):
            drawn, true = network(pictures.to(device)).cpu() > 0, masks >= 0.5
            whole = (drawn.sum((2, 3)) + true.sum((2, 3))).float()
            found.append(torch.where(whole > 0, 2 * (drawn & true).sum((2, 3)) / whole, 1.0))
    return float(torch.cat(found).mean())


def train_segmenter(
    network: nn.Module,
    source: Callable[[int], Batch],
    out: Path,
    schedule: Schedule,
    *,
    held_out: Batch | None = None,
    resume: bool = True,
    device: str = "cpu",
    title: str = "training",
    loss: Callable[[nn.Module, Batch], Losses] = mask_loss,
) -> History:
    """Train ``network`` in place.

    held_out: pictures and masks, as ``source`` gives them. The weights that draw them best are kept, and the
    run ends where they are drawn no better; without, it takes the whole schedule and keeps the last.
    """
    if held_out is None:
        schedule = replace(schedule, validate_every=schedule.steps)
    return fit(
        network,
        source,
        loss,
        lambda network: {"score": 0.0 if held_out is None else mean_dice(network, held_out, device)},
        out,
        schedule,
        resume=resume,
        device=device,
        title=title,
        memory_format=torch.channels_last,
    )


def export_picture_network(network: nn.Module, card: Mapping[str, Any], repository: Path) -> None:
    """A network of one input ``picture``, square, its batch free where the card says so."""
    dims = card["inputs"][0]["dims"]
    rough = random_input((2 if dims[0] == -1 else 1, dims[1], 16, 16))
    picture = functional.interpolate(rough, size=(dims[2], dims[3]), mode="bilinear")
    dynamic = {"picture": {0: "batch"}} if dims[0] == -1 else {}
    export_one(network, {"picture": picture}, dynamic, card, repository)
