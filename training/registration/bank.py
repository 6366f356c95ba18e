"""Chests rendered once as CT and as PET, from which any number of pairs is drawn."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.progress import track
from scipy import ndimage

from training.growth.breathing import Pose, motion_of
from training.phantoms.anatomy import FIELD_GRID, Anatomy, chest_anatomy
from training.phantoms.fields import Array, Grid
from training.phantoms.hot_lesions import random_lesions, shape
from training.phantoms.pet import Camera, breathing
from training.phantoms.render import render
from training.phantoms.uptake import Physiology, activity, into_ct

GRID: Grid = FIELD_GRID
STATES = 3
LOWEST_HU, HU_STEP, SUV_STEP = -1000.0, 6.0, 0.04
_FWHM = 2.355

Stored = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Chest:
    """One chest on ``GRID`` with three states of uptake and lesions, 8 bits to a voxel.

    cts, pets: (states, slices, rows, columns), 6 HU and 0.04 SUV to a level. moving: how far a breath
    carries each place, 255 as far as the diaphragm. body: 0 or 1. center_mm: the middle of the lungs, LPS.
    """

    cts: Stored
    pets: Stored
    moving: Stored
    body: Stored
    center_mm: npt.NDArray[np.float32]


def chest(seed: int, shifted: bool = False) -> Chest:
    """The chest of patient ``seed``; some seconds. ``shifted``: physiology and cameras of other sites."""
    anatomy = chest_anatomy(seed)
    rng = np.random.default_rng([seed, 101])
    body = anatomy.fields["body"].values > 0
    contrast = float(rng.choice([0, rng.uniform(60, 260)], p=[0.6, 0.4]))
    empty = render(anatomy, GRID, contrast)
    if rng.random() < 0.7:
        _table(empty, body, rng)
    states = [_state(anatomy, empty, seed, number, shifted) for number in range(STATES)]
    _, _, down = motion_of(anatomy, Pose(diaphragm_mm=1.0)).field
    lungs = np.argwhere(anatomy.fields["lungs"].values > 0).mean(axis=0)
    return Chest(
        np.stack([_levels((hu - LOWEST_HU) / HU_STEP) for hu, _ in states]),
        np.stack([_levels(suv / SUV_STEP) for _, suv in states]),
        _levels(down.values * 255),
        body.astype(np.uint8),
        (lungs * GRID.spacing_mm + GRID.origin_mm)[::-1].astype(np.float32),
    )


def _state(anatomy: Anatomy, empty: Array, seed: int, number: int, shifted: bool) -> tuple[Array, Array]:
    """HU, and SUV averaged over the breath and blurred by the camera, noise left out."""
    rng = np.random.default_rng([seed, number, 102])
    physiology = Physiology.drawn(rng, anatomy, shifted)
    camera = replace(Camera.drawn(rng, shifted), ct_offset_mm=0.0)
    hu, suv = empty.copy(), activity(anatomy, GRID, physiology)
    into_ct(hu, GRID, physiology)
    for lesion in random_lesions(anatomy, int(rng.integers(5)), seed * STATES + number):
        drawn = shape(lesion, GRID, anatomy.fields["lungs"])
        suv[drawn.box] += drawn.living * (np.float32(lesion.suv) * drawn.texture - suv[drawn.box])
        if lesion.hu is not None:
            hu[drawn.box] += drawn.filled * (np.float32(lesion.hu) - hu[drawn.box])
    breathed = np.tensordot(breathing(GRID, camera), suv, (1, 0))
    sigma = np.hypot(camera.resolution_mm, camera.filter_mm) / _FWHM / np.array(GRID.spacing_mm)
    return hu, ndimage.gaussian_filter(breathed, sigma)


def bank(seeds: Iterable[int], folder: Path) -> list[Chest]:
    """The chests of ``seeds``, each kept in ``folder`` once it is rendered."""
    folder.mkdir(parents=True, exist_ok=True)
    return [_kept(seed, folder) for seed in track(list(seeds), "chests")]


def _kept(seed: int, folder: Path) -> Chest:
    path = folder / f"{seed}.npz"
    if not path.exists():
        part = path.with_suffix(".part.npz")
        np.savez_compressed(part, **chest(seed).__dict__)
        part.replace(path)
    with np.load(path) as held:
        return Chest(**{name: held[name] for name in held.files})


def _levels(values: Array) -> Stored:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _table(hu: Array, body: npt.NDArray[np.bool_], rng: np.random.Generator) -> None:
    """A hollow table under the back, which the CT shows and the PET does not."""
    _, y, x = GRID.axes
    lowest = int(np.flatnonzero(body.any(axis=(0, 2)))[-1])
    top = float(y.ravel()[lowest]) + float(rng.uniform(0, 8)) - 12 * (x / 220.0) ** 2
    inside = (y > top) & (y < top + 24) & (np.abs(x) < rng.uniform(180, 215)) & ~body
    hu[inside] = -150.0
    hu[ndimage.binary_erosion(inside)] = -850.0
