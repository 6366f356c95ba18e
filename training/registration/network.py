"""The network: CT and PET on one grid to a rigid motion and a coarse field of displacements."""

from __future__ import annotations

import torch
from torch import Tensor, nn

WIDTHS = (16, 32, 32)
MILLIMETRES, DEGREES = 10.0, 5.0
"""The units of the last layers, so that their outputs begin at about 1."""
_METRE_TENTH = 100.0


def _block(taken: int, given: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(taken, given, 3, stride, 1, bias=False),
        nn.BatchNorm3d(given),
        nn.ReLU(inplace=True),
    )


class Registrar(nn.Module):
    """``ct`` and ``pet`` (n, 1, 64, 48, 80) on 6 mm, as ``model.yaml`` prepares them, to ``motion`` (n, 6: mm
    along x, y, z, rotation vector in degrees about the grid's middle) and ``displacement`` (n, 3, 16, 12, 20:
    x, y, z in mm on top of it, on every fourth voxel).

    The motion comes of where features of either scan have their centres of mass, which move as the patient
    does: so little is left to learn that a few thousand pairs are enough.
    """

    def __init__(self) -> None:
        super().__init__()
        fine, middle, coarse = WIDTHS
        self.of_ct, self.of_pet = (
            nn.Sequential(_block(1, fine, 2), _block(fine, middle, 2), _block(middle, middle))
            for _ in range(2)
        )
        self.motion = nn.Linear(2 * 3 * middle, 6)
        self.to_48 = nn.Sequential(_block(2 * middle, 2 * coarse, 2), _block(2 * coarse, coarse))
        self.lift = nn.ConvTranspose3d(coarse, middle, 2, 2)
        self.draw = nn.Sequential(_block(3 * middle, middle), nn.Conv3d(middle, 3, 3, 1, 1))
        nn.init.zeros_(self.motion.weight)
        last = self.draw[-1]
        assert isinstance(last, nn.Conv3d) and last.bias is not None
        nn.init.zeros_(last.weight), nn.init.zeros_(last.bias)

    def forward(self, ct: Tensor, pet: Tensor) -> tuple[Tensor, Tensor]:
        of_ct, of_pet = self.of_ct(ct), self.of_pet(pet)
        places = torch.cat([_centers(of_ct), _centers(of_pet)], 1)
        scale = torch.tensor([MILLIMETRES] * 3 + [DEGREES] * 3, device=ct.device)
        motion = self.motion(places * _METRE_TENTH / MILLIMETRES) * scale
        at_24 = torch.cat([of_ct, of_pet], 1)
        displacement = self.draw(torch.cat([self.lift(self.to_48(at_24)), at_24], 1))
        return motion, displacement.float() * MILLIMETRES


def _centers(features: Tensor) -> Tensor:
    """The centre of mass of each channel, in tenths of a metre from the grid's middle: (n, 3 channels)."""
    share = features.float() + 1e-4
    total = share.sum((2, 3, 4))
    found = []
    for axis, length in enumerate(features.shape[2:]):
        others = [2 + a for a in range(3) if a != axis]
        where = (torch.arange(length, device=features.device) - (length - 1) / 2) * (24.0 / _METRE_TENTH)
        found.append((share.sum(others) * where).sum(2) / total)
    return torch.cat(found, 1)
