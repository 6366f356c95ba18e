"""Real anatomy at a breath that is known: a chest CT warped, lesions put into both, and followed."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from scipy import ndimage

from inference.anatomy import Anatomy, Region, observe
from inference.findings import Reading
from inference.growth.changes import Prior
from inference.growth.compare import compare
from inference.resample import resample
from inference.volume import Volume
from training.growth.breathing import Motion, Pose, motion_within
from training.growth.patients import Truth, truth_of
from training.growth.reader import Faults, outlined
from training.phantoms.acquisition import stored
from training.phantoms.fields import Array, Field, Grid
from training.phantoms.nodules import Nodule, draw_nodule, random_nodule

_FIELD_MM = 4.0
_SPINE_MM = 24.0


POSES: Final = (
    Pose(10, 1, (4, 6, -12), (0, 1, 2)),
    Pose(20, 2, (8, -6, 15), (1, 2, -2)),
    Pose(-15, -2, (-12, 4, 8), (2, -1, 1)),
    Pose(-25, -2, (15, 0, 30), (0, -3, 2)),
    Pose(40, 4, (-10, 10, -20), (-2, 1, 3)),
)
"""Breaths of 10 to 40 mm, each in another place on the table."""


@dataclass(frozen=True, eq=False)
class Warped:
    """A scan, and a prior made of it by ``motion``; ``now`` and ``before`` are the lesions put into them."""

    current: Volume
    prior: Volume
    motion: Motion
    anatomy: Anatomy
    now: list[Truth]
    before: list[Truth]


@dataclass(frozen=True)
class RealFigures:
    """Of one warp. The target registration error is that of points all over the lungs."""

    diaphragm_mm: float
    moved_median_mm: float
    error_median_mm: float
    error_p95_mm: float
    detail: float
    lesions: int
    linked: int
    wrong: int


def warped(volume: Volume, pose: Pose, seed: int, lesions: int = 12) -> Warped:
    """Warp ``volume``, of pixels made 1 mm wide, into a prior, and put the same lesions, which grow or shrink
    to 0.3 to 1.2 of their diameter backwards, into both.

    Raises:
        ValueError: the scan shows no lungs.
    """
    rng = np.random.default_rng([seed, 81])
    here = resample(volume, (volume.spacing_mm[0], 1.0, 1.0))
    anatomy = observe(here)
    if not anatomy.has_lungs:
        raise ValueError("The scan shows no lungs to breathe with.")
    grid = Grid.of(here)
    motion = motion_of_scan(here, pose)
    hu = here.voxels.astype(np.float32)
    then_grid = _shifted(grid, pose)
    then = motion.warped(hu, grid, then_grid)
    then += rng.normal(0, 12, then.shape).astype(np.float32)
    nodules = _nodules(anatomy, rng, lesions)
    current, now = _with(hu, grid, nodules, "current")
    earlier = [
        replace(n.grown(float(rng.uniform(0.3, 1.2))), center_mm=_point(motion.to_scan(n.center_mm)))
        for n in nodules
    ]
    prior, before = _with(then, then_grid, earlier, "prior")
    return Warped(current, prior, motion, anatomy, now, before)


def follow_real(pair: Warped, seed: int) -> RealFigures:
    """Compare both scans, and set what comes of it against the truth."""
    rng = np.random.default_rng([seed, 82])
    readings = [
        Reading("lung-nodules", v.series_uid, (), tuple(outlined(t, v, Faults(), rng) for t in truths))
        for v, truths in ((pair.current, pair.now), (pair.prior, pair.before))
    ]
    prior = Prior("prior", "20230101", readings[1], lambda: pair.prior)
    found = compare(readings[0], pair.current, [prior], date="20240101")
    alignment = found.alignments["prior"]
    points = _lung_points(pair.anatomy, rng)
    points = points[alignment.prior_reaches(points)]
    truth = pair.motion.to_scan(points)
    error = np.linalg.norm(alignment.to_prior(points) - truth, axis=1)
    linked = [f for f in found.reading.findings if f.change is not None and f.change.category != "new"]
    right = sum(
        f.tracking_uid == f"prior.{t.number}" for f, t in zip(found.reading.findings, pair.now, strict=True)
    )
    pose = pair.motion.pose
    return RealFigures(
        diaphragm_mm=pose.diaphragm_mm,
        moved_median_mm=float(np.median(np.linalg.norm(points + pose.shift_mm - truth, axis=1))),
        error_median_mm=float(np.median(error)),
        error_p95_mm=float(np.percentile(error, 95)),
        detail=alignment.quality.detail if alignment.quality else 0.0,
        lesions=len({t.number for t in pair.now} & {t.number for t in pair.before}),
        linked=right,
        wrong=len(linked) - right,
    )


def seconds_beyond_readings(pair: Warped, slices: int, columns: int = 512) -> tuple[float, float]:
    """Wall and processor seconds of a comparison of two scans of so many slices and columns, their lesions
    read already."""
    here, then = (_of_size(volume, slices, columns) for volume in (pair.current, pair.prior))
    readings = [Reading("lung-nodules", v.series_uid, ()) for v in (here, then)]
    prior = Prior("prior", "20230101", readings[1], lambda: then)
    wall, cpu = time.perf_counter(), time.process_time()
    compare(readings[0], here, [prior], date="20240101")
    return time.perf_counter() - wall, time.process_time() - cpu


def _of_size(volume: Volume, slices: int, columns: int) -> Volume:
    d, h, w = (n * s for n, s in zip(volume.shape, volume.spacing_mm, strict=True))
    return resample(volume, (d / slices, h / columns, w / columns))


def motion_of_scan(volume: Volume, pose: Pose) -> Motion:
    """The pose in the chest of a real scan: its cavity is what the lungs enclose slice by slice, its spine a
    column behind their middle."""
    anatomy = observe(volume, _FIELD_MM)
    grid = Grid(anatomy.hu.shape, (_FIELD_MM,) * 3, _zyx(anatomy))
    z, y, x = grid.axes
    lungs = np.argwhere(anatomy.lungs) * _FIELD_MM + grid.origin_mm
    middle, back = float(lungs[:, 2].mean()), float(np.percentile(lungs[:, 1], 97))
    spine = _SPINE_MM - np.hypot(x - middle, y - back) + 0 * z
    motion = motion_within(
        Field(_signed(_enclosed(anatomy.lungs)), grid),
        Field(spine.astype(np.float32), grid),
        Field(_signed(anatomy.lungs), grid),
        pose,
    )
    x0, y0, z0 = (float(v) for v in volume.to_patient((np.array(volume.shape) - 1) / 2))
    return replace(motion, pivot_mm=(x0, y0, z0))


def _enclosed(lungs: Region) -> Region:
    """Lungs and what lies between them, slice by slice; below the lungs as on their lowest slice."""
    reach = round(50 / _FIELD_MM)
    disc = np.hypot(*np.mgrid[-reach : reach + 1, -reach : reach + 1]) <= reach
    out = np.zeros_like(lungs)
    shown = np.flatnonzero(lungs.any(axis=(1, 2)))
    for number in shown:
        padded = np.pad(lungs[number], reach + 1)
        closed = ndimage.binary_closing(padded, disc)
        out[number] = closed[reach + 1 : -reach - 1, reach + 1 : -reach - 1]
    largest = max(shown[: max(len(shown) // 2, 1)], key=lambda n: int(out[n].sum()))
    out[:largest] = out[largest]
    return out


def _signed(region: Region) -> Array:
    inside = ndimage.distance_transform_edt(region) - ndimage.distance_transform_edt(~region)
    return np.asarray(inside * _FIELD_MM, np.float32)


def _nodules(anatomy: Anatomy, rng: np.random.Generator, count: int) -> list[Nodule]:
    found: list[Nodule] = []
    for x, y, z in _lung_points(anatomy, rng, 400):
        nodule = random_nodule(rng, (float(x), float(y), float(z)))
        nodule = replace(nodule, diameter_mm=float(np.clip(nodule.diameter_mm, 5, 18)))
        if all(np.linalg.norm(np.subtract(nodule.center_mm, other.center_mm)) > 25 for other in found):
            found.append(nodule)
        if len(found) == count:
            break
    return found


def _with(hu: Array, grid: Grid, nodules: list[Nodule], name: str) -> tuple[Volume, list[Truth]]:
    drawn = hu.copy()
    truths = []
    for number, nodule in enumerate(nodules):
        draw_nodule(drawn, grid, nodule, None)
        if (truth := truth_of(grid, nodule, number)) is not None:
            truths.append(truth)
    images = tuple((f"2.25.1.{n}", None) for n in range(grid.shape[0]))
    return Volume(stored(drawn), grid.affine, name, name, images), truths


def _lung_points(anatomy: Anatomy, rng: np.random.Generator, count: int = 600) -> np.ndarray:
    deep = np.argwhere(ndimage.distance_transform_edt(anatomy.lungs) * anatomy.spacing_mm > 6)
    index = deep[rng.integers(len(deep), size=count)] + rng.uniform(-0.5, 0.5, (count, 3))
    return np.asarray(index[:, ::-1] * anatomy.spacing_mm + anatomy.affine[:3, 3])


def _zyx(anatomy: Anatomy) -> tuple[float, float, float]:
    x, y, z = (float(v) for v in anatomy.affine[:3, 3])
    return z, y, x


def _shifted(grid: Grid, pose: Pose) -> Grid:
    """The prior's grid: it follows the patient, and ends where the source has nothing to show."""
    z, y, x = grid.origin_mm
    left_out = int(np.ceil(max(-pose.diaphragm_mm, 0.0) / grid.spacing_mm[0]))
    start = z + pose.shift_mm[2] + left_out * grid.spacing_mm[0]
    shape = (grid.shape[0] - left_out, grid.shape[1], grid.shape[2])
    return Grid(shape, grid.spacing_mm, (start, y + pose.shift_mm[1], x + pose.shift_mm[0]))


def _point(points: np.ndarray) -> tuple[float, float, float]:
    x, y, z = (float(v) for v in points[0])
    return x, y, z
