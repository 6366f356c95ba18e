"""The second stage of ``lung-nodules`` on LIDC slice crops: masks, malignancy, non-nodules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.progress import track

from inference.catalogue import Catalogue
from inference.engine.embedded import EmbeddedEngine
from inference.readers import lung_nodules as reader
from training.datasets.lidc_slices import SliceNodule, read_slices
from training.errors import BrokenDataError, TaskError
from training.lung_nodules.crops import Stack, crop_spacing, lidc_center, lidc_stack
from training.metrics.classification import Interval, auroc, aurocs, limits
from training.metrics.overlap import dice

_SCALES_MM = (5.0, 8.0, 13.0, 20.0, 32.0)
_SENSITIVITY = 0.95
_RESAMPLES = 1000


@dataclass(frozen=True, eq=False)
class _Case:
    """One nodule: Dice of the mask with the consensus, and of readers with the consensus of the others; the
    two judgements; diameter in mm as drawn; the ``nodule`` judgement of each marked non-nodule beside it."""

    patient: str
    rating: float | None
    dice: float
    among: tuple[float, ...]
    nodule: float
    malignancy: float
    diameter_mm: float
    rejected: tuple[float, ...]


def evaluate_lidc_slices(
    data: Path | None, split: str, out: Path | None, catalogue: Catalogue
) -> dict[str, Any]:
    """Masks against the readers' consensus and the readers among themselves, malignancy (median rating of 4
    and more against 2 and less), and marked non-nodules against nodules; limits by resampling patients."""
    if data is None:
        raise BrokenDataError("the layout lidc-slices needs a folder: give --data")
    split = split or "public_test"
    chosen = [n for n in read_slices(data) if n.split == split]
    if not chosen:
        raise TaskError(f"{data} holds no nodules of the split {split!r}")
    engine = EmbeddedEngine(catalogue)
    cases = [_looked_at(nodule, engine, catalogue) for nodule in track(chosen, "nodules")]
    return {
        "task": reader.NAME,
        "layout": "lidc-slices",
        "split": split,
        "nodules": len(cases),
        "patients": len({c.patient for c in cases}),
        **_figures(cases),
    }


def _looked_at(nodule: SliceNodule, engine: EmbeddedEngine, catalogue: Catalogue) -> _Case:
    mask, (is_nodule, malignancy), size = look_at(nodule, lidc_center(nodule), engine, catalogue)
    return _Case(
        nodule.patient_id,
        nodule.malignancy,
        dice(mask, nodule.consensus),
        tuple(_among_readers(nodule)),
        is_nodule,
        malignancy,
        size,
        tuple(look_at(nodule, mark, engine, catalogue)[1][0] for mark in nodule.marks),
    )


def _figures(cases: Sequence[_Case]) -> dict[str, Any]:
    clear = [c for c in cases if c.rating is not None and (c.rating >= 4 or c.rating <= 2)]
    malignant = np.array([c.rating is not None and c.rating >= 4 for c in clear])
    judged = np.array([(c.malignancy, c.diameter_mm) for c in clear])
    truth = np.column_stack([malignant, malignant])
    by_network, by_diameter = aurocs(truth, judged, [c.patient for c in clear]).classes
    rejected = [score for c in cases for score in c.rejected]
    gap = _resampled(cases, lambda part: _mean_dice(part) - _mean_among(part))
    figures: dict[str, Any] = {
        "malignancy_cases": len(clear),
        "hard_negatives": len(rejected),
        "nodule_auroc": auroc(
            np.repeat([True, False], [len(cases), len(rejected)]), [*(c.nodule for c in cases), *rejected]
        ),
    }
    intervals = {
        "dice_of_consensus": _resampled(cases, _mean_dice),
        "dice_among_readers": _resampled(cases, _mean_among),
        "dice_above_readers": gap,
        "malignancy_auroc": by_network,
        "malignancy_auroc_of_diameter": by_diameter,
        "specificity_at_95_sensitivity": _resampled(cases, _specificity),
    }
    for name, interval in intervals.items():
        figures |= interval.told(name)
    return figures


def _mean_dice(cases: Sequence[_Case]) -> float:
    return float(np.mean([c.dice for c in cases]))


def _mean_among(cases: Sequence[_Case]) -> float:
    values = [value for c in cases for value in c.among]
    return float(np.mean(values)) if values else float("nan")


def _specificity(cases: Sequence[_Case]) -> float:
    """The share of marked non-nodules below the score that 95 % of the nodules reach."""
    rejected = [score for c in cases for score in c.rejected]
    threshold = np.quantile([c.nodule for c in cases], 1 - _SENSITIVITY)
    return float(np.mean(np.array(rejected) < threshold)) if rejected else float("nan")


def _resampled(cases: Sequence[_Case], figure: Callable[[Sequence[_Case]], float]) -> Interval:
    by_patient: dict[str, list[_Case]] = {}
    for case in cases:
        by_patient.setdefault(case.patient, []).append(case)
    groups, rng = list(by_patient.values()), np.random.default_rng(0)
    drawn = [
        figure([c for g in rng.integers(len(groups), size=len(groups)) for c in groups[g]])
        for _ in range(_RESAMPLES)
    ]
    return Interval(figure(cases), *limits(np.array(drawn)))


def look_at(
    nodule: SliceNodule, center: tuple[float, float, float], engine: EmbeddedEngine, catalogue: Catalogue
) -> tuple[npt.NDArray[np.bool_], tuple[float, float], float]:
    """The characteriser's mask on the stack's own pixels, its (nodule, malignancy), and the diameter in mm.

    No detector saw the stack, so it is looked at on several scales; the one on which the nodule is surest
    and as large as that scale is meant for sets the scale of the last look.
    """
    stack = lidc_stack(nodule)
    looks = [_looked(stack, center, diameter, engine, catalogue) for diameter in _SCALES_MM]
    best = max(looks, key=lambda look: look.consistency)
    last = _looked(stack, center, max(best.seen_mm, _SCALES_MM[0] / 2), engine, catalogue)
    mask = stack.uncrop(last.inside, center, crop_spacing(last.meant_mm)) >= 0.5
    return mask, (last.nodule, last.malignancy), last.seen_mm


@dataclass(frozen=True, eq=False)
class _Look:
    """A crop on the scale meant for one diameter, and the diameter of what was seen on it."""

    inside: npt.NDArray[np.floating]
    meant_mm: float
    seen_mm: float
    nodule: float
    malignancy: float

    @property
    def consistency(self) -> float:
        if self.seen_mm == 0:
            return 0.0
        sure = float(self.inside[self.inside >= 0.5].mean())
        return sure * self.nodule * float(np.exp(-abs(np.log(self.seen_mm / self.meant_mm))))


def _looked(
    stack: Stack,
    center: tuple[float, float, float],
    diameter_mm: float,
    engine: EmbeddedEngine,
    catalogue: Catalogue,
) -> _Look:
    card = catalogue.find(reader.CHARACTERISER).card
    spacing = crop_spacing(diameter_mm)
    hu, _ = stack.crop(center, spacing)
    fed = np.nan_to_num(card.input("crop").intensity.applied_to(hu), nan=0.0)[None, None]
    outputs = engine.infer(card.name, {"crop": fed, "spacing_mm": np.array([[spacing]], np.float32)})
    inside = np.where(np.isfinite(hu), outputs["mask"][0, 0], 0)
    area = float((inside >= 0.5).sum((1, 2)).max()) * spacing**2
    seen = 2 * float(np.sqrt(area / np.pi))
    return _Look(
        inside, diameter_mm, seen, float(outputs["nodule"][0, 0]), float(outputs["malignancy"][0, 0])
    )


def _among_readers(nodule: SliceNodule) -> list[float]:
    """Dice of each reader with the consensus of the others, where there were at least three."""
    drawn = [(nodule.bits >> bit) & 1 > 0 for bit in range(4)]
    drawn = [d for d in drawn if d.any()]
    if len(drawn) < 3:
        return []
    out = []
    for number, one in enumerate(drawn):
        others = [d for i, d in enumerate(drawn) if i != number]
        out.append(dice(one, 2 * np.sum(others, 0) >= len(others)))
    return out
