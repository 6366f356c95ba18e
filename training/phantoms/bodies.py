"""A body CT with its lesions: the trunk of a patient, or a real scan, with lesions drawn into it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from inference.findings import Mask, Point
from training.phantoms.abdomen import Abdomen, abdomen_anatomy
from training.phantoms.acquisition import Scan, stored
from training.phantoms.fields import Array, Field, Grid, merged
from training.phantoms.hosts import SUBSTRATES, Hosts, phantom_hosts
from training.phantoms.masses import SITES, Mass, Site, draw_mass, random_mass
from training.phantoms.nodules import Drawn, Nodule, draw_nodule, random_nodule
from training.phantoms.trunk import Phase, render_trunk

Recipe = Mass | Nodule
_FINEST_STEP_MM = 2.0
_LEAST_SHARE = 0.4


@dataclass(frozen=True, eq=False)
class Placed:
    """A lesion as it was drawn: ``share`` is the part of each voxel of ``box`` that it fills. ``site`` is
    None in a scan whose organs are not known."""

    recipe: Recipe
    site: Site | None
    center_mm: Point
    diameter_mm: float
    box: tuple[slice, slice, slice]
    share: Array

    @property
    def malignant(self) -> bool:
        return self.recipe.malignant


@dataclass(frozen=True, eq=False)
class BodyLesion:
    """What is true of a lesion on the grid of a phantom."""

    site: Site
    malignant: bool
    center_mm: Point
    diameter_mm: float
    volume_mm3: float
    mask: Mask
    recipe: Recipe


@dataclass(frozen=True, eq=False)
class BodyPhantom:
    """voxels: HU, int16, (slices, rows, columns). affine: (slice, row, column, 1) to LPS mm."""

    voxels: npt.NDArray[np.int16]
    affine: npt.NDArray[np.float64]
    lesions: tuple[BodyLesion, ...]
    phase: Phase


def random_lesions(
    rng: np.random.Generator, count: int, sites: Sequence[Site] = SITES
) -> list[tuple[Site, Recipe]]:
    """Sites and recipes from ``rng`` alone and nothing of the anatomy; their places are still open."""
    drawn: list[tuple[Site, Recipe]] = []
    for _ in range(count):
        site = sites[int(rng.integers(len(sites)))]
        kinds = SUBSTRATES[site]
        substrate = kinds[int(rng.choice(len(kinds), p=[share for _, share in kinds]))][0]
        mass = random_mass(rng, site, substrate)
        nodule = random_nodule(rng, (0.0, 0.0, 0.0))
        drawn.append(
            (site, replace(nodule, diameter_mm=max(nodule.diameter_mm, 4.0)) if site == "lung" else mass)
        )
    return drawn


def place(
    hu: Array,
    grid: Grid,
    wanted: Sequence[tuple[Site, Recipe]],
    hosts: Hosts,
    rng: np.random.Generator,
    *,
    lungs: Field | None = None,
    blood_hu: float = 0.0,
    tissue_hu: float = 0.0,
    known_sites: bool = True,
) -> list[Placed]:
    """Draw lesions into ``hu`` in place, each where its host is and apart from the others; one that finds no
    room is left out.

    lungs: that of a phantom; None in a scan. blood_hu, tissue_hu: what contrast adds to them.
    known_sites: whether ``hosts`` knows organs.
    """
    placed: list[Placed] = []
    for site, recipe in wanted:
        substrate = recipe.substrate if isinstance(recipe, Mass) else "organ"
        points = hosts(rng, site, substrate)
        for point in points[:12]:
            center = (float(point[0]), float(point[1]), float(point[2]))
            if any(
                np.linalg.norm(np.subtract(center, other.center_mm))
                < (other.diameter_mm + recipe.diameter_mm) / 2 + 8
                for other in placed
            ):
                continue
            there = replace(recipe, center_mm=center)
            one = _drawn(hu, grid, site, there, lungs, blood_hu, tissue_hu)
            if one is not None:
                known = known_sites or site in ("lung", "bone")
                placed.append(one if known else replace(one, site=None))
                break
    return placed


def _drawn(
    hu: Array, grid: Grid, site: Site, recipe: Recipe, lungs: Field | None, blood_hu: float, tissue_hu: float
) -> Placed | None:
    around = grid.box_about(recipe.center_mm, recipe.diameter_mm * 0.95 + 6)
    before = hu[around].copy()
    if isinstance(recipe, Nodule):
        drawn = draw_nodule(hu, grid, recipe, lungs, blood_hu)
    else:
        middle = hu[grid.box_about(recipe.center_mm, 3.0)]
        recipe = replace(recipe, host_hu=float(np.median(middle)))
        drawn = draw_mass(hu, grid, recipe, tissue_hu)
    volume = float(drawn.filled.sum()) * grid.voxel_mm3
    if volume < _LEAST_SHARE * np.pi / 6 * recipe.diameter_mm**3 or drawn.filled.max() < 0.6:
        hu[around] = before
        return None
    axes = grid.part(drawn.box).axes
    z, y, x = (float((axis * drawn.filled).sum() / drawn.filled.sum()) for axis in axes)
    diameter = float((6 * volume / np.pi) ** (1 / 3))
    return Placed(recipe, site, (x, y, z), diameter, drawn.box, drawn.filled)


def body_phantom(
    seed: int, grid: Grid, count: int, *, scan: Scan, sites: Sequence[Site] = SITES
) -> BodyPhantom:
    """A body CT of patient ``seed`` on ``grid`` with up to ``count`` lesions of ``sites``.

    Anatomy, labels and noise come from generators of their own.
    """
    patient = abdomen_anatomy(seed)
    labels, places, phases, noise = (np.random.default_rng([seed, stream]) for stream in (53, 54, 55, 56))
    phase = Phase.drawn(phases)
    finer = int(np.ceil(grid.spacing_mm[0] / _FINEST_STEP_MM))
    thin = grid.sliced(finer)
    hu = render_trunk(patient, thin, phase)
    placed = place_in(patient, hu, thin, random_lesions(labels, count, sites), places, phase)
    scanned = scan.acquire(merged(hu, finer), grid, noise)
    truths = (_truth(one, grid, finer) for one in placed)
    return BodyPhantom(stored(scanned), grid.affine, tuple(t for t in truths if t is not None), phase)


def place_in(
    patient: Abdomen,
    hu: Array,
    grid: Grid,
    wanted: Sequence[tuple[Site, Recipe]],
    rng: np.random.Generator,
    phase: Phase,
) -> list[Placed]:
    """``place`` in a phantom rendered as ``hu`` in ``phase``."""
    hosts = phantom_hosts(patient, hu, grid)
    lungs = patient.chest.fields["lungs"]
    return place(hu, grid, wanted, hosts, rng, lungs=lungs, blood_hu=phase.arteries, tissue_hu=phase.wall)


def _truth(one: Placed, grid: Grid, finer: int) -> BodyLesion | None:
    """``one`` on the slices of ``grid``, each of which is the mean of ``finer`` thin ones."""
    first, last = one.box[0].start // finer, -(-one.box[0].stop // finer)
    shares = np.zeros(((last - first) * finer, *one.share.shape[1:]), np.float32)
    start = one.box[0].start - first * finer
    shares[start : start + len(one.share)] = one.share
    extent = Drawn((slice(first, last), one.box[1], one.box[2]), merged(shares, finer)).extent(grid)
    if extent is None or one.site is None:
        return None
    fields: dict[str, Any] = {
        name: getattr(extent, name) for name in ("center_mm", "diameter_mm", "volume_mm3", "mask")
    }
    return BodyLesion(site=one.site, malignant=one.malignant, recipe=one.recipe, **fields)
