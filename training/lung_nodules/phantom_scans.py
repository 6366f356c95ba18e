"""Phantom chests scanned whole and searched by the detector: candidates as the second stage meets them.

A crop that is rendered at its own resolution shows a small nodule sharper than any scan does. So the scans
here have the pixels and slices of a clinic's, and crops are cut from them about what the detector marked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from inference.findings import Point
from inference.readers.candidates import Candidate as Place
from inference.resample import crop_affine, resample
from inference.volume import Volume
from training.lung_nodules.backgrounds import SPACING_MM
from training.lung_nodules.crops import SHAPE, Candidate, candidate, crop_spacing, crop_steps, cut, negative
from training.lung_nodules.mining import places
from training.lung_nodules.networks import Detector
from training.lung_nodules.sites import with_attached
from training.phantoms.acquisition import Scan, as_series
from training.phantoms.anatomy import Anatomy, chest_anatomy
from training.phantoms.chest import random_nodules, truth
from training.phantoms.fields import Array, Field, Grid, merged
from training.phantoms.nodules import NODULE_TYPES, Lesion, Nodule, draw_nodule
from training.phantoms.render import render

_SLICES_MM, _SLICE_ODDS = (1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 5.0), (0.16, 0.16, 0.14, 0.24, 0.18, 0.09, 0.03)
_PIXELS_MM = (0.6, 1.4)
_ROWS_MM, _COLUMNS_MM, _HEIGHT_MM = 270.0, 356.0, 280.0
_FINEST_MM = 1.5
_MOST_VOXELS = 8_000_000
_LEAST_SLICES = 24
_REACH_MM = 10.0
_CLEAR_MM = 5.0
_ALWAYS_MM = 8.0


@dataclass(frozen=True, eq=False)
class Slab:
    """Part of a lesion-free chest, rendered once for many scans. hu: each slice of ``grid`` in ``finer``
    parts, before blur and noise. lungs: depth below the pleura in mm, of that part alone."""

    anatomy: Anatomy
    grid: Grid
    finer: int
    hu: Array
    contrast_hu: float
    lungs: Field

    @classmethod
    def drawn(cls, seed: int) -> Slab:
        """Of patient ``seed``: its spacing and which part of the chest it shows."""
        rng = np.random.default_rng([seed, 84])
        slice_mm = float(rng.choice(_SLICES_MM, p=_SLICE_ODDS))
        pixel_mm = float(rng.uniform(*_PIXELS_MM))
        finer = int(np.ceil(slice_mm / _FINEST_MM))
        rows, columns = round(_ROWS_MM / pixel_mm), round(_COLUMNS_MM / pixel_mm)
        most = max(_MOST_VOXELS // (rows * columns * finer), _LEAST_SLICES)
        slices = min(round(_HEIGHT_MM / slice_mm), most)
        room = max(_HEIGHT_MM - slices * slice_mm, 0.0) / 2
        middle = (float(rng.uniform(-room, room)), 0.0, 0.0)
        grid = Grid.centred((slices, rows, columns), (slice_mm, pixel_mm, pixel_mm), middle)
        contrast = float(rng.choice([0, rng.uniform(60, 260)], p=[0.6, 0.4]))
        anatomy = chest_anatomy(seed)
        hu = render(anatomy, grid.sliced(finer), contrast)
        return cls(anatomy, grid, finer, hu, contrast, _between(anatomy.fields["lungs"], grid))

    def scanned(self, nodules: Sequence[Nodule], rng: np.random.Generator) -> Volume:
        """A scan of it with nodules, its kernel, noise and motion drawn anew."""
        thin = self.grid.sliced(self.finer)
        drawn = self.hu.copy()
        for nodule in nodules:
            draw_nodule(drawn, thin, nodule, self.anatomy.fields["lungs"], self.contrast_hu)
        scan = replace(Scan.drawn(rng), thickness_mm=self.grid.spacing_mm[0], contrast_hu=self.contrast_hu)
        return as_series(scan.acquire(merged(drawn, self.finer), self.grid, rng), self.grid)


def searched(detector: Detector, seed: int, scans: int, nodules: int) -> list[Candidate]:
    """Candidates in ``scans`` scans of the chest of patient ``seed``, each with other ``nodules``, a third of
    them on the pleura.

    Every nodule that is marked is cut twice: about the mark, and about where it truly lies; one that is not,
    only if it is large, since the second stage never sees the others. What is marked and is no nodule is a
    negative.
    """
    slab = Slab.drawn(seed)
    out: list[Candidate] = []
    for number in range(scans):
        rng = np.random.default_rng([seed, number, 85])
        recipes = random_nodules(slab.anatomy, nodules, 10 * seed + number, slab.grid)
        recipes = with_attached(rng, slab.lungs, recipes, every=3)
        volume = slab.scanned(recipes, rng)
        marks = _marks(detector, volume)
        lesions = [(n, t) for n in recipes if (t := truth(slab.anatomy, slab.grid, n)) is not None]
        for nodule, lesion in lesions:
            mark = _mark_on(lesion, marks)
            if mark is not None:
                out.append(_positive(volume, slab, nodule, mark.center_mm, mark.diameter_mm, rng))
            if mark is not None or lesion.diameter_mm >= _ALWAYS_MM:
                out.append(_positive(volume, slab, nodule, lesion.center_mm, lesion.diameter_mm, rng))
        out += [_cut_negative(volume, m, rng) for m in _on_nothing(marks, [t for _, t in lesions], slab)]
    return out


def _between(field: Field, grid: Grid) -> Field:
    """The slices of a coarse field that lie in ``grid``."""
    z = field.grid.origin_mm[0] + field.grid.spacing_mm[0] * np.arange(field.grid.shape[0])
    low = grid.origin_mm[0]
    inside = np.flatnonzero((z >= low) & (z <= low + grid.spacing_mm[0] * (grid.shape[0] - 1)))
    box = (slice(int(inside[0]), int(inside[-1]) + 1), *(slice(0, n) for n in field.values.shape[1:]))
    return Field(field.values[box], field.grid.part((box[0], box[1], box[2])))


def _marks(detector: Detector, volume: Volume) -> list[Place]:
    even = resample(volume, SPACING_MM)
    return places(detector, even.voxels.astype(np.float32), Grid.of(even))


def _mark_on(lesion: Lesion, marks: Sequence[Place]) -> Place | None:
    reach = max(lesion.diameter_mm / 2, 2.5)
    near = (m for m in marks if np.linalg.norm(np.subtract(m.center_mm, lesion.center_mm)) < reach)
    return max(near, key=lambda m: m.score, default=None)


def _on_nothing(marks: Sequence[Place], lesions: Sequence[Lesion], slab: Slab) -> list[Place]:
    """Marks in the lungs or at their border that are well clear of every lesion."""
    if not marks:
        return []
    depth = slab.anatomy.fields["lungs"].at([m.center_mm for m in marks])
    return [
        m
        for m, mm in zip(marks, depth, strict=True)
        if mm > -_REACH_MM
        and all(
            np.linalg.norm(np.subtract(m.center_mm, one.center_mm)) > one.diameter_mm / 2 + _CLEAR_MM
            for one in lesions
        )
    ]


def _positive(
    volume: Volume, slab: Slab, nodule: Nodule, center_mm: Point, diameter_mm: float, rng: np.random.Generator
) -> Candidate:
    spacing = crop_spacing(diameter_mm * float(np.exp(rng.normal(0, 0.15))))
    center = np.add(center_mm, rng.normal(0, 0.06 * diameter_mm, 3))
    affine = crop_affine(center, SHAPE, crop_steps(spacing))
    z, y, x = (float(v) for v in affine[:3, 3][::-1])
    seen = truth(slab.anatomy, Grid(SHAPE, crop_steps(spacing), (z, y, x)), nodule)
    mask = np.zeros(SHAPE, np.float32)
    if seen is not None:
        box = (slice(o, o + n) for o, n in zip(seen.mask.origin, seen.mask.voxels.shape, strict=True))
        mask[tuple(box)] = seen.mask.voxels
    hu = cut(volume, center, spacing)
    mask[np.isnan(hu)] = 0
    malignancy, kind = float(nodule.malignant), NODULE_TYPES.index(nodule.kind)
    return candidate(hu, mask, spacing, 1.0, malignancy, kind, False)


def _cut_negative(volume: Volume, mark: Place, rng: np.random.Generator) -> Candidate:
    spacing = crop_spacing(mark.diameter_mm * float(np.exp(rng.normal(0, 0.15))))
    center = np.add(mark.center_mm, rng.normal(0, 0.4, 3))
    return negative(cut(volume, center, spacing), spacing, real=False)
