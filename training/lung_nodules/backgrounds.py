"""Chests without nodules at 1.5 mm, made once and kept on disk, for lesions to be drawn into."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from inference.findings import Point
from inference.resample import resample
from training.kept import digest
from training.lung_nodules.sources import RealSeries
from training.phantoms.acquisition import stored
from training.phantoms.anatomy import FIELD_GRID, chest_anatomy
from training.phantoms.fields import Field, Grid
from training.phantoms.nodules import Nodule
from training.phantoms.render import render

SPACING_MM = 1.5
PHANTOM_GRID = Grid.centred((200, 180, 244), (SPACING_MM,) * 3)


@dataclass(frozen=True, eq=False)
class Background:
    """hu: int16 (slices, rows, columns) on ``grid``, axial LPS. depth: mm below the pleura, coarse.

    real: a scan, noise and all, of which ``kept_clear`` names places (LPS mm) and radii (mm) that nothing is
    learned from, and ``nodules`` its own; else a phantom before blur and noise, its blood enhanced by
    ``contrast_hu``.
    """

    name: str
    hu: npt.NDArray[np.int16]
    grid: Grid
    depth: Field
    real: bool
    contrast_hu: float = 0.0
    kept_clear: tuple[tuple[Point, float], ...] = ()
    nodules: tuple[Nodule, ...] = ()


def phantom_background(seed: int, folder: Path) -> Background:
    """The lesion-free chest of patient ``seed``, from ``folder`` where it lies already."""
    rng = np.random.default_rng([seed, 61])
    contrast = float(rng.choice([0, rng.uniform(60, 260)], p=[0.6, 0.4]))
    path = folder / f"phantom-{seed}.npz"
    if not path.exists():
        anatomy = chest_anatomy(seed)
        hu = stored(render(anatomy, PHANTOM_GRID, contrast))
        _save(path, hu, anatomy.fields["lungs"].values)
    with np.load(path) as kept:
        depth = Field(kept["depth"].astype(np.float32), FIELD_GRID)
        return Background(path.stem, kept["hu"], PHANTOM_GRID, depth, False, contrast)


def real_background(scan: RealSeries, folder: Path) -> Background:
    """A scan at 1.5 mm, from ``folder`` where it lies already. Its voxels stay on disk until they are cut, as
    there may be hundreds of scans."""
    words = re.sub(r"[^A-Za-z0-9.]+", "-", scan.name).strip("-").lower()
    name = f"real-{words}-{digest(scan.name, scan.folder)}"
    path, voxels = folder / f"{name}.npz", folder / f"{name}.npy"
    if not (path.exists() and voxels.exists()):
        volume = resample(scan.load(), SPACING_MM)
        hu = np.clip(volume.voxels, -1024, 3071).astype(np.int16)
        folder.mkdir(parents=True, exist_ok=True)
        np.save(voxels, hu)
        _save(path, hu[:0], lung_depth(hu), volume.affine[:3, 3][::-1])
    hu = np.load(voxels, mmap_mode="r")
    with np.load(path) as kept:
        z, y, x = (float(mm) for mm in kept["origin"])
        grid = Grid(hu.shape, (SPACING_MM,) * 3, (z, y, x))
        coarse = Grid(kept["depth"].shape, (3 * SPACING_MM,) * 3, grid.origin_mm)
        depth = Field(kept["depth"].astype(np.float32), coarse)
    return Background(name, hu, grid, depth, True, kept_clear=scan.kept_clear, nodules=scan.nodules)


def lung_depth(hu: npt.NDArray[np.int16]) -> npt.NDArray[np.float32]:
    """Millimetres below the pleura on every third voxel of a 1.5 mm scan; negative outside the lungs."""
    air = hu[::3, ::3, ::3] < -500
    parts, _ = ndimage.label(air)
    rim = np.unique(
        np.concatenate(
            [parts[:, 0].ravel(), parts[:, -1].ravel(), parts[:, :, 0].ravel(), parts[:, :, -1].ravel()]
        )
    )
    sizes = np.bincount(parts.ravel())
    sizes[0] = sizes[rim] = 0
    lungs = np.isin(parts, np.flatnonzero(sizes > 2000))
    lungs = ndimage.binary_closing(lungs, iterations=2) | lungs
    step = 3 * SPACING_MM
    inside = ndimage.distance_transform_edt(lungs) * step
    outside = ndimage.distance_transform_edt(~lungs) * step
    return (inside - outside).astype(np.float32)


def _save(
    path: Path, hu: npt.NDArray[np.int16], depth: npt.NDArray[np.float32], origin: npt.ArrayLike = (0, 0, 0)
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part.npz")
    np.savez(part, hu=hu, depth=depth.astype(np.float16), origin=np.asarray(origin, np.float64))
    part.replace(path)
