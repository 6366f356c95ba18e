"""The network: CT and PET on one grid to a rigid motion and a coarse field of displacements."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from inference.registration.estimate import SHAPE

WIDTHS = (16, 32, 64, 64)
DEGREES, MILLIMETRES = 5.0, 10.0
"""What the heads' unit is, so that both begin at about 1."""


def _block(taken: int, given: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(taken, given, 3, stride, 1, bias=False),
        nn.BatchNorm3d(given),
        nn.ReLU(inplace=True),
    )


class Registrar(nn.Module):
    """``ct`` and ``pet`` (n, 1, 64, 48, 80), as ``model.yaml`` prepares them, to ``motion`` (n, 6: mm along
    x, y, z, rotation vector in degrees about the grid's middle) and ``displacement`` (n, 3, 16, 12, 20:
    x, y, z in mm, on every fourth voxel)."""

    def __init__(self) -> None:
        super().__init__()
        fine, middle, coarse, deep = WIDTHS
        self.stem = _block(2, fine, 2)
        self.down = nn.Sequential(_block(fine, middle, 2), _block(middle, middle))
        self.deeper = nn.Sequential(_block(middle, coarse, 2), _block(coarse, coarse))
        self.deepest = nn.Sequential(_block(coarse, deep, 2), _block(deep, deep))
        self.squeeze, self.narrow = _block(coarse, 8), _block(deep, 16)
        places = math.prod(SHAPE)
        seen = 8 * places // 8**3 + 16 * places // 16**3
        self.motion = nn.Sequential(nn.Linear(seen, 64), nn.ReLU(), nn.Linear(64, 6))
        self.rise = nn.ConvTranspose3d(deep, coarse, 2, 2)
        self.join = _block(2 * coarse, coarse)
        self.lift = nn.ConvTranspose3d(coarse, middle, 2, 2)
        self.draw = nn.Sequential(_block(2 * middle, fine), nn.Conv3d(fine, 3, 3, 1, 1))

    def forward(self, ct: Tensor, pet: Tensor) -> tuple[Tensor, Tensor]:
        at_24 = self.down(self.stem(torch.cat([ct, pet], 1)))
        at_48 = self.deeper(at_24)
        at_96 = self.deepest(at_48)
        seen = torch.cat([self.squeeze(at_48).flatten(1), self.narrow(at_96).flatten(1)], 1)
        scale = torch.tensor([MILLIMETRES] * 3 + [DEGREES] * 3, device=ct.device)
        motion = self.motion(seen).float() * scale
        joined = self.join(torch.cat([self.rise(at_96), at_48], 1))
        displacement = self.draw(torch.cat([self.lift(joined), at_24], 1))
        return motion, displacement.float() * MILLIMETRES
