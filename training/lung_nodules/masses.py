"""Large candidates for the second stage: masses, and what a search for masses marks where there are none.

The detector looks for large things on a grid twice as coarse, where a heart, the dome of a liver or a
vertebra is as round as a mass. Lesion-free chests are scanned whole, with masses drawn at the border of their
lungs, and searched as the reader searches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from inference.findings import Point
from inference.readers.candidates import Candidate as Place
from inference.volume import Volume
from training.lung_nodules.backgrounds import Background
from training.lung_nodules.crops import SHAPE, Candidate, candidate, crop_spacing, cut, negative
from training.lung_nodules.mining import large_places, places
from training.lung_nodules.networks import Detector
from training.lung_nodules.sites import attached_place
from training.phantoms.acquisition import Scan, as_series
from training.phantoms.fields import Array, Field, Grid
from training.phantoms.nodules import NODULE_TYPES, Nodule, draw_nodule, random_nodule

_SIZES_MM = (14.0, 75.0)
_LEAST_MM = 10.0
_MOST_NEGATIVES = 16
_BEYOND = 0.15
_REACH_MM, _REACH = 10.0, 0.75
_LEAST_SHOWN = 0.6


@dataclass(frozen=True, eq=False)
class _Mass:
    """filled: the part of each of the scan's voxels within the mass, where ``center_mm`` and ``diameter_mm``
    say what of it there is."""

    kind: str
    center_mm: Point
    diameter_mm: float
    filled: Volume


def large_candidates(detector: Detector, background: Background, scans: int, seed: int) -> list[Candidate]:
    """Candidates of at least 10 mm in ``scans`` scans of a chest, up to four masses in each.

    A mass is cut about every mark on it and about where it truly lies, whether it is marked or not. Of its
    malignancy nothing is learned, which is drawn without regard to its size.
    """
    out: list[Candidate] = []
    for number in range(scans):
        rng = np.random.default_rng([seed, number, 86])
        volume, masses = _scanned(background, rng)
        hu = volume.voxels.astype(np.float32)
        marks = [m for m in places(detector, hu, background.grid) if m.diameter_mm >= _LEAST_MM]
        marks += large_places(detector, hu, background.grid)
        for mass in masses:
            on = [m for m in marks if _apart(m, mass) < mass.diameter_mm / 2]
            looks = [(m.center_mm, m.diameter_mm) for m in on] + 2 * [(mass.center_mm, mass.diameter_mm)]
            out += [_positive(volume, mass, *look, background.real, rng) for look in looks]
        off = [
            m for m in _in_reach(marks, background) if all(_apart(m, one) > _room(m, one) for one in masses)
        ]
        for mark in off[:_MOST_NEGATIVES]:
            out += [
                _negative(volume, mark, share, background.real, rng) for share in (1.0, rng.uniform(0.4, 1))
            ]
    return out


def _scanned(background: Background, rng: np.random.Generator) -> tuple[Volume, list[_Mass]]:
    grid = background.grid
    hu = background.hu.astype(np.float32)
    drawn = []
    for nodule in _masses(rng, background):
        lungs = None if background.real else _widened(background.depth, nodule.diameter_mm, rng)
        mass = draw_shown(hu, grid, nodule, lungs, background.contrast_hu)
        if mass is not None:
            drawn.append(mass)
    if not background.real:
        hu = Scan.drawn(rng).acquire(hu, grid, rng)
    return as_series(hu, grid), drawn


def draw_shown(
    hu: Array, grid: Grid, nodule: Nodule, lungs: Field | None, contrast_hu: float
) -> _Mass | None:
    """Draw a mass into ``hu`` in place; None, and ``hu`` as it was, where most of it would be covered."""
    with_it = hu.copy()
    part = draw_nodule(with_it, grid, nodule, lungs, contrast_hu)
    extent = part.extent(grid)
    if extent is None or extent.diameter_mm < _LEAST_SHOWN * nodule.diameter_mm:
        return None
    hu[part.box] = with_it[part.box]
    filled = np.zeros(hu.shape, np.float32)
    filled[part.box] = part.filled
    shares = Volume(filled, grid.affine, "mass", "mass", (None,) * len(filled))
    return _Mass(nodule.kind, extent.center_mm, extent.diameter_mm, shares)


def _widened(lungs: Field, diameter_mm: float, rng: np.random.Generator) -> Field:
    """The pleura as a mass respects it: every third grows beyond it."""
    beyond = rng.uniform(0.05, _BEYOND) * diameter_mm if rng.random() < 1 / 3 else 0.0
    return replace(lungs, values=lungs.values + np.float32(beyond))


def _masses(rng: np.random.Generator, background: Background) -> list[Nodule]:
    placed: list[Nodule] = []
    for _ in range(int(rng.integers(5))):
        diameter = float(np.exp(rng.uniform(*np.log(_SIZES_MM))))
        center = attached_place(rng, background.depth, diameter)
        x, y, z = (float(v) for v in np.add(center, rng.normal(0, 0.15 * diameter, 3)))
        one = random_nodule(rng, (x, y, z), diameter)
        known = [(o.center_mm, o.diameter_mm / 2) for o in placed] + list(background.kept_clear)
        if all(np.linalg.norm(np.subtract(one.center_mm, c)) > r + diameter / 2 + 8 for c, r in known):
            placed.append(one)
    return placed


def _apart(mark: Place, mass: _Mass) -> float:
    return float(np.linalg.norm(np.subtract(mark.center_mm, mass.center_mm)))


def _room(mark: Place, mass: _Mass) -> float:
    """How far from a mass a mark has to lie to be none of it."""
    return (mark.diameter_mm + mass.diameter_mm) / 2


def _in_reach(marks: Sequence[Place], background: Background) -> list[Place]:
    """Those that the reader would look at and that touch nothing that is kept clear."""
    if not marks:
        return []
    depth = background.depth.at([m.center_mm for m in marks])
    return [
        m
        for m, mm in zip(marks, depth, strict=True)
        if mm > -max(_REACH_MM, _REACH * m.diameter_mm)
        and all(
            np.linalg.norm(np.subtract(m.center_mm, c)) > r + m.diameter_mm / 2
            for c, r in background.kept_clear
        )
    ]


def _positive(
    volume: Volume, mass: _Mass, center_mm: Point, diameter_mm: float, real: bool, rng: np.random.Generator
) -> Candidate:
    spacing = crop_spacing(diameter_mm * float(np.exp(rng.normal(0, 0.2))))
    center = np.add(center_mm, rng.normal(0, 0.06 * diameter_mm, 3))
    hu = cut(volume, center, spacing)
    mask: Array = np.nan_to_num(cut(mass.filled, center, spacing))
    mask[np.isnan(hu)] = 0
    return candidate(hu, mask.reshape(SHAPE), spacing, 1.0, -1.0, NODULE_TYPES.index(mass.kind), real)


def _negative(volume: Volume, mark: Place, share: float, real: bool, rng: np.random.Generator) -> Candidate:
    spacing = crop_spacing(mark.diameter_mm * share * float(np.exp(rng.normal(0, 0.15))))
    center = np.add(mark.center_mm, rng.normal(0, 0.05 * mark.diameter_mm, 3))
    return negative(cut(volume, center, spacing), spacing, real=real)
