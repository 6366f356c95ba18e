"""The network: CT and PET on one grid to where each place of the CT lies in the PET."""

from __future__ import annotations

import torch
from torch import Tensor, nn

WIDTHS = (16, 32, 64, 64)
MILLIMETRES = 10.0
"""The unit of the last layer, so that its outputs begin at about 1."""


def _block(taken: int, given: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(taken, given, 3, stride, 1, bias=False),
        nn.BatchNorm3d(given),
        nn.ReLU(inplace=True),
    )


class Registrar(nn.Module):
    """``ct`` and ``pet`` (n, 1, 64, 48, 80) on 6 mm, as ``model.yaml`` prepares them, to ``displacement``
    (n, 3, 16, 12, 20): x, y, z in mm, on every fourth voxel. A field and no six numbers: each place is a
    lesson of its own, so that far fewer pairs have to be seen."""

    def __init__(self) -> None:
        super().__init__()
        fine, middle, coarse, deep = WIDTHS
        self.to_24 = nn.Sequential(_block(2, fine, 2), _block(fine, middle, 2), _block(middle, middle))
        self.to_48 = nn.Sequential(_block(middle, coarse, 2), _block(coarse, coarse))
        self.to_96 = nn.Sequential(_block(coarse, deep, 2), _block(deep, deep), _block(deep, deep))
        self.rise = nn.ConvTranspose3d(deep, coarse, 2, 2)
        self.join = _block(2 * coarse, coarse)
        self.lift = nn.ConvTranspose3d(coarse, middle, 2, 2)
        self.draw = nn.Sequential(_block(2 * middle, middle), nn.Conv3d(middle, 3, 3, 1, 1))

    def forward(self, ct: Tensor, pet: Tensor) -> tuple[Tensor]:
        at_24 = self.to_24(torch.cat([ct, pet], 1))
        at_48 = self.to_48(at_24)
        at_96 = self.to_96(at_48)
        joined = self.join(torch.cat([self.rise(at_96), at_48], 1))
        displacement = self.draw(torch.cat([self.lift(joined), at_24], 1))
        return (displacement.float() * MILLIMETRES,)
