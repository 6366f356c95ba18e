"""One PET/CT phantom with its truth: a chest's activity as a PET camera sees it, and its CT beside it.

The PET is the average over a breathing cycle, the CT one moment of it; both are renderings of the anatomy
that the chest CT and the radiograph are made from.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Self

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from inference.findings import Point
from training.phantoms.anatomy import FIELD_GRID, chest_anatomy
from training.phantoms.fields import Array, Grid
from training.phantoms.hot_lesions import HotLesion, Shape, random_lesions, shape
from training.phantoms.render import render
from training.phantoms.uptake import Physiology, activity, into_ct

_FWHM = 2.355
_GRIDS = ((3.27, 4.69, 4.69), (3.0, 4.07, 4.07), (5.0, 4.07, 4.07), (4.0, 4.0, 4.0), (3.27, 3.65, 3.65))
_SHIFTED_GRIDS = ((4.25, 5.3, 5.3), (2.0, 3.2, 3.2))


@dataclass(frozen=True)
class Camera:
    """How a PET is acquired and reconstructed.

    spacing_mm: (slice, row, column). resolution_mm: FWHM of the detectors' point spread. filter_mm: FWHM of
    the filter laid over the noise. noise: standard deviation in tissue of SUV 1, relative; it grows as the
    square root of uptake. breath_mm: how far the diaphragm moves. ct_offset_mm: where between the ends of
    that the CT was taken, from their middle.
    """

    spacing_mm: tuple[float, float, float] = (4.0, 4.0, 4.0)
    resolution_mm: float = 5.0
    filter_mm: float = 4.0
    noise: float = 0.12
    breath_mm: float = 10.0
    ct_offset_mm: float = 0.0

    @classmethod
    def drawn(cls, rng: np.random.Generator, shifted: bool = False) -> Self:
        """A camera as sites have them; ``shifted`` lies outside: older, coarser or sharper, noisier."""
        grids = _SHIFTED_GRIDS if shifted else _GRIDS
        z, y, x = grids[int(rng.integers(len(grids)))]
        breath = float(np.clip(rng.normal(10, 4), 1, 22)) * (1.25 if shifted else 1)
        return cls(
            (z, y, x),
            resolution_mm=float(rng.choice([4.0, 7.0]) if shifted else rng.uniform(4.3, 6.2)),
            filter_mm=float(rng.uniform(3, 6)),
            noise=float(rng.uniform(0.2, 0.3) if shifted else rng.uniform(0.06, 0.2)),
            breath_mm=breath,
            ct_offset_mm=float(rng.uniform(-0.5, 0.5)) * breath,
        )


@dataclass(frozen=True, eq=False)
class TrueLesion:
    """What is true of a lesion in the PET: centre over the breathing cycle, LPS mm; ``volume_mm3`` of what
    takes up tracer, without blur; ``suv`` the mean there before the camera; ``contrast`` that over what lies
    round it."""

    recipe: HotLesion
    center_mm: Point
    volume_mm3: float
    suv: float
    contrast: float


@dataclass(frozen=True, eq=False)
class PetCtPhantom:
    """pet: SUV, float32; ct: HU, int16, both (slices, rows, columns) with affines to LPS mm."""

    pet: npt.NDArray[np.float32]
    pet_affine: npt.NDArray[np.float64]
    ct: npt.NDArray[np.int16]
    ct_affine: npt.NDArray[np.float64]
    lesions: tuple[TrueLesion, ...]


def pet_ct_phantom(
    anatomy_seed: int,
    seed: int,
    lesions: int | list[HotLesion] | None = None,
    *,
    shifted: bool = False,
    drawn: bool = True,
) -> PetCtPhantom:
    """A PET/CT from somewhere in the upper abdomen to the neck, arms beside it out of the field.

    anatomy_seed: of the body. seed: of physiology, camera and noise, and by streams of their own of what the
    lesions are and where. lesions: how many, or the recipes; None for none to five. shifted: another
    camera and another physiology. drawn: False leaves the lesions out and keeps their truth, for a test that
    nothing but the lesions tells what they are.
    """
    anatomy = chest_anatomy(anatomy_seed)
    rng = np.random.default_rng([seed, 91])
    physiology = Physiology.drawn(rng, anatomy, shifted)
    camera = Camera.drawn(rng, shifted)
    fine = _field_of_view(rng)
    low, high = fine.origin_mm[0], fine.origin_mm[0] + fine.shape[0] * fine.spacing_mm[0]
    count = int(np.random.default_rng([seed, 92]).choice(6, p=[0.1, 0.2, 0.25, 0.2, 0.15, 0.1]))
    recipes = lesions if isinstance(lesions, list) else random_lesions(anatomy, lesions or count, seed)
    recipes = [r for r in recipes if low + 12 < r.center_mm[2] < high - 12]
    if lesions == 0:
        recipes = []
    uptake = activity(anatomy, fine, physiology)
    motion = breathing(fine, camera)
    shapes = [shape(r, fine, anatomy.fields["lungs"]) for r in recipes]
    truths = tuple(_truth(r, s, uptake, fine, motion) for r, s in zip(recipes, shapes, strict=True))
    first = round((low - FIELD_GRID.origin_mm[0]) / fine.spacing_mm[0])
    hu = _bare_ct(anatomy_seed)[first : first + fine.shape[0]].copy()
    into_ct(hu, fine, physiology)
    if drawn:
        for recipe, one in zip(recipes, shapes, strict=True):
            part = uptake[one.box]
            part += one.filled * (np.minimum(part, 0.6) - part) + one.living * (
                np.float32(recipe.suv) * one.texture - np.minimum(part, 0.6)
            )
            np.maximum(part, 0, out=part)
            if recipe.hu is not None:
                ct = hu[one.box]
                ct += one.filled * (np.float32(recipe.hu) - ct)
    middle = (low + high) / 2 - fine.spacing_mm[0] / 2
    pet_grid = Grid.centred(_shape_of(fine, camera), camera.spacing_mm, (middle, 0.0, 0.0))
    pet = acquired(np.tensordot(motion, uptake, (1, 0)), fine, pet_grid, camera, rng)
    hu += ndimage.gaussian_filter(rng.standard_normal(hu.shape, np.float32), 0.5) * np.float32(
        rng.uniform(8, 30)
    )
    stored = np.clip(np.rint(hu), -1024, 3071).astype(np.int16)
    known = tuple(t for t in truths if t is not None)
    return PetCtPhantom(pet, pet_grid.affine, stored, fine.affine, known)


@lru_cache(maxsize=2)
def _bare_ct(anatomy_seed: int) -> Array:
    return render(chest_anatomy(anatomy_seed), FIELD_GRID)


def _field_of_view(rng: np.random.Generator) -> Grid:
    """A part of the anatomy's own grid, most often down to the kidneys."""
    slices, step = FIELD_GRID.shape[0], FIELD_GRID.spacing_mm[0]
    first = int(rng.choice([rng.integers(0, 4), rng.integers(0, 18)]))
    last = slices - int(rng.integers(0, 18))
    whole = FIELD_GRID
    origin = (whole.origin_mm[0] + first * step, *whole.origin_mm[1:])
    return Grid((last - first, *whole.shape[1:]), whole.spacing_mm, origin)


def breathing(grid: Grid, camera: Camera) -> Array:
    """(slice, slice): how the slices at rest add up to those averaged over a breath. The diaphragm and what
    lies below moves most, the apex not at all; more time is spent near the end of breathing out."""
    z = grid.axes[0].ravel().astype(np.float64)
    share = np.clip((110 - z) / 170, 0, 1)
    out = np.zeros((len(z), len(z)))
    for phase, weight in zip(
        np.linspace(-0.5, 0.5, 7), (0.24, 0.2, 0.16, 0.13, 0.11, 0.09, 0.07), strict=True
    ):
        moved = z - (phase * camera.breath_mm - camera.ct_offset_mm) * share
        at = np.clip((moved - z[0]) / grid.spacing_mm[0], 0, len(z) - 1.001)
        left = at.astype(int)
        rows = np.arange(len(z))
        np.add.at(out, (rows, left), weight * (1 - (at - left)))
        np.add.at(out, (rows, left + 1), weight * (at - left))
    return out.astype(np.float32)


def acquired(uptake: Array, fine: Grid, grid: Grid, camera: Camera, rng: np.random.Generator) -> Array:
    """Activity on ``fine`` as the camera gives it on ``grid``: blurred, counted (Poisson), filtered."""
    blurred = ndimage.gaussian_filter(uptake, [camera.resolution_mm / _FWHM / s for s in fine.spacing_mm])
    at = [
        (o + s * np.arange(k) - fo) / fs
        for o, s, k, fo, fs in zip(
            grid.origin_mm, grid.spacing_mm, grid.shape, fine.origin_mm, fine.spacing_mm, strict=True
        )
    ]
    there = ndimage.map_coordinates(blurred, np.meshgrid(*at, indexing="ij"), order=1, mode="nearest")
    sigma = [camera.filter_mm / _FWHM / s for s in grid.spacing_mm]
    kept = float(np.prod([_kept(s) for s in sigma]))
    counts = kept / camera.noise**2
    seen = rng.poisson(np.maximum(there, 0.02) * counts) / counts
    return ndimage.gaussian_filter(seen, sigma).astype(np.float32)


def _kept(sigma: float) -> float:
    """The variance of white noise after a Gaussian of ``sigma`` voxels along one axis."""
    k = np.exp(-0.5 * (np.arange(-12, 13) / max(sigma, 1e-3)) ** 2)
    return float(((k / k.sum()) ** 2).sum())


def _shape_of(fine: Grid, camera: Camera) -> tuple[int, int, int]:
    z, y, x = (int(n * f / s) for n, f, s in zip(fine.shape, fine.spacing_mm, camera.spacing_mm, strict=True))
    return z, y, x


def _truth(recipe: HotLesion, drawn: Shape, uptake: Array, grid: Grid, motion: Array) -> TrueLesion | None:
    volume = float(drawn.living.sum()) * grid.voxel_mm3
    if volume < 30:
        return None
    profile = np.zeros(grid.shape[0], np.float32)
    profile[drawn.box[0]] = drawn.living.sum((1, 2))
    seen = motion @ profile
    z = float((seen * grid.axes[0].ravel()).sum() / seen.sum())
    here = grid.part(drawn.box)
    y, x = (float((axis * drawn.living).sum() / drawn.living.sum()) for axis in here.axes[1:])
    suv = float((drawn.living * drawn.texture).sum() / drawn.living.sum()) * recipe.suv
    around = float(np.median(uptake[drawn.box]))
    return TrueLesion(recipe, (x, y, z), volume, suv, suv / max(around, 0.1))
