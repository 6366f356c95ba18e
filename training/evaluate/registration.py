"""Evaluates how PET is registered to CT: phantom studies whose true map is known at every point."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track
from scipy import ndimage

from inference.catalogue import Catalogue
from inference.engine.embedded import EmbeddedEngine
from inference.registration.estimate import MODEL, SPACING_MM, register_pet_to_ct
from inference.registration.transform import Registration
from training.metrics.classification import mean_interval
from training.metrics.overlap import dice
from training.metrics.registration import folding, target_error
from training.registration.bank import GRID
from training.registration.cases import Case, cases

CHESTS, POSES = 25, 8
_FIRST_SEED = {"held-out": 4000, "shifted": 4500}


@dataclass
class _Figures:
    """One value for each case."""

    before: list[float] = field(default_factory=list)
    tre: list[float] = field(default_factory=list)
    p95: list[float] = field(default_factory=list)
    rigid: list[float] = field(default_factory=list)
    dice: dict[str, list[float]] = field(default_factory=dict)
    folded: list[float] = field(default_factory=list)
    sd_log: list[float] = field(default_factory=list)
    refused: list[bool] = field(default_factory=list)


def evaluate_phantoms(
    data: Path | None,
    split: str,
    out: Path | None,
    catalogue: Catalogue,
    *,
    chests: int = CHESTS,
    poses: int = POSES,
) -> dict[str, Any]:
    """Target error, Dice and folding over studies that lie apart by up to 24 mm and 9°, with and without
    another breath. split: ``held-out`` (the default), or ``shifted`` to other cameras and physiology."""
    catalogue.find(MODEL)
    split = split or "held-out"
    seeds = range(_FIRST_SEED[split], _FIRST_SEED[split] + chests)
    figures: dict[str, Any] = {
        "task": "registration",
        "layout": "phantom",
        "split": split,
        "chests": chests,
        "cases_each": chests * poses,
    }
    for name, breathing in (("rigid", False), ("breathing", True)):
        every = track(cases(seeds, poses, breathing, split == "shifted"), name, total=chests * poses)
        figures |= _summary(name, measured(every, catalogue))
    return figures


def measured(every: Iterable[Case], catalogue: Catalogue) -> _Figures:
    """Registers each case as the ``pet-ct`` reader does, and measures what comes of it."""
    engine, found = EmbeddedEngine(catalogue), _Figures()
    for case in every:
        registration = register_pet_to_ct(case.ct, case.pet, engine, catalogue)
        true = case.motion.to_scan(case.landmarks_mm)
        error = target_error(true, registration.to_pet(case.landmarks_mm))
        stiff = Registration(registration.motion, registration.vectors * 0, registration.affine, "rigid", "")
        found.before.append(target_error(true, case.landmarks_mm).mean_mm)
        found.tre.append(error.mean_mm)
        found.p95.append(error.p95_mm)
        found.rigid.append(target_error(true, stiff.to_pet(case.landmarks_mm)).mean_mm)
        found.refused.append(registration.kind == "identity")
        for name, overlap in _overlaps(case, registration).items():
            found.dice.setdefault(name, []).append(overlap)
        if min(registration.vectors.shape[:3]) > 1:
            uneven = folding(registration.vectors[..., ::-1], (SPACING_MM,) * 3)
            found.folded.append(uneven.folded)
            found.sd_log.append(uneven.sd_log)
    engine.close()
    return found


def _overlaps(case: Case, registration: Registration) -> dict[str, float]:
    """Dice of each organ where it is in the CT with where the registration finds it in the PET, on every
    other voxel of the anatomy's grid."""
    thin = (slice(None, None, 2),) * 3
    z, y, x = np.meshgrid(*[axis.ravel()[::2] for axis in GRID.axes], indexing="ij")
    points = np.stack([x, y, z], -1).reshape(-1, 3).astype(np.float64)
    carried = case.motion.to_reference(registration.to_pet(points))[:, ::-1]
    index = ((carried - GRID.origin_mm) / GRID.spacing_mm).T
    out = {}
    for name, inside in case.structures.items():
        there = ndimage.map_coordinates(inside.astype(np.float32), index, order=1, mode="nearest") >= 0.5
        out[name] = dice(inside[thin], there.reshape(z.shape))
    return out


def _summary(name: str, found: _Figures) -> dict[str, Any]:
    """Means over cases, with limits by resampling these, medians, percentiles and counts."""
    means = {
        "tre_before_mm": found.before,
        "tre_mm": found.tre,
        "tre_rigid_part_mm": found.rigid,
        **{f"dice_{organ}": values for organ, values in found.dice.items()},
        "folded": found.folded or [0.0],
        "sd_log_jacobian": found.sd_log or [0.0],
    }
    out: dict[str, Any] = {}
    for figure, values in means.items():
        out |= mean_interval(values).told(f"{name}_{figure}")
    return out | {
        f"{name}_tre_median_mm": float(np.median(found.tre)),
        f"{name}_tre_p95_of_cases_mm": float(np.percentile(found.tre, 95)),
        f"{name}_tre_p95_of_landmarks_mm": float(np.mean(found.p95)),
        f"{name}_refused": int(sum(found.refused)),
    }
