"""Pairs of CT and PET with a known motion between them, many a second, from chests rendered once.

A point x of the CT grid lies in the reference chest at ``breath_ct(pose @ x)``; the same point of the body
lies in the PET at ``motion @ pose⁻¹ @ breath_pet⁻¹(…)``. The PET is blurred over the breaths it lasts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor
from torch.nn import functional

from inference.registration.estimate import COARSER, SHAPE, SPACING_MM
from training.loop import Batch
from training.registration.bank import GRID, HU_STEP, LOWEST_HU, STATES, SUV_STEP, Chest

BATCH = 4
MOST_SHIFT_MM, MOST_TURN_DEG = 24.0, 9.0
MOST_BREATH_MM = 18.0
CT_INTENSITY: dict[str, Any] = {"clip": [-1000.0, 300.0], "subtract": -350.0, "divide": 450.0}
PET_INTENSITY: dict[str, Any] = {"clip": [0.0, 6.0], "subtract": 1.0, "divide": 1.2}

_INVERSE_ROUNDS = 12


@dataclass(frozen=True, eq=False)
class PairSource:
    """Batches of ``ct``, ``pet`` (n, 1, 64, 48, 80); where the points the network is asked about,
    ``COARSE``, lie in the PET (n, points, 3), mm about the grid's middle; and the weight of each point.
    Follows ``seed`` and the number of the step alone."""

    chests: Sequence[Chest]
    seed: int

    def __call__(self, step: int) -> Batch:
        rng = np.random.default_rng([self.seed, step, 81])
        drawn = [_pair(self.chests[int(k)], rng) for k in rng.integers(len(self.chests), size=BATCH)]
        return tuple(torch.stack(parts) for parts in zip(*drawn, strict=True))


def _points(shape: Sequence[int], step: float) -> Tensor:
    """(slices, rows, columns, 3) x, y, z in mm about the middle of a grid."""
    z, y, x = ((torch.arange(n) - (n - 1) / 2) * step for n in shape)
    return torch.stack(torch.meshgrid(z, y, x, indexing="ij"), -1).flip(-1).to(torch.float32)


COARSE = _points([n // COARSER for n in SHAPE], SPACING_MM * COARSER).reshape(-1, 3)
_SPACING, _ORIGIN = torch.tensor(GRID.spacing_mm[::-1]), torch.tensor(GRID.origin_mm[::-1])
_LAST = torch.tensor([n - 1 for n in GRID.shape[::-1]], dtype=torch.float32)


@dataclass(frozen=True, eq=False)
class _Pose:
    """Where points of the scan, in mm about the grid's middle, lie in the chest: ``matrix @ x + offset``."""

    matrix: Tensor
    offset: Tensor

    def at(self, points: Tensor) -> Tensor:
        return points @ self.matrix.T + self.offset

    def on_grid(self, step: int = 1) -> Tensor:
        """Of every ``step``-th voxel of the grid: (slices, rows, columns, 3)."""
        z, y, x = ((torch.arange(0, n, step) - (n - 1) / 2) * SPACING_MM for n in SHAPE)
        along_x, along_y, along_z = self.matrix.T
        rows = y[:, None, None] * along_y + x[:, None] * along_x + self.offset
        return z[:, None, None, None] * along_z + rows


@dataclass(frozen=True, eq=False)
class _Breath:
    """The breath of ``training.growth.breathing.Pose``: ``diaphragm_mm`` lower than in the reference, the
    front of the chest an eighth of that higher. ``share``: how much of it each place takes part in."""

    share: Tensor
    diaphragm_mm: float

    def to_reference(self, points: Tensor) -> Tensor:
        return points + self._moved(points)

    def on_grid(self, pose: _Pose) -> Tensor:
        """Where the grid's voxels lie in the reference: the breath is read on every other one."""
        moved = self._moved(pose.on_grid(2)).movedim(-1, 0)[None]
        size = [2 * n - 1 for n in moved.shape[2:]]
        wide = functional.interpolate(moved, size=size, mode="trilinear", align_corners=True)
        return pose.on_grid() + functional.pad(wide, (0, 1, 0, 1, 0, 1), mode="replicate")[0].movedim(0, -1)

    def to_scan(self, points: Tensor) -> Tensor:
        found = points
        for _ in range(_INVERSE_ROUNDS):
            found = points - self._moved(found)
        return found

    def _moved(self, points: Tensor) -> Tensor:
        low = self.diaphragm_mm * _read(self.share, points)
        front = self.diaphragm_mm / 8 * ((40 - points[..., 1]) / 120).clamp(0, 1)
        return torch.stack([torch.zeros_like(low), front, low], -1)


def _pair(chest: Chest, rng: np.random.Generator) -> tuple[Tensor, ...]:
    build = _build(rng)
    center = torch.from_numpy(chest.center_mm + rng.normal(0, (5, 5, 12)).astype(np.float32))
    down = _levels(chest.moving, 1 / 255)
    before = _Breath(down, float(rng.uniform(-0.5, 0.5) * MOST_BREATH_MM))
    mismatch = float(rng.uniform(-1, 1) * MOST_BREATH_MM) * float(rng.random() < 0.75)
    after = _Breath(down, before.diaphragm_mm + mismatch)
    turn, shift = _motion(rng)
    in_ct = _Pose(build, center)
    in_pet = _Pose(build @ turn.T, center - build @ turn.T @ shift)
    state = int(rng.integers(STATES))
    ct = _read(_levels(chest.cts[state], HU_STEP, LOWEST_HU), before.on_grid(in_ct))
    ct = ct + float(rng.uniform(4, 20)) * _grain(rng)
    pet = _noisy(_read(_levels(chest.pets[state], SUV_STEP), after.on_grid(in_pet)), rng)
    in_body = before.to_reference(in_ct.at(COARSE))
    weight = _read(_levels(chest.body), in_body)
    there = (after.to_scan(in_body) - center) @ torch.linalg.inv(build).T @ turn.T + shift
    first, last = _window(rng)
    ct[:first], pet[:first], ct[last:], pet[last:] = LOWEST_HU, 0.0, LOWEST_HU, 0.0
    height = COARSE[:, 2] / SPACING_MM + (SHAPE[0] - 1) / 2
    weight = weight * ((height >= first) & (height < last))
    return prepared(ct, CT_INTENSITY)[None], prepared(pet, PET_INTENSITY)[None], there, weight


def prepared(values: Tensor, intensity: dict[str, Any]) -> Tensor:
    low, high = intensity["clip"]
    return (values.clamp(low, high) - intensity["subtract"]) / intensity["divide"]


def _build(rng: np.random.Generator) -> Tensor:
    """Another patient of the same anatomy: larger or smaller, and turned on the table."""
    scale = np.diag(np.exp(rng.normal(0, 0.04, 3)))
    turn = Rotation.from_rotvec(rng.normal(0, 2.0, 3), degrees=True).as_matrix()
    return torch.from_numpy((scale @ turn).astype(np.float32))


def _motion(rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Rotation (3, 3) and shift of the PET: large ones for the first look, small ones for the next."""
    size = float(rng.choice([1.0, 0.35, 0.1], p=[0.4, 0.3, 0.3]))
    turn = Rotation.from_rotvec(rng.uniform(-1, 1, 3) * MOST_TURN_DEG * size, degrees=True).as_matrix()
    shift = rng.uniform(-1, 1, 3) * MOST_SHIFT_MM * size
    return torch.from_numpy(turn.astype(np.float32)), torch.from_numpy(shift.astype(np.float32))


def _noisy(pet: Tensor, rng: np.random.Generator) -> Tensor:
    """Counting noise in grains of about 12 mm, and a scanner that is off by some per cent."""
    level = float(rng.uniform(0.03, 0.2))
    noisy = pet + level * torch.sqrt(pet.clamp(min=0) + 0.02) * _grain(rng)
    return (noisy * float(np.exp(rng.normal(0, 0.12)))).clamp(min=0)


@cache
def _grains() -> Tensor:
    white = torch.from_numpy(np.random.default_rng(121).standard_normal((1, 1, *SHAPE), np.float32))
    smooth = functional.avg_pool3d(functional.pad(white, (1,) * 6, mode="circular"), 3, 1) + 0.2 * white
    return (smooth / smooth.std())[0, 0]


def _grain(rng: np.random.Generator) -> Tensor:
    """Smooth noise of unit deviation; one field of it, moved and mirrored by chance."""
    field = _grains() * float(rng.choice([-1, 1]))
    return torch.roll(field, [int(rng.integers(n)) for n in SHAPE], (0, 1, 2))


def _window(rng: np.random.Generator) -> tuple[int, int]:
    """First and last slice that both scans show."""
    if rng.random() < 0.4:
        return 0, SHAPE[0]
    return int(rng.integers(0, 16)), SHAPE[0] - int(rng.integers(0, 16))


def _levels(stored: npt.NDArray[np.uint8], step: float = 1.0, lowest: float = 0.0) -> Tensor:
    return torch.from_numpy(stored).to(torch.float32) * step + lowest


def _read(values: Tensor, points: Tensor) -> Tensor:
    """Values of a chest at LPS points (..., 3), linearly interpolated; beyond the grid as at its border."""
    scale = 2 / (_SPACING * _LAST)
    where = points * scale - (_ORIGIN * scale + 1)
    out = functional.grid_sample(
        values[None, None],
        where.to(torch.float32).reshape(1, 1, 1, -1, 3),
        mode="bilinear",
        padding_mode="border",
        align_corners=True,
    )
    return out.reshape(points.shape[:-1])
