"""The map from points of a CT to points of the PET beside it, and how well it does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from inference.volume import Floats, Volume

Vectors = npt.NDArray[np.float32]
Kind = Literal["identity", "rigid", "deformable"]

_ROUNDS: Final = 40
_CONVERGED_MM: Final = 0.01


@dataclass(frozen=True)
class Agreement:
    """How far CT and PET agree under one map: mutual information in nats and the Dice of both outlines of
    the body, where the PET reaches."""

    mutual_information: float
    body_dice: float


@dataclass(frozen=True)
class Quality:
    """``before``: as the scanner placed both images; ``after``: under the map that was chosen. ``folded``:
    share of the body in which that map turns space inside out (Jacobian determinant at most 0)."""

    before: Agreement
    after: Agreement
    folded: float


@dataclass(frozen=True, eq=False)
class Registration:
    """``motion @ (x + vectors(x))`` is the PET point of the CT point x, both in LPS mm.

    motion: (4, 4), rigid. vectors: (slices, rows, columns, 3), x, y, z in mm on the grid of ``affine``,
    (slice, row, column, 1) to LPS mm; beyond it as at its border.
    kind: what is left when whatever made the agreement worse was refused; ``reason`` says why, in a
    sentence. quality: None where there was nothing to compare.
    """

    motion: Floats
    vectors: Vectors
    affine: Floats
    kind: Kind
    reason: str
    quality: Quality | None = None

    @classmethod
    def identity(cls, reason: str, quality: Quality | None = None) -> Registration:
        """CT and PET stay where the scanner placed them."""
        return cls(np.eye(4), np.zeros((1, 1, 1, 3), np.float32), np.eye(4), "identity", reason, quality)

    def to_pet(self, ct_points_mm: npt.ArrayLike) -> Floats:
        """(n, 3) points of the CT, in the PET."""
        points = np.asarray(ct_points_mm, np.float64).reshape(-1, 3)
        return self._moved(points + self._displacement(points))

    def to_ct(self, pet_points_mm: npt.ArrayLike) -> Floats:
        """(n, 3) points of the PET, in the CT: the inverse of ``to_pet`` by fixed-point iteration."""
        points = np.asarray(pet_points_mm, np.float64).reshape(-1, 3)
        target = (points - self.motion[:3, 3]) @ self.motion[:3, :3]
        found = target.copy()
        for _ in range(_ROUNDS):
            step = target - self._displacement(found) - found
            found += 0.8 * step
            if float(np.abs(step).max(initial=0.0)) < _CONVERGED_MM:
                break
        return np.asarray(found, np.float64)

    def _moved(self, points: Floats) -> Floats:
        return np.asarray(points @ self.motion[:3, :3].T + self.motion[:3, 3], np.float64)

    def _displacement(self, points: Floats) -> Floats:
        at = ((points - self.affine[:3, 3]) @ np.linalg.inv(self.affine[:3, :3]).T).T
        return np.stack(
            [ndimage.map_coordinates(self.vectors[..., k], at, order=1, mode="nearest") for k in range(3)],
            axis=1,
        ).astype(np.float64)


def pet_on(pet: Volume, registration: Registration, affine: Floats, shape: tuple[int, int, int]) -> Vectors:
    """The PET as it lies on a grid of the CT: float32 of ``shape``, 0 where the PET does not reach.

    affine: the grid's (slice, row, column, 1) to CT LPS mm.
    """
    return sampled(pet, registration.to_pet(grid_points(affine, shape)), 0.0).reshape(shape)


def grid_points(affine: Floats, shape: tuple[int, int, int]) -> Floats:
    """LPS mm of every voxel of a grid, (voxels, 3), the column index fastest."""
    index = np.moveaxis(np.indices(shape, np.float64), 0, -1).reshape(-1, 3)
    return np.asarray(index @ affine[:3, :3].T + affine[:3, 3], np.float64)


def sampled(volume: Volume, points_mm: Floats, outside: float) -> Vectors:
    """Values at (n, 3) LPS points, linearly interpolated."""
    at = volume.to_index(points_mm).T
    values = np.asarray(volume.voxels, np.float32)
    return np.asarray(ndimage.map_coordinates(values, at, order=1, cval=outside), np.float32)
