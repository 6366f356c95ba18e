"""Lesions that take up FDG: cancer, and the inflammation that looks like it.

Cancers are on average larger, hotter, less even and more lobulated; granuloma, pneumonia and reactive nodes
overlap with them in every one of these, so that no reader of images could part them fully. Where a lesion
lies tells nothing of what it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from inference.findings import Point
from training.phantoms.anatomy import Anatomy
from training.phantoms.fields import Array, Field, Grid, coverage

Site = Literal["lung", "node", "bone", "soft tissue"]
SITES: tuple[Site, ...] = ("lung", "node", "bone", "soft tissue")
_SHARE = (0.45, 0.27, 0.14, 0.14)


@dataclass(frozen=True)
class HotLesion:
    """A lesion's recipe; the same recipe renders to the same lesion on any grid.

    diameter_mm: of the sphere with its volume. suv: of its living part. necrosis: radius of its dead core as
    a share of its own. unevenness: relative deviation of uptake within. margin_mm: how soft its border is.
    hu: density on CT, None where the CT shows nothing. seed: of its shape and texture.
    """

    center_mm: Point
    diameter_mm: float
    suv: float
    malignant: bool
    site: Site
    lobulation: float = 0.2
    necrosis: float = 0.0
    unevenness: float = 0.15
    margin_mm: float = 1.0
    hu: float | None = 35.0
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Shape:
    """Where a lesion lies on a grid: ``filled`` is the part of each voxel of ``box`` that it fills,
    ``living`` that which takes up tracer, ``texture`` of mean 1."""

    box: tuple[slice, slice, slice]
    filled: Array
    living: Array
    texture: Array


def shape(lesion: HotLesion, grid: Grid, lungs: Field) -> Shape:
    """A lesion in the lung ends at the pleura; the others have no border but their own."""
    box = grid.box_about(lesion.center_mm, lesion.diameter_mm * 0.85 + lesion.margin_mm + 4)
    here = grid.part(box)
    edge = float(np.mean(grid.spacing_mm))
    rng = np.random.default_rng([lesion.seed, 81])
    ratios = np.exp(rng.normal(0, 0.15, 3))
    ratios /= np.prod(ratios) ** (1 / 3)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    cx, cy, cz = lesion.center_mm
    z, y, x = here.axes
    away = np.stack(np.broadcast_arrays(z - cz, y - cy, x - cx), -1).astype(np.float32)
    q = away @ (turn / ratios).astype(np.float32)
    length = np.maximum(np.sqrt((q**2).sum(-1)), 1e-3)
    waves = rng.normal(0, 2.2, (8, 3)).astype(np.float32)
    phases = rng.uniform(0, 2 * np.pi, 8).astype(np.float32)
    bumps = np.cos((q / length[..., None]) @ waves.T + phases).mean(-1)
    radius = lesion.diameter_mm / 2
    signed = np.float32(radius) * (1 + np.float32(0.1 + 0.9 * lesion.lobulation) * bumps) - length
    filled = coverage(signed, max(edge, lesion.margin_mm))
    if lesion.site == "lung" and filled.size:
        filled = filled * coverage(lungs.on(here) + np.float32(1.0), edge)
    core = coverage(signed - np.float32(radius * (1 - lesion.necrosis)), max(edge, 2.0))
    living = filled * (1 - core) if lesion.necrosis else filled
    ripples = rng.normal(0, 0.35, (10, 3)).astype(np.float32)
    offsets = rng.uniform(0, 2 * np.pi, 10).astype(np.float32)
    pattern = np.cos(away @ ripples.T + offsets).sum(-1) / np.float32(np.sqrt(5))
    return Shape(box, filled, living, np.exp(np.float32(lesion.unevenness) * pattern))


def random_lesions(anatomy: Anatomy, count: int, seed: int) -> list[HotLesion]:
    """``count`` lesions apart from each other. What they are follows from one stream of ``seed``, where they
    lie from another, and neither from the anatomy's; some come as a pair of either side."""
    labels, places = np.random.default_rng([seed, 82]), np.random.default_rng([seed, 83])
    placed: list[HotLesion] = []
    for _ in range(count):
        recipe = _recipe(labels)
        paired = recipe.site == "node" and labels.random() < (0.1 if recipe.malignant else 0.3)
        placed += _placed(recipe, anatomy, places, placed)
        if paired and placed:
            x, y, z = placed[-1].center_mm
            twin = replace(recipe, seed=recipe.seed + 1, suv=recipe.suv * float(labels.uniform(0.8, 1.2)))
            placed += _placed(twin, anatomy, places, placed, (-x, y, z))
    return placed


def _recipe(rng: np.random.Generator) -> HotLesion:
    malignant = bool(rng.random() < 0.5)
    site = SITES[int(rng.choice(4, p=_SHARE))]
    size = rng.lognormal(np.log(19), 0.5) if malignant else rng.lognormal(np.log(13.5), 0.42)
    suv = rng.lognormal(np.log(8.2), 0.52) if malignant else rng.lognormal(np.log(4.3), 0.45)
    soft_border = bool(rng.random() < (0.05 if malignant else 0.22)) and site == "lung"
    if soft_border:
        size *= 1.6
    size = float(np.clip(size * (0.85 if site in ("node", "bone") else 1.0), 8, 85))
    dead = rng.random() < (0.4 if malignant else 0.12) and size > 24
    return HotLesion(
        (0.0, 0.0, 0.0),
        size,
        float(np.clip(suv, 2.4, 40)),
        malignant,
        site,
        lobulation=float(rng.beta(2.4, 2.6) if malignant else rng.beta(1.3, 4.0)),
        necrosis=float(rng.uniform(0.3, 0.65)) if dead else 0.0,
        unevenness=float(rng.uniform(0.08, 0.35) if malignant else rng.uniform(0.03, 0.22)),
        margin_mm=float(rng.uniform(8, 18)) if soft_border else float(rng.uniform(0.5, 3)),
        hu=_density(rng, malignant, site, soft_border),
        seed=int(rng.integers(2**31)),
    )


def _density(rng: np.random.Generator, malignant: bool, site: Site, soft_border: bool) -> float | None:
    if soft_border:
        return float(rng.uniform(-450, -30))
    calcified = rng.random() < (0.05 if malignant else 0.25)
    if site == "bone":
        kinds = (float(rng.normal(45, 15)), float(rng.uniform(350, 650)), None)
        return kinds[int(rng.choice(3, p=(0.45, 0.25, 0.3) if malignant else (0.2, 0.5, 0.3)))]
    if site == "soft tissue":
        return float(rng.normal(38, 12)) if rng.random() < 0.6 else None
    return float(rng.uniform(130, 450)) if calcified else float(rng.normal(36, 10))


def _placed(
    recipe: HotLesion,
    anatomy: Anatomy,
    rng: np.random.Generator,
    others: Sequence[HotLesion],
    near: Point | None = None,
) -> list[HotLesion]:
    """The recipe at a place its site allows, clear of the others; nothing where there is no room."""
    field = anatomy.fields["lungs"].grid
    room = np.argwhere(_room(anatomy, recipe))
    if not len(room):
        return []
    mm = (room * np.array(field.spacing_mm) + field.origin_mm)[:, ::-1]
    if near is not None:
        mm = mm[np.linalg.norm(mm - near, axis=1) < 12]
    for _ in range(30 if len(mm) else 0):
        x, y, z = (float(v) for v in mm[rng.integers(len(mm))] + rng.uniform(-2, 2, 3))
        if all(
            np.linalg.norm(np.subtract((x, y, z), o.center_mm))
            > (o.diameter_mm + recipe.diameter_mm) / 2 + 10
            for o in others
        ):
            return [replace(recipe, center_mm=(x, y, z))]
    return []


def _room(anatomy: Anatomy, recipe: HotLesion) -> npt.NDArray[np.bool_]:
    """Where on the anatomy's own grid such a lesion may have its centre."""
    fields = {name: field.values for name, field in anatomy.fields.items()}
    z, _, x = anatomy.fields["lungs"].grid.axes
    if recipe.site == "lung":
        return fields["lungs"] > min(0.3 * recipe.diameter_mm, 12)
    if recipe.site == "node":
        between = (fields["cavity"] > 4) & (fields["lungs"] < -2) & (fields["heart"] < -7)
        return between & (fields["spine"] < -8) & (z > -25) & (np.abs(x) < 55)
    if recipe.site == "bone":
        return (fields["spine"] > 4) & (z > -185) & (z < 150)
    wall = (fields["muscle"] > 8) & (fields["cavity"] < -10) & (z < 150) & (z > -180)
    return (fields["liver"] > 14) | (fields["spleen"] > 10) | (wall & (fields["spine"] < -12))
