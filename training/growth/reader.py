"""Stands in for a reader whose faults are known: lesions missed, outlines off as repeated scans' are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from inference.findings import Code, Finding, Mask, Model, Point, Reading
from inference.measure import measure
from inference.resample import cropped
from inference.volume import Volume
from training.growth.patients import Truth, Visit

NODULE = Code("SCT", "786838002", "Pulmonary nodule")
READER = "lung-nodules"
_PAD = 4


@dataclass(frozen=True)
class Faults:
    """offset_mm: standard deviation of how far a whole outline lies out or in; 0.25 mm is a wCV of volume
    of 0.19 at 8 mm and 0.13 at 12 mm. rough_mm: of its unevenness. missed: share of lesions not found.
    found_again: share of those that a closer look at their place does find."""

    offset_mm: float = 0.25
    rough_mm: float = 0.4
    missed: float = 0.05
    found_again: float = 0.9


def read(visit: Visit, faults: Faults, rng: np.random.Generator) -> Reading:
    """A reading of the visit."""
    findings = tuple(
        outlined(truth, visit.volume, faults, rng) for truth in visit.truths if rng.random() >= faults.missed
    )
    return Reading(READER, visit.volume.series_uid, (Model("stand-in", "1", "0" * 64),), findings)


def outlined(truth: Truth, volume: Volume, faults: Faults, rng: np.random.Generator) -> Finding:
    """One lesion as this reader draws and measures it."""
    mask = degraded(truth.mask, volume.spacing_mm, faults, rng)
    nodule = measure(mask, volume).finding("Nodule", NODULE, 0.9, mask)
    return replace(nodule, kind=truth.kind, tracking_uid=f"{volume.series_uid}.{truth.number}")


def degraded(
    mask: Mask, spacing_mm: tuple[float, float, float], faults: Faults, rng: np.random.Generator
) -> Mask:
    """The outline moved as a whole and unevenly; never to nothing."""
    padded = np.pad(mask.voxels, _PAD)
    inside = ndimage.distance_transform_edt(padded, spacing_mm)
    outside = ndimage.distance_transform_edt(~padded, spacing_mm)
    half = min(spacing_mm) / 2
    signed = np.where(padded, inside - half, half - outside)
    uneven = ndimage.gaussian_filter(rng.standard_normal(padded.shape), [1.5 / s for s in spacing_mm])
    uneven *= faults.rough_mm / max(float(uneven.std()), 1e-6)
    moved = signed + rng.normal(0, faults.offset_mm) + uneven > 0
    if not moved.any():
        moved = padded
    z, y, x = (origin - _PAD for origin in mask.origin)
    return cropped(moved, (z, y, x))


@dataclass(frozen=True, eq=False)
class CloserLook:
    """Finds a lesion that is truly near the place it is asked for, most times."""

    visits: Sequence[Visit]
    faults: Faults
    rng: np.random.Generator

    def __call__(self, volume: Volume, center_mm: Point, diameter_mm: float) -> Finding | None:
        visit = next(each for each in self.visits if each.volume is volume)
        for truth in visit.truths:
            near = np.linalg.norm(np.subtract(truth.center_mm, center_mm)) < 4 + truth.diameter_mm / 2
            if near and self.rng.random() < self.faults.found_again:
                return outlined(truth, volume, self.faults, self.rng)
        return None
