"""Phantom patients over time: one chest at several breaths and scanners, each lesion with its course."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

import numpy as np

from inference.findings import Mask, Point
from inference.volume import Volume
from training.growth.breathing import Motion, Pose, motion_of
from training.phantoms.acquisition import Scan, stored
from training.phantoms.anatomy import Anatomy, chest_anatomy
from training.phantoms.chest import random_nodules
from training.phantoms.fields import Array, Grid, merged
from training.phantoms.nodules import Nodule, draw_nodule
from training.phantoms.render import render

Fate = Literal["stays", "grows", "shrinks", "appears", "resolves"]
FATES: tuple[Fate, ...] = ("stays", "grows", "shrinks", "appears", "resolves")
_ODDS = (0.38, 0.28, 0.10, 0.13, 0.11)
REFERENCE = Grid.centred((165, 176, 230), (1.7, 1.7, 1.7), (12.0, 0.0, 0.0))
_FINEST_SLICE_MM = 2.0


@dataclass(frozen=True, eq=False)
class Backdrop:
    """A chest without lesions, rendered once for many patients."""

    anatomy: Anatomy
    hu: Array

    @classmethod
    def of(cls, seed: int) -> Backdrop:
        anatomy = chest_anatomy(seed)
        return cls(anatomy, render(anatomy, REFERENCE))


@dataclass(frozen=True)
class Course:
    """One lesion: ``nodule`` at the first visit that shows it, in the reference chest. ``doubling_days``:
    negative while it shrinks, None where its volume stays. ``shown``: first visit and the one after the
    last."""

    nodule: Nodule
    fate: Fate
    doubling_days: float | None
    shown: tuple[int, int]

    def at(self, visit: int, days_since_shown: float) -> Nodule | None:
        """Its recipe at a visit; None where it is not there."""
        if not self.shown[0] <= visit < self.shown[1]:
            return None
        if self.doubling_days is None:
            return self.nodule
        factor = 2.0 ** (days_since_shown / self.doubling_days)
        diameter = float(np.clip(self.nodule.diameter_mm * factor ** (1 / 3), 3.5, 45))
        return replace(self.nodule, diameter_mm=diameter)


@dataclass(frozen=True, eq=False)
class Truth:
    """One lesion as it is in one scan; ``number``: the same at all visits."""

    number: int
    center_mm: Point
    volume_mm3: float
    diameter_mm: float
    kind: str
    mask: Mask


@dataclass(frozen=True, eq=False)
class Visit:
    """date: YYYYMMDD. truths: of the lesions that this scan shows whole. lesions: by number, each that the
    patient has at this visit, shown or not, where it lies in this scan."""

    date: str
    volume: Volume
    motion: Motion
    truths: tuple[Truth, ...]
    lesions: Mapping[int, Nodule]


def visits(seed: int, backdrop: Backdrop, count: int) -> Iterator[Visit]:
    """A patient's scans, oldest first; lesions and their courses, breaths and scanners follow ``seed``."""
    rng = np.random.default_rng([seed, 61])
    gaps = rng.uniform(60, 400, count)
    days = np.concatenate([[0.0], np.cumsum(np.rint(gaps[:-1]))])
    courses = _courses(rng, backdrop.anatomy, seed, count)
    first = datetime(2019, 1, 7) + timedelta(days=int(rng.integers(700)))
    for visit in range(count):
        motion = motion_of(backdrop.anatomy, Pose.drawn(rng))
        nodules = {}
        for number, course in enumerate(courses):
            nodule = course.at(visit, float(days[visit] - days[course.shown[0]]))
            if nodule is not None:
                nodules[number] = nodule
        when = (first + timedelta(days=int(days[visit]))).strftime("%Y%m%d")
        yield scanned(backdrop, motion, nodules, when, f"{seed}.{visit}", rng)


def _courses(rng: np.random.Generator, anatomy: Anatomy, seed: int, visits: int) -> list[Course]:
    found = []
    for nodule in random_nodules(anatomy, int(rng.integers(4, 9)), seed, REFERENCE):
        size = float(np.clip(nodule.diameter_mm, 4.0, 28.0))
        fate = FATES[int(rng.choice(len(FATES), p=_ODDS))]
        pace = float(np.exp(rng.uniform(np.log(50), np.log(250))))
        shown, doubling = (0, visits), None
        if fate == "grows":
            doubling = pace
            size = min(size, 14.0)
        elif fate == "shrinks":
            doubling = -pace
            size = max(size, 8.0)
        elif fate == "appears":
            shown = (int(rng.integers(1, visits)), visits)
        elif fate == "resolves":
            shown = (0, int(rng.integers(1, visits)))
        found.append(Course(replace(nodule, diameter_mm=size), fate, doubling, shown))
    return found


def scanned(
    backdrop: Backdrop,
    motion: Motion,
    nodules: dict[int, Nodule],
    when: str,
    name: str,
    rng: np.random.Generator,
) -> Visit:
    grid, scan = _protocol(rng, motion)
    finer = int(np.ceil(grid.spacing_mm[0] / _FINEST_SLICE_MM))
    thin = grid.sliced(finer)
    hu = motion.warped(backdrop.hu, REFERENCE, thin)
    lesions = {number: _moved(nodule, motion) for number, nodule in nodules.items()}
    truths = []
    for number, here in lesions.items():
        draw_nodule(hu, thin, here, None)
        if (seen := truth_of(grid, here, number)) is not None:
            truths.append(seen)
    voxels = stored(scan.acquire(merged(hu, finer), grid, rng))
    images = tuple((f"2.25.{name}.{n}", None) for n in range(grid.shape[0]))
    volume = Volume(voxels, grid.affine, name, f"frame {name}", images)
    turned = tuple(axis for axis in range(3) if rng.random() < 0.25)
    return Visit(
        when,
        _stored(volume, turned),
        motion,
        tuple(replace(t, mask=_reversed(t.mask, grid.shape, turned)) for t in truths),
        lesions,
    )


def _moved(nodule: Nodule, motion: Motion) -> Nodule:
    x, y, z = (float(v) for v in motion.to_scan(nodule.center_mm)[0])
    return replace(nodule, center_mm=(x, y, z))


def truth_of(grid: Grid, nodule: Nodule, number: int) -> Truth | None:
    """None where the scan does not show the whole nodule."""
    box = grid.box_about(nodule.center_mm, nodule.diameter_mm + 4)
    here = grid.part(box)
    if 0 in here.shape or not _well_inside(grid, nodule.center_mm, nodule.diameter_mm):
        return None
    seen = draw_nodule(np.full(here.shape, -850, np.float32), here, nodule, None).lesion(nodule, here)
    if seen is None:
        return None
    z, y, x = (s.start + o for s, o in zip(box, seen.mask.origin, strict=True))
    mask = Mask((int(z), int(y), int(x)), seen.mask.voxels)
    return Truth(number, seen.center_mm, seen.volume_mm3, seen.diameter_mm, seen.kind, mask)


def _stored(volume: Volume, axes: tuple[int, ...]) -> Volume:
    """The same scan with its voxels in the reverse order along some axes, as of a patient who lay prone or
    feet first."""
    affine = volume.affine.copy()
    for axis in axes:
        affine[:3, 3] += affine[:3, axis] * (volume.shape[axis] - 1)
        affine[:3, axis] *= -1
    voxels = np.ascontiguousarray(np.flip(volume.voxels, axes)).astype(np.int16, copy=False)
    return replace(volume, voxels=voxels, affine=affine)


def _reversed(mask: Mask, shape: tuple[int, int, int], axes: tuple[int, ...]) -> Mask:
    origin = [
        n - o - m if axis in axes else o
        for axis, (n, o, m) in enumerate(zip(shape, mask.origin, mask.voxels.shape, strict=True))
    ]
    return Mask((origin[0], origin[1], origin[2]), np.ascontiguousarray(np.flip(mask.voxels, axes)))


def _protocol(rng: np.random.Generator, motion: Motion) -> tuple[Grid, Scan]:
    """Spacing, field of view (a part of the chest at times) and kernel of one scanner."""
    slice_mm = float(rng.choice([1.25, 2.0, 2.5, 5.0], p=[0.3, 0.4, 0.25, 0.05]))
    pixel = float(rng.uniform(0.9, 1.4))
    x, y, z = motion.pose.shift_mm
    low, high = -112.0, 138.0
    if rng.random() < 0.15:
        low += float(rng.uniform(0, 60))
    shape = (round((high - low) / slice_mm), round(270 / pixel), round(350 / pixel))
    grid = Grid.centred(shape, (slice_mm, pixel, pixel), ((low + high) / 2 + z, y, x))
    drawn = Scan.drawn(rng)
    return grid, replace(drawn, thickness_mm=slice_mm, contrast_hu=0.0)


def _well_inside(grid: Grid, center: Point, margin_mm: float) -> bool:
    low = np.array(grid.origin_mm) + margin_mm
    high = np.array(grid.origin_mm) + (np.array(grid.shape) - 1) * grid.spacing_mm - margin_mm
    return bool(((np.array(center[::-1]) > low) & (np.array(center[::-1]) < high)).all())
