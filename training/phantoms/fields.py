"""Smooth scalar fields over patient space, kept coarse and read at any resolution.

A field holds millimetres of signed distance (positive inside), or any smooth quantity. Linear
interpolation along each axis is a product with a small matrix, which is quick on any grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from inference.findings import Point
from inference.volume import Volume

Array = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Grid:
    """An axial grid in LPS; ``origin_mm``, ``spacing_mm``: (z, y, x); ``shape``: (slices, rows, columns)."""

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float]

    @classmethod
    def centred(
        cls,
        shape: tuple[int, int, int],
        spacing_mm: tuple[float, float, float],
        center_mm: tuple[float, float, float] = (0.0, 0.0, 0.0),
    ) -> Grid:
        """``center_mm`` is (z, y, x)."""
        origin = tuple(c - s * (n - 1) / 2 for n, s, c in zip(shape, spacing_mm, center_mm, strict=True))
        return cls(shape, spacing_mm, (origin[0], origin[1], origin[2]))

    @classmethod
    def of(cls, volume: Volume) -> Grid:
        """That of a volume whose axes are those of the patient, as ``inference.resample`` makes them.

        Raises:
            ValueError: they are not.
        """
        x, y, z = (float(mm) for mm in volume.affine[:3, 3])
        dz, dy, dx = (float(volume.affine[axis, 2 - axis]) for axis in (2, 1, 0))
        grid = cls(volume.shape, (dz, dy, dx), (z, y, x))
        if not np.array_equal(grid.affine, volume.affine):
            raise ValueError("the volume does not lie along the axes of the patient")
        return grid

    @property
    def axes(self) -> tuple[Array, Array, Array]:
        """Coordinates along z, y, x in mm, each shaped to broadcast over the grid."""
        z, y, x = (
            (o + s * np.arange(n)).astype(np.float32)
            for n, s, o in zip(self.shape, self.spacing_mm, self.origin_mm, strict=True)
        )
        return z[:, None, None], y[None, :, None], x[None, None, :]

    @property
    def affine(self) -> npt.NDArray[np.float64]:
        """(slice, row, column, 1) to LPS mm."""
        out = np.zeros((4, 4))
        out[2, 0], out[1, 1], out[0, 2] = self.spacing_mm
        out[:3, 3], out[3, 3] = self.origin_mm[::-1], 1
        return out

    @property
    def voxel_mm3(self) -> float:
        return float(np.prod(self.spacing_mm))

    def part(self, box: tuple[slice, slice, slice]) -> Grid:
        """The grid of ``array[box]``."""
        start = [s.start for s in box]
        shape = tuple(s.stop - s.start for s in box)
        origin = tuple(o + s * a for o, s, a in zip(self.origin_mm, self.spacing_mm, start, strict=True))
        return Grid((shape[0], shape[1], shape[2]), self.spacing_mm, (origin[0], origin[1], origin[2]))

    def sliced(self, parts: int) -> Grid:
        """The same slab with each slice cut into ``parts``."""
        step = self.spacing_mm[0] / parts
        return Grid(
            (self.shape[0] * parts, self.shape[1], self.shape[2]),
            (step, self.spacing_mm[1], self.spacing_mm[2]),
            (self.origin_mm[0] - step * (parts - 1) / 2, self.origin_mm[1], self.origin_mm[2]),
        )

    def box_around(self, low_mm: npt.ArrayLike, high_mm: npt.ArrayLike) -> tuple[slice, slice, slice]:
        """The voxels between two corners (z, y, x), clipped to the grid; empty slices where outside."""
        a = np.floor((np.asarray(low_mm) - self.origin_mm) / self.spacing_mm).astype(int)
        b = np.ceil((np.asarray(high_mm) - self.origin_mm) / self.spacing_mm).astype(int) + 1
        a, b = np.clip(a, 0, self.shape), np.clip(b, 0, self.shape)
        return slice(a[0], max(a[0], b[0])), slice(a[1], max(a[1], b[1])), slice(a[2], max(a[2], b[2]))

    def box_about(self, center_mm: Point, reach_mm: float) -> tuple[slice, slice, slice]:
        """The voxels within ``reach_mm`` along each axis of an LPS point."""
        middle = np.array(center_mm[::-1], np.float32)
        return self.box_around(middle - reach_mm, middle + reach_mm)


@dataclass(frozen=True, eq=False)
class Field:
    """``values`` on ``grid``; outside it the border's values go on."""

    values: Array
    grid: Grid

    def on(self, grid: Grid) -> Array:
        """Read the field on another grid, shape (slices, rows, columns)."""
        z, y, x = (
            _interpolation(n, s, o, cn, cs, co)
            for n, s, o, cn, cs, co in zip(
                grid.shape,
                grid.spacing_mm,
                grid.origin_mm,
                self.grid.shape,
                self.grid.spacing_mm,
                self.grid.origin_mm,
                strict=True,
            )
        )
        out: Array = self.values
        out = np.tensordot(z, out, (1, 0))
        out = np.matmul(y[None], out)
        return np.matmul(out, x.T)

    def at(self, points_lps: npt.ArrayLike) -> Array:
        """Read the field at points (n, 3) in LPS mm."""
        p = np.atleast_2d(np.asarray(points_lps, np.float64))[:, ::-1]
        index = (p - self.grid.origin_mm) / self.grid.spacing_mm
        return ndimage.map_coordinates(self.values, index.T, order=1, mode="nearest").astype(np.float32)


def merged(values: Array, parts: int) -> Array:
    """Means of ``parts`` slices each: from the grid of ``Grid.sliced`` back to the one that was cut."""
    slices, rows, columns = values.shape
    means: Array = values.reshape(slices // parts, parts, rows, columns).mean(1)
    return means


def _interpolation(n: int, step: float, start: float, cn: int, cstep: float, cstart: float) -> Array:
    """The (n, cn) matrix that interpolates values at ``cstart + cstep * i`` linearly."""
    where = np.clip((start + step * np.arange(n) - cstart) / cstep, 0, cn - 1.001)
    left = where.astype(int)
    out = np.zeros((n, cn), np.float32)
    rows = np.arange(n)
    out[rows, left] = 1 - (where - left)
    out[rows, left + 1] = where - left
    return out


def smooth_noise(rng: np.random.Generator, grid: Grid, wavelength_mm: float) -> Array:
    """Noise of unit standard deviation whose bumps are about ``wavelength_mm`` long."""
    sigma = [max(wavelength_mm / 4 / s, 1e-3) for s in grid.spacing_mm]
    out = ndimage.gaussian_filter(rng.standard_normal(grid.shape, np.float32), sigma, mode="wrap")
    out /= np.float32(max(float(out.std()), 1e-6))
    return out


def coverage(distance: Array, edge_mm: float) -> Array:
    """The part of a voxel that lies inside, from the signed distance of its centre."""
    out = distance * np.float32(1 / edge_mm)
    out += np.float32(0.5)
    return np.clip(out, 0, 1, out=out)
