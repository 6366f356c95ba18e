"""What a detector learns: maps with a bump at the centre of each lesion."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

import numpy as np

from inference.findings import Point
from training.phantoms.fields import Array, Grid

NEAR = 0.45
"""A bump above this is near enough to the centre to tell of the lesion."""


class Lesion(Protocol):
    """Where a lesion lies (LPS mm), and the diameter of the sphere of its volume, mm."""

    @property
    def center_mm(self) -> Point: ...
    @property
    def diameter_mm(self) -> float: ...


L = TypeVar("L", bound=Lesion)


def centre_maps(grid: Grid, lesions: Sequence[Lesion], stride: int) -> tuple[Array, Array, Array]:
    """Heat, 1 at the voxel nearest to a lesion's centre; log of its diameter in mm; and where that is set, 1
    near the centre. All on the grid that has one voxel for ``stride`` of ``grid`` along each axis."""
    shape = tuple(n // stride for n in grid.shape)
    heat = np.zeros(shape, np.float32)
    log_diameter, sized = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    for lesion, bump in bumps(grid, lesions, stride):
        heat = np.maximum(heat, bump)
        near = bump > NEAR
        log_diameter[near], sized[near] = np.log(lesion.diameter_mm), 1
    return heat, log_diameter, sized


def bumps(grid: Grid, lesions: Iterable[L], stride: int) -> Iterator[tuple[L, Array]]:
    """Each lesion whose centre lies in the grid, and its bump, on the coarser grid of ``centre_maps``."""
    shape = tuple(n // stride for n in grid.shape)
    step = np.array(grid.spacing_mm) * stride
    origin = np.array(grid.origin_mm) + (stride - 1) * np.array(grid.spacing_mm) / 2
    axes = [(o + s * np.arange(n)) for o, s, n in zip(origin, step, shape, strict=True)]
    mesh = np.meshgrid(*axes, indexing="ij", sparse=True)
    for lesion in lesions:
        nearest = np.rint((np.array(lesion.center_mm[::-1]) - origin) / step).astype(int)
        if (nearest < 0).any() or (nearest >= shape).any():
            continue
        middle = origin + step * nearest
        squared = sum((axis - at) ** 2 for axis, at in zip(mesh, middle, strict=True))
        sigma = max(0.55 * float(step.max()), lesion.diameter_mm / 7)
        yield lesion, np.exp(-squared / (2 * sigma**2)).astype(np.float32)


def halved(filled: Array) -> Array:
    """Means of blocks of 2 x 2 x 2 voxels; an odd last one is left out."""
    d, h, w = (n // 2 for n in filled.shape)
    means: Array = filled[: 2 * d, : 2 * h, : 2 * w].reshape(d, 2, h, 2, w, 2).mean((1, 3, 5))
    return means
