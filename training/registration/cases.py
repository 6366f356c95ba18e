"""Whole CT and PET volumes with a known map between them, as a study brings them, for evaluation alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from inference.decode import Voxels
from inference.volume import Volume
from training.growth.breathing import Motion, Points, Pose, motion_of
from training.phantoms.acquisition import Scan
from training.phantoms.anatomy import Anatomy, chest_anatomy
from training.phantoms.fields import Grid
from training.phantoms.pet import Camera, acquired
from training.registration.bank import GRID, HU_STEP, LOWEST_HU, STATES, SUV_STEP, Chest, chest
from training.registration.pairs import MOST_SHIFT_MM, MOST_TURN_DEG

MOST_BREATH_MM = 15.0
_LANDMARKS = {"lungs": 60, "heart": 40, "liver": 40, "spleen": 15, "stomach": 15, "spine": 40, "muscle": 60}
_INSIDE_MM = 4.0
_REACH_MM = (-185.0, 175.0)


@dataclass(frozen=True, eq=False)
class Case:
    """landmarks_mm: (n, 3) LPS of the CT. ``motion.to_scan`` tells where they lie in the PET. structures:
    of the CT's anatomy, by name, as bool on ``GRID``."""

    ct: Volume
    pet: Volume
    motion: Motion
    landmarks_mm: Points
    structures: dict[str, npt.NDArray[np.bool_]]


def cases(seeds: Sequence[int], poses: int, breathing: bool, shifted: bool) -> Iterator[Case]:
    """``poses`` cases of each chest. breathing: whether the PET was taken at another breath than the CT.
    shifted: cameras, physiology and noise of other sites."""
    for seed in seeds:
        anatomy, drawn = chest_anatomy(seed), chest(seed, shifted)
        for number in range(poses):
            rng = np.random.default_rng([seed, number, int(breathing), int(shifted), 111])
            yield _case(anatomy, drawn, number % STATES, breathing, shifted, rng)


def _case(
    anatomy: Anatomy, drawn: Chest, state: int, breathing: bool, shifted: bool, rng: np.random.Generator
) -> Case:
    depth = float(rng.uniform(-1, 1)) * MOST_BREATH_MM * breathing
    x, y, z = (float(v) for v in rng.uniform(-MOST_SHIFT_MM, MOST_SHIFT_MM, 3))
    a, b, c = (float(v) for v in rng.uniform(-MOST_TURN_DEG, MOST_TURN_DEG, 3))
    motion = motion_of(anatomy, Pose(depth, depth / 8, (x, y, z), (a, b, c)))
    scan = Scan.drawn(rng, shifted)
    hu = scan.grained(
        drawn.cts[state].astype(np.float32) * np.float32(HU_STEP) + np.float32(LOWEST_HU), GRID, rng
    )
    ct = _volume(np.rint(hu).astype(np.int16), GRID, "ct")
    low, high = _REACH_MM[0] + float(rng.uniform(0, 25)), _REACH_MM[1] - float(rng.uniform(0, 25))
    camera = Camera.drawn(rng, shifted)
    shape = tuple(
        round(length / step)
        for length, step in zip((high - low, 300.0, 440.0), camera.spacing_mm, strict=True)
    )
    grid = Grid.centred((shape[0], shape[1], shape[2]), camera.spacing_mm, ((low + high) / 2, 0.0, 0.0))
    pet = _acquired(drawn.pets[state], motion, grid, camera, rng)
    cut = slice(*np.searchsorted(GRID.axes[0].ravel(), (low, high)))
    ct = _volume(ct.voxels[cut], GRID.part((cut, slice(0, GRID.shape[1]), slice(0, GRID.shape[2]))), "ct")
    return Case(
        ct,
        _volume(pet, grid, "pet"),
        motion,
        _landmarks(anatomy, motion, low, high, rng),
        _structures(anatomy),
    )


def _acquired(
    stored: npt.NDArray[np.uint8], motion: Motion, grid: Grid, camera: Camera, rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Activity where the motion carried it, counted and filtered; it was blurred when it was stored."""
    z, y, x = np.meshgrid(*[axis.ravel() for axis in grid.axes], indexing="ij")
    there = motion.to_reference(np.stack([x, y, z], -1).reshape(-1, 3))[:, ::-1]
    index = ((there - GRID.origin_mm) / GRID.spacing_mm).T
    sharp = ndimage.map_coordinates(
        stored.astype(np.float32) * np.float32(SUV_STEP), index, order=1, mode="nearest"
    )
    still = Camera(camera.spacing_mm, resolution_mm=0.5, filter_mm=camera.filter_mm, noise=camera.noise)
    return acquired(sharp.reshape(grid.shape), grid, grid, still, rng).astype(np.float32)


def _landmarks(anatomy: Anatomy, motion: Motion, low: float, high: float, rng: np.random.Generator) -> Points:
    """Points in every organ, in both scans."""
    parts = []
    for name, count in _LANDMARKS.items():
        inside = np.argwhere(anatomy.fields[name].values > _INSIDE_MM)
        some = inside[rng.permutation(len(inside))[: 3 * count]]
        points = (some * GRID.spacing_mm + GRID.origin_mm)[:, ::-1]
        there = motion.to_scan(points)
        seen = (points[:, 2] > low) & (points[:, 2] < high) & (there[:, 2] > low) & (there[:, 2] < high)
        parts.append(points[seen][:count])
    return np.concatenate(parts).astype(np.float64)


def _structures(anatomy: Anatomy) -> dict[str, npt.NDArray[np.bool_]]:
    return {name: anatomy.fields[name].values > 0 for name in ("body", "lungs", "heart", "liver")}


def _volume(voxels: Voxels, grid: Grid, name: str) -> Volume:
    images = tuple((f"2.25.{number}", None) for number in range(grid.shape[0]))
    return Volume(voxels, grid.affine, name, "one frame", images)
