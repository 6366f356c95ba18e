"""The network of ``ct-lesions``: one pass over a whole volume tells where, how large, what, which voxels."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from training.detection.networks import Convolution, DeepLab, UNet, Widths
from training.phantoms.masses import SITES

ARCHITECTURES: dict[str, type[UNet] | type[DeepLab]] = {"unet": UNet, "deeplab": DeepLab}
WIDTHS: Widths = (16, 32, 64, 128)
CLIP_HU = (-1024.0, 1000.0)
DIVIDE_HU = 1000.0
_SOFT_MIDDLE, _SOFT_HALF = 0.05, 0.15


class LesionNet(nn.Module):
    """In: (batch, 1, slice, row, column), HU / 1000, each a multiple of 16.

    Out: maps (batch, 3 + sites, half of each): logit of a lesion's centre, log of its diameter in mm, logit
    of its malignancy, logits of its site; and logits of lying inside one, (batch, 1, slice, row, column).

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
        soft = torch.clamp((x - _SOFT_MIDDLE) / _SOFT_HALF, -1.4, 1.6)
        y = self.head(self.trunk.features(torch.cat([x, soft], 1)))
        return self.maps(y), self.inside(y)


class LesionNetForService(nn.Module):
    """Probabilities and millimetres instead of logits. ``temperature``: of malignancy's logit."""

    def __init__(self, network: LesionNet, temperature: float = 1.0) -> None:
        super().__init__()
        self.network = network
        self.temperature = temperature

    def forward(self, volume: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        maps, inside = self.network(volume)
        diameter = torch.exp(torch.clamp(maps[:, 1:2], math.log(3.0), math.log(150.0)))
        malignancy = torch.sigmoid(maps[:, 2:3] / self.temperature)
        return (
            torch.sigmoid(maps[:, 0:1]),
            diameter,
            malignancy,
            torch.softmax(maps[:, 3:], 1),
            torch.sigmoid(inside),
        )
