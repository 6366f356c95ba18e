"""The network of ``ct-lesions``: one pass over a whole volume tells where, how large, what, which voxels."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from training.ct_lesions.looks import KINDS, LOOKS
from training.detection.networks import (
    ACTIVATIONS,
    Convolution,
    DeepLab,
    Kernel,
    Residual,
    UNet,
    Widths,
    seen_through,
)
from training.phantoms.masses import SITES

ARCHITECTURES: dict[str, type[UNet] | type[DeepLab]] = {"unet": UNet, "deeplab": DeepLab}
WIDTHS: Widths = (16, 32, 64, 128)
CLIP_HU = (-1024.0, 1000.0)
DIVIDE_HU = 1000.0
_SOFT_MIDDLE, _SOFT_HALF = 0.05, 0.15
_MEASURES = 7


class LesionNet(nn.Module):
    """In: (batch, 1, slice, row, column), HU / 1000, each a multiple of 16.

    Out: maps (batch, 3 + sites, half of each): logit of a lesion's centre, log of its diameter in mm, logit
    of its malignancy, logits of its site; and logits of lying inside one, (batch, 1, slice, row, column).
    Malignancy and site help to learn what a lesion is.

    Soft tissue fills a tenth of the range of HU, so that window is a channel of its own.
    """

    def __init__(self, activation: str = "relu", architecture: str = "unet", widths: Widths = WIDTHS) -> None:
        super().__init__()
        w = widths[0]
        self.trunk = ARCHITECTURES[architecture](activation, widths, 2)
        self.head = Convolution(w, w, activation)
        self.maps = nn.Sequential(Convolution(w, 2 * w, activation, 1), nn.Conv3d(2 * w, 3 + len(SITES), 1))
        self.inside = nn.ConvTranspose3d(w, 1, 2, 2)
        with torch.no_grad():
            self.maps[1].bias[:2].copy_(torch.tensor([-4.6, 2.8]))
            self.inside.bias.fill_(-3.0)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.head(self.trunk.features(windowed(x)))
        return self.maps(y), self.inside(y)


def windowed(x: Tensor) -> Tensor:
    """HU / 1000, and the window of soft tissue beside them."""
    return torch.cat([x, torch.clamp((x - _SOFT_MIDDLE) / _SOFT_HALF, -1.4, 1.6)], 1)


class Characteriser(nn.Module):
    """Looks closely at one mark: its mask, and what it is.

    In: ``close`` (batch, 1, 16, 40, 40), the mark in the middle; ``spacing_mm`` (batch, 1), that of its rows
    and columns (slices lie twice as far apart); ``around`` (batch, 1, 28, 28, 28), the same place on a grid
    of 6 mm; both HU / 1000.
    Out: mask logits of the shape of ``close``, and (batch, 2 + sites + looks + kinds): logits of being a
    lesion, of malignancy and of the sites; how it looks, and logits of its kind. The reader asks for neither
    of the last two; they help to learn what a lesion is. They are judged by the whole of
    both, by what lies in the mask and in the rim about it, by what can be measured of the mask, and by what
    lies in the middle of ``around``.
    """

    def __init__(self, activation: str = "relu", widths: tuple[int, int, int] = (16, 32, 64)) -> None:
        super().__init__()
        w = widths
        flat: Kernel = (1, 3, 3)
        halving = (1, 2, 2)
        self.stem = nn.Sequential(
            Convolution(2, w[0], activation, flat, halving), Residual(w[0], activation, flat)
        )
        self.down1 = nn.Sequential(Convolution(w[0], w[1], activation, 3, 2), Residual(w[1], activation))
        self.down2 = nn.Sequential(Convolution(w[1], w[2], activation, 3, 2), Residual(w[2], activation))
        self.up2 = nn.ConvTranspose3d(w[2], w[1], 2, 2)
        self.merge2 = Convolution(2 * w[1], w[1], activation)
        self.up1 = nn.ConvTranspose3d(w[1], w[0], 2, 2)
        self.merge1 = Convolution(2 * w[0], w[0], activation, flat)
        self.mask = nn.ConvTranspose3d(w[0], 1, halving, halving)
        self.around = nn.Sequential(
            Convolution(2, 16, activation, 3, 2),
            Convolution(16, 32, activation, 3, 2),
            Residual(32, activation),
            Residual(32, activation),
        )
        seen = 2 * w[2] + 2 * w[1] + 3 * w[0] + 2 + 3 * 32 + _MEASURES
        self.judge = nn.Sequential(
            nn.BatchNorm1d(seen, momentum=0.05),
            nn.Linear(seen, 96),
            ACTIVATIONS[activation](),
            nn.Dropout(0.4),
            nn.Linear(96, 2 + len(SITES) + len(LOOKS) + len(KINDS)),
        )

    def forward(self, close: Tensor, spacing_mm: Tensor, around: Tensor) -> tuple[Tensor, Tensor]:
        seen_close = windowed(close)
        b = self.stem(seen_close)
        c = self.down1(b)
        d = self.down2(c)
        c = self.merge2(torch.cat([self.up2(d), c], 1))
        b = self.merge1(torch.cat([self.up1(c), b], 1))
        mask = self.mask(b)
        drawn = torch.sigmoid(mask)
        inside = nn.functional.avg_pool3d(drawn, (1, 2, 2))
        context = self.around(windowed(around))
        middle = context[:, :, 2:5, 2:5, 2:5]
        seen = [
            *(d.mean((2, 3, 4)), d.amax((2, 3, 4)), c.amax((2, 3, 4)), c.mean((2, 3, 4))),
            *seen_through(inside, b),
            torch.log(inside.mean((2, 3, 4)) + 1e-4) / 3 + torch.log(spacing_mm),
            torch.log(spacing_mm),
            *(context.mean((2, 3, 4)), middle.mean((2, 3, 4)), middle.amax((2, 3, 4))),
            *measured(drawn[:, 0].float(), seen_close[:, 1].float()),
        ]
        return mask, self.judge(torch.cat(seen, 1))


def measured(drawn: Tensor, tissue: Tensor) -> list[Tensor]:
    """Of masks (probabilities) and of what they are drawn on (the window of soft tissue), both (batch,
    slice, row, column), ``_MEASURES`` numbers each, (batch, 1): how bright the lesion is, and brighter than
    its rim; how uneven its core is; how finely grained its core and its rim are; how soft and how rough its
    edge is."""
    axes = (1, 2, 3)
    core = -nn.functional.max_pool2d(-drawn, 3, 1, 1)
    rim = nn.functional.max_pool2d(drawn, 3, 1, 1) - drawn
    fine = tissue - nn.functional.avg_pool2d(tissue, 3, 1, 1)

    def mean(of: Tensor, weight: Tensor) -> Tensor:
        return (of * weight).mean(axes, keepdim=True) / (weight.mean(axes, keepdim=True) + 1e-3)

    bright = mean(tissue, core)
    uneven = torch.sqrt(mean((tissue - bright) ** 2, core) + 1e-4)
    grain, noise = (torch.sqrt(mean(fine**2, weight) + 1e-4) for weight in (core, rim))
    filled = drawn.mean(axes, keepdim=True) + 1e-3
    soft = (drawn * (1 - drawn)).mean(axes, keepdim=True) / filled
    steps = [drawn.diff(dim=axis).abs().mean(axes, keepdim=True) for axis in axes]
    rough = (steps[0] + steps[1] + steps[2]) / filled ** (2 / 3)
    numbers = (bright, bright - mean(tissue, rim), uneven, grain, noise, soft, rough)
    return [number.flatten(1) for number in numbers]


class LesionNetForService(nn.Module):
    """Probabilities and millimetres instead of logits, of what the reader asks for: malignancy and site are
    for the close look to tell."""

    outputs = ("heatmap", "diameter_mm", "inside")

    def __init__(self, network: LesionNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, volume: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        maps, inside = self.network(volume)
        diameter = torch.exp(torch.clamp(maps[:, 1:2], math.log(3.0), math.log(150.0)))
        return torch.sigmoid(maps[:, 0:1]), diameter, torch.sigmoid(inside)


def _folded(norm: nn.BatchNorm1d, linear: nn.Linear) -> nn.Linear:
    """What both do one after the other, the normalisation as it was counted in training."""
    assert norm.running_mean is not None and norm.running_var is not None
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    shift = norm.bias - norm.running_mean * scale
    both = nn.Linear(linear.in_features, linear.out_features)
    with torch.no_grad():
        both.weight.copy_(linear.weight * scale)
        both.bias.copy_(linear.bias + linear.weight @ shift)
    return both


class CharacteriserForService(nn.Module):
    """Probabilities instead of logits, of what the reader asks for."""

    outputs = ("mask", "lesion", "malignancy", "site")

    def __init__(self, network: Characteriser) -> None:
        super().__init__()
        self.network = copy.deepcopy(network)
        norm, first, *rest = self.network.judge
        self.network.judge = nn.Sequential(_folded(norm, first), *rest)

    def forward(
        self, close: Tensor, spacing_mm: Tensor, around: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        mask, judged = self.network(close, spacing_mm, around)
        return (
            torch.sigmoid(mask),
            torch.sigmoid(judged[:, 0:1]),
            torch.sigmoid(judged[:, 1:2]),
            torch.softmax(judged[:, 2 : 2 + len(SITES)], 1),
        )
