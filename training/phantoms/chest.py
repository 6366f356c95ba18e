"""One chest CT phantom with its truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from inference.findings import Point
from training.phantoms.acquisition import Scan, stored
from training.phantoms.anatomy import Anatomy, chest_anatomy
from training.phantoms.fields import Array, Grid, merged
from training.phantoms.nodules import Lesion, Nodule, draw_nodule, random_nodule
from training.phantoms.render import render

_SLAB = 48
_FINEST_STEP_MM = 1.5


@dataclass(frozen=True, eq=False)
class Phantom:
    """voxels: HU, int16, (slices, rows, columns). affine: (slice, row, column, 1) to LPS mm."""

    voxels: npt.NDArray[np.int16]
    affine: npt.NDArray[np.float64]
    lesions: tuple[Lesion, ...]


def chest_phantom(
    seed: int,
    shape: tuple[int, int, int] = (200, 200, 256),
    spacing_mm: float | tuple[float, float, float] = 1.5,
    lesions: int | Sequence[Nodule] = 2,
    *,
    scan: Scan | None = None,
    scan_seed: int = 0,
) -> Phantom:
    """An axial chest CT, slices from the diaphragm upwards, centred on (0, 0, 0) mm LPS.

    seed: of the anatomy. shape, spacing_mm: (slices, rows, columns); 300 × 270 × 360 mm holds the lungs.
    lesions: how many to draw at random in the lungs, or the recipes themselves (take them from another
    phantom's truth to let them grow). scan: how it is acquired, its slices as thick as they lie apart by
    default; ``scan_seed`` is that of the noise, so that two dates of one patient differ in noise alone.
    """
    spacing = np.broadcast_to(np.asarray(spacing_mm, float), 3)
    grid = Grid.centred(shape, (float(spacing[0]), float(spacing[1]), float(spacing[2])))
    anatomy = chest_anatomy(seed)
    scan = Scan(thickness_mm=max(1.0, float(spacing[0]))) if scan is None else scan
    recipes = random_nodules(anatomy, lesions, seed, grid) if isinstance(lesions, int) else lesions
    hu, truths = scanned(anatomy, grid, recipes, scan, np.random.default_rng([seed, scan_seed, 41]))
    return Phantom(stored(hu), grid.affine, truths)


def scanned(
    anatomy: Anatomy, grid: Grid, recipes: Sequence[Nodule], scan: Scan, rng: np.random.Generator
) -> tuple[Array, tuple[Lesion, ...]]:
    """``anatomy`` with nodules, acquired on ``grid``: HU (slices, rows, columns), and the truth of those
    nodules that lie in it. Slices far apart are averages over finer ones."""
    finer = int(np.ceil(grid.spacing_mm[0] / _FINEST_STEP_MM))
    hu = np.empty(grid.shape, np.float32)
    for first in range(0, grid.shape[0], _SLAB):
        last = min(first + _SLAB, grid.shape[0])
        slab = grid.part((slice(first, last), slice(0, grid.shape[1]), slice(0, grid.shape[2])))
        thin = slab.sliced(finer)
        drawn = render(anatomy, thin, scan.contrast_hu)
        for nodule in recipes:
            draw_nodule(drawn, thin, nodule, anatomy.fields["lungs"], scan.contrast_hu)
        hu[first:last] = merged(drawn, finer)
    hu = scan.acquire(hu, grid, rng)
    found = (truth(anatomy, grid, nodule) for nodule in recipes)
    return hu, tuple(lesion for lesion in found if lesion is not None)


def truth(anatomy: Anatomy, grid: Grid, nodule: Nodule) -> Lesion | None:
    """What is true of ``nodule`` on ``grid``, drawn on nothing."""
    finer = int(np.ceil(grid.spacing_mm[0] / _FINEST_STEP_MM))
    box = grid.box_about(nodule.center_mm, nodule.diameter_mm * 0.95 + 3)
    here = grid.part(box)
    if 0 in here.shape:
        return None
    thin = here.sliced(finer)
    drawn = draw_nodule(np.full(thin.shape, -850, np.float32), thin, nodule, anatomy.fields["lungs"])
    filled = np.zeros(thin.shape, np.float32)
    filled[drawn.box] = drawn.filled
    shares = merged(filled, finer)
    return type(drawn)(box, shares).lesion(nodule, grid)


def random_nodules(anatomy: Anatomy, count: int, seed: int, grid: Grid | None = None) -> list[Nodule]:
    """``count`` nodules in the lungs, apart from each other, their labels drawn from ``seed`` alone and
    from nothing of the anatomy; within ``grid`` where one is given."""
    labels, places = np.random.default_rng([seed, 51]), np.random.default_rng([seed, 52])
    placed: list[Nodule] = []
    for _ in range(count):
        recipe = random_nodule(labels, (0.0, 0.0, 0.0))
        placed.append(_placed(recipe, anatomy, places, placed, grid))
    return placed


def _placed(
    recipe: Nodule, anatomy: Anatomy, places: np.random.Generator, others: Sequence[Nodule], grid: Grid | None
) -> Nodule:
    depth = recipe.diameter_mm / 2 * places.choice([0.55, 1.1], p=[0.3, 0.7])
    deepest = float(anatomy.fields["lungs"].values.max())
    best = recipe
    for point in anatomy.points_in_lung(places, 60, min(depth, deepest * 0.8)):
        center: Point = (float(point[0]), float(point[1]), float(point[2]))
        best = replace(recipe, center_mm=center)
        clear = all(
            np.linalg.norm(np.subtract(center, o.center_mm)) > (o.diameter_mm + best.diameter_mm) / 2 + 8
            for o in others
        )
        if clear and (grid is None or _well_inside(center, grid, best.diameter_mm)):
            break
    return best


def _well_inside(center: Point, grid: Grid, margin_mm: float) -> bool:
    low = np.array(grid.origin_mm) + margin_mm
    high = np.array(grid.origin_mm) + np.array(grid.shape) * grid.spacing_mm - margin_mm
    return bool(((np.array(center[::-1]) > low) & (np.array(center[::-1]) < high)).all())
