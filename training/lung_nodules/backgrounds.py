"""Chests without nodules at 1.5 mm, made once and kept on disk, for lesions to be drawn into."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from inference.findings import Point
from inference.resample import resample
from inference.volume import Volume, load_volume
from training.phantoms.anatomy import FIELD_GRID, chest_anatomy
from training.phantoms.fields import Field, Grid
from training.phantoms.render import render

SPACING_MM = 1.5
PHANTOM_GRID = Grid.centred((200, 180, 244), (SPACING_MM,) * 3)


@dataclass(frozen=True, eq=False)
class Background:
    """hu: int16 (slices, rows, columns) on ``grid``, axial LPS. depth: mm below the pleura, coarse.

    real: a scan, noise and all, of which ``kept_clear`` names places (LPS mm) and radii (mm) of known
    lesions; else a phantom before blur and noise, its blood enhanced by ``contrast_hu``.
    """

    name: str
    hu: npt.NDArray[np.int16]
    grid: Grid
    depth: Field
    real: bool
    contrast_hu: float = 0.0
    kept_clear: tuple[tuple[Point, float], ...] = ()


def phantom_background(seed: int, folder: Path) -> Background:
    """The lesion-free chest of patient ``seed``, from ``folder`` where it lies already."""
    rng = np.random.default_rng([seed, 61])
    contrast = float(rng.choice([0, rng.uniform(60, 260)], p=[0.6, 0.4]))
    path = folder / f"phantom-{seed}.npz"
    if not path.exists():
        anatomy = chest_anatomy(seed)
        hu = np.clip(np.rint(render(anatomy, PHANTOM_GRID, contrast)), -1024, 3071).astype(np.int16)
        _save(path, hu, anatomy.fields["lungs"].values)
    with np.load(path) as kept:
        depth = Field(kept["depth"].astype(np.float32), FIELD_GRID)
        return Background(path.stem, kept["hu"], PHANTOM_GRID, depth, False, contrast)


def real_background(
    name: str, load: Callable[[], Volume], folder: Path, kept_clear: Sequence[tuple[Point, float]] = ()
) -> Background:
    """A scan at 1.5 mm, from ``folder`` where it lies already."""
    path = folder / f"real-{name}.npz"
    if not path.exists():
        volume = resample(load(), SPACING_MM)
        hu = np.clip(volume.voxels, -1024, 3071).astype(np.int16)
        _save(path, hu, lung_depth(hu), volume.affine[:3, 3][::-1])
    with np.load(path) as kept:
        hu, origin = kept["hu"], kept["origin"]
        grid = Grid(hu.shape, (SPACING_MM,) * 3, (float(origin[0]), float(origin[1]), float(origin[2])))
        coarse = Grid(kept["depth"].shape, (3 * SPACING_MM,) * 3, grid.origin_mm)
        depth = Field(kept["depth"].astype(np.float32), coarse)
        return Background(path.stem, hu, grid, depth, True, kept_clear=tuple(kept_clear))


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


def ct_series(folder: Path, modality: str = "CT") -> Volume:
    """The CT series in ``folder``."""
    return load_volume(
        sorted(p for p in folder.iterdir() if p.suffix == ".dcm" or p.name.startswith(modality))
    )
