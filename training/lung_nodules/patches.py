"""Training patches for the detector: a piece of a chest, nodules drawn into it, scanned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from inference.findings import Point
from training.detection.targets import centre_maps, halved
from training.lung_nodules.backgrounds import SPACING_MM, Background
from training.lung_nodules.sites import attached_place, drawn_depths
from training.phantoms.acquisition import Scan
from training.phantoms.fields import Array, Grid, coverage
from training.phantoms.nodules import Drawn, Nodule, draw_nodule, random_nodule

STRIDE = 2


@dataclass(frozen=True, eq=False)
class Patch:
    """hu: (size, size, size) at 1.5 mm. Targets on the grid of half of that: heat, 1 at a nodule's centre;
    diameter: log mm where ``sized``, else 0; inside: the part of each voxel filled by a nodule."""

    hu: Array
    heat: Array
    log_diameter: Array
    sized: Array
    inside: Array


class PatchSource:
    """Patches by number: the same number gives the same patch."""

    def __init__(self, backgrounds: Sequence[Background], seed: int, size: int = 48) -> None:
        self._backgrounds = backgrounds
        self._seed = seed
        self._size = size
        rng = np.random.default_rng([seed, 71])
        self._grains = [_grain(rng) for _ in range(10)]

    def __call__(self, number: int) -> Patch:
        rng = np.random.default_rng([self._seed, 72, number])
        background = self._backgrounds[int(rng.integers(len(self._backgrounds)))]
        box = self._somewhere(rng, background)
        grid = background.grid.part(box)
        hu = background.hu[box].astype(np.float32)
        scan = Scan.drawn(rng)
        recipes = _recipes(rng, background, grid)
        inside = np.zeros(hu.shape, np.float32)
        kept: list[Nodule] = []
        for nodule in background.nodules:
            sphere = _sphere(nodule, grid)
            if sphere.any():
                inside = np.maximum(inside, sphere)
                kept.append(nodule)
        for nodule in recipes:
            lungs = None if background.real else background.depth
            drawn = draw_nodule(hu, grid, nodule, lungs, background.contrast_hu)
            seen = _as_drawn(nodule, drawn, grid)
            if seen is not None:
                inside[drawn.box] = np.maximum(inside[drawn.box], drawn.filled)
                kept.append(seen)
        if not background.real:
            hu = scan.blurred(hu, grid)
            hu += self._noise(rng, hu.shape) * np.float32(scan.noise_hu * 0.8)
        elif rng.random() < 0.3:
            hu += self._noise(rng, hu.shape) * np.float32(rng.uniform(0, 15))
        hu += np.float32(rng.normal(0, 12))
        return _flipped(rng, Patch(hu, *centre_maps(grid, kept, STRIDE), halved(inside)))

    def _somewhere(self, rng: np.random.Generator, background: Background) -> tuple[slice, slice, slice]:
        """A box of this source's size, most often in a lung or at its border, away from known lesions."""
        size, shape = self._size, background.hu.shape
        for _ in range(20):
            where = rng.random()
            if where < 0.78:
                if background.nodules and where < 0.4:
                    own = background.nodules[int(rng.integers(len(background.nodules)))]
                    mm = np.array(own.center_mm[::-1])
                elif where < 0.26:
                    mm = np.array(attached_place(rng, background.depth, 12.0)[::-1])
                else:
                    inside = np.argwhere(background.depth.values > (0 if where < 0.65 else -12))
                    coarse = inside[rng.integers(len(inside))]
                    mm = coarse * background.depth.grid.spacing_mm + background.depth.grid.origin_mm
                middle = np.rint((mm - background.grid.origin_mm) / SPACING_MM).astype(int)
                middle += rng.integers(-size // 4, size // 4 + 1, 3)
            else:
                middle = rng.integers(0, shape)
            start = np.clip(middle - size // 2, 0, np.maximum(np.array(shape) - size, 0))
            box = tuple(slice(int(a), int(a) + size) for a in start)
            grid = background.grid.part((box[0], box[1], box[2]))
            if all(_clear(grid, point, radius) for point, radius in background.kept_clear):
                break
        return box[0], box[1], box[2]

    def _noise(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        grain = self._grains[int(rng.integers(len(self._grains)))]
        start = [int(rng.integers(0, g - s + 1)) for g, s in zip(grain.shape, shape, strict=True)]
        cut = grain[tuple(slice(a, a + s) for a, s in zip(start, shape, strict=True))]
        return cut if rng.random() < 0.5 else cut[::-1]


def _as_drawn(nodule: Nodule, drawn: Drawn, grid: Grid) -> Nodule | None:
    """The nodule with the centre and diameter of what of it lies in the lung; None where too little does."""
    volume = float(drawn.filled.sum()) * grid.voxel_mm3
    if volume < 0.25 * np.pi / 6 * nodule.diameter_mm**3:
        return None
    axes = grid.part(drawn.box).axes
    z, y, x = (float((axis * drawn.filled).sum() / drawn.filled.sum()) for axis in axes)
    return replace(nodule, center_mm=(x, y, z), diameter_mm=float((6 * volume / np.pi) ** (1 / 3)))


def _sphere(nodule: Nodule, grid: Grid) -> Array:
    """The part of each voxel of ``grid`` within the nodule's diameter."""
    axes = zip(grid.axes, nodule.center_mm[::-1], strict=True)
    away = np.sqrt(sum((axis - at) ** 2 for axis, at in axes))
    return coverage(np.float32(nodule.diameter_mm / 2) - away, SPACING_MM)


def _grain(rng: np.random.Generator) -> Array:
    """A block of unit noise of some scan."""
    grid = Grid.centred((80, 80, 80), (SPACING_MM,) * 3)
    noise = Scan.drawn(rng).grained(np.zeros(grid.shape, np.float32), grid, rng)
    return (noise / noise.std()).astype(np.float32)


def _clear(grid: Grid, point: Point, radius: float) -> bool:
    low = np.array(grid.origin_mm)
    high = low + np.array(grid.shape) * grid.spacing_mm
    nearest = np.clip(np.array(point[::-1]), low, high)
    return bool(np.linalg.norm(nearest - np.array(point[::-1])) > radius)


def _recipes(rng: np.random.Generator, background: Background, grid: Grid) -> list[Nodule]:
    """Nodules for a patch: sizes of the clinic, with more of the small and the large than it sees."""
    placed = list(background.nodules)
    z, y, x = grid.axes
    points = np.stack(np.broadcast_arrays(x, y, z), -1)[2::4, 2::4, 2::4].reshape(-1, 3)
    depth = background.depth.at(points)
    for _ in range(int(rng.choice([0, 1, 2, 3], p=[0.22, 0.38, 0.25, 0.15]))):
        diameter = None
        if rng.random() < 0.5:
            diameter = float(np.exp(rng.uniform(np.log(3.2), np.log(80))))
        recipe = random_nodule(rng, (0, 0, 0), diameter)
        least, most = drawn_depths(rng, recipe.diameter_mm)
        room = np.flatnonzero((depth > least) & (depth < most))
        if not len(room):
            continue
        at = points[room[rng.integers(len(room))]] + rng.uniform(-3, 3, 3)
        center = (float(at[0]), float(at[1]), float(at[2]))
        if all(
            np.linalg.norm(np.subtract(center, o.center_mm)) > (o.diameter_mm + recipe.diameter_mm) / 2 + 4
            for o in placed
        ):
            placed.append(replace(recipe, center_mm=center))
    return placed[len(background.nodules) :]


def _flipped(rng: np.random.Generator, patch: Patch) -> Patch:
    axes = tuple(int(a) for a in np.flatnonzero(rng.random(3) < (0.15, 0.25, 0.5)))
    parts = (patch.hu, patch.heat, patch.log_diameter, patch.sized, patch.inside)
    return Patch(*(np.ascontiguousarray(np.flip(p, axes)) for p in parts))


def scaled(hu: npt.NDArray[np.floating]) -> Array:
    """HU as the detector takes them: clipped to [-1024, 400], then to about [-1, 1]."""
    return ((np.clip(hu, -1024, 400) + 312) / 712).astype(np.float32)
