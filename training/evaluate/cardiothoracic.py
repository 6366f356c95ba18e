"""Measures the heart that the ``chest-xray`` reader draws, and the cardiothoracic ratio it takes of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from inference.findings import Reading
from inference.readers.cardiothoracic import HEART, RATIO, diameters
from training.chest_xray.lungs import enlarged, lung_masks
from training.datasets.case import Case
from training.metrics.classification import aurocs, mean_interval
from training.metrics.overlap import dice


def agreement(cases: Sequence[Case], readings: Sequence[Reading | None]) -> dict[str, Any]:
    """Of cases with masks of the heart: Dice where one was drawn; and of the ratio, where one can be taken of
    the masks too, the mean absolute error, the bias and the limits of agreement (Bland and Altman, Lancet
    1986;1:307), found less true. ``hearts``: how many were drawn; ``no_heart``: how many of those read were
    not."""
    overlaps, groups, errors = [], [], []
    missed = 0
    for case, reading in zip(cases, readings, strict=True):
        assert case.load_masks is not None
        true = case.load_masks().get("heart")
        if reading is None or true is None:
            continue
        drawn = next((one.mask for one in reading.segments if one.code == HEART), None)
        if drawn is None:
            missed += 1
            continue
        shape = drawn.voxels.shape[1:]
        overlaps.append(dice(enlarged(true, shape), drawn.voxels[0]))
        groups.append(case.patient)
        known = diameters(enlarged(true, shape), *(enlarged(lung, shape) for lung in lung_masks(case)))
        if known is not None:
            errors.append(_ratio(reading) - known.ratio)
    found: dict[str, Any] = {"hearts": len(overlaps), "no_heart": missed} if overlaps or missed else {}
    if overlaps:
        found |= mean_interval(overlaps, groups).told("dice_heart")
    if errors:
        bias, spread = float(np.mean(errors)), float(np.std(errors, ddof=1)) if errors[1:] else float("nan")
        found |= {"ratios": len(errors), "ratio_mean_absolute_error": float(np.mean(np.abs(errors)))}
        found |= {"ratio_bias": bias}
        found["ratio_limits_of_agreement"] = [bias - 1.96 * spread, bias + 1.96 * spread]
    return found


def told_of_cardiomegaly(cases: Sequence[Case], readings: Sequence[Reading | None]) -> dict[str, Any]:
    """AUROC of the ratio alone for cardiomegaly, with limits over patients: of all, and of the PA and the AP
    views apart, since the ratio is another one on these. ``ratio_measured``, ``ratio_not_measured``: of how
    many that were read there is one."""
    read = [(case, reading) for case, reading in zip(cases, readings, strict=True) if reading]
    kept = [(case, _ratio(reading)) for case, reading in read if reading.measurements]
    found: dict[str, Any] = {"ratio_measured": len(kept), "ratio_not_measured": len(read) - len(kept)}
    for view in ("", "PA", "AP"):
        part = [(case, ratio) for case, ratio in kept if view in ("", case.notes.get("view", ""))]
        truth = np.array([case.labels["cardiomegaly"] for case, _ in part])
        if not (truth > 0.5).any() or not (truth < 0.5).any():
            continue
        told = aurocs(truth[:, None], [[ratio] for _, ratio in part], [case.patient for case, _ in part])
        name = "auroc_ratio" + (f"_within_{view}" if view else "")
        found |= told.classes[0].told(name) | {f"{name}_positives": int((truth > 0.5).sum())}
    return found


def _ratio(reading: Reading) -> float:
    return next(one.value for one in reading.measurements if one.code == RATIO)
