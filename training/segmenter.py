"""A small U-Net for pictures, and the loss it learns by."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.loop import Batch

WIDTHS = (16, 32, 64, 96)


def _block(taken: int, given: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(taken, given, 3, stride, 1, bias=False),
        nn.BatchNorm2d(given),
        nn.ReLU(inplace=True),
        nn.Conv2d(given, given, 3, 1, 1, bias=False),
        nn.BatchNorm2d(given),
        nn.ReLU(inplace=True),
    )


class Segmenter(nn.Module):
    """(batch, ``channels``, rows, columns) to (batch, ``classes``, rows, columns) logits; rows and columns
    are multiples of 16. The stem halves the picture at once: full resolution costs most and shows least."""

    def __init__(self, channels: int, classes: int, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        self.down = nn.ModuleList(
            _block(taken, given, 2) for taken, given in zip((channels, *widths[:-1]), widths, strict=True)
        )
        deep = widths[::-1]
        self.up = nn.ModuleList(nn.ConvTranspose2d(taken, given, 2, 2) for taken, given in pairwise(deep))
        self.join = nn.ModuleList(_block(2 * given, given) for given in deep[1:])
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


class SegmenterForService(nn.Module):
    """Probabilities instead of logits."""

    def __init__(self, network: Segmenter) -> None:
        super().__init__()
        self.network = network

    def forward(self, picture: Tensor) -> tuple[Tensor]:
        return (torch.sigmoid(self.network(picture)),)


def mask_loss(network: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """Soft Dice of each channel of each picture, and cross-entropy; ``batch``: pictures, masks in 0..1."""
    pictures, masks = batch
    logits = network(pictures).float()
    p = torch.sigmoid(logits)
    shared, whole = (p * masks).sum((2, 3)), (p + masks).sum((2, 3))
    dice = 1 - ((2 * shared + 20) / (whole + 20)).mean()
    return {"dice": dice, "cross": functional.binary_cross_entropy_with_logits(logits, masks)}
