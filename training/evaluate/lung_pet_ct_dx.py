"""Evaluates the ``pet-ct`` reader on the PET/CTs of Lung-PET-CT-Dx: which boxed tumours it reports, what it
calls cancer among the hot spots of which that is known, and how often it tells their histology."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.progress import track

from inference.card import ModelCard
from inference.catalogue import Catalogue
from inference.engine import Engine
from inference.engine.embedded import EmbeddedEngine
from inference.errors import UnreadableSeriesError
from inference.hot_spots import HotSpot
from inference.readers.pet_ct import HOT_SPOTS, NAME, Judged, judge, reported
from training.datasets.pet_ct_studies import PetCtStudy, read_pet_ct_studies, tumours
from training.errors import BrokenDataError
from training.evaluate.splits import splits_of, told_of
from training.metrics.classification import (
    Interval,
    auroc,
    aurocs,
    confusion,
    limits,
    mean_interval,
    roc,
)
from training.pet_ct.marked import NEAR_MM, OPEN, marked, tell_left_out
from training.pet_ct.spots import HISTOLOGIES, MALIGNANT

LAYOUT = "lung-pet-ct-dx"
_RESAMPLES = 500

Flags = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _Scan:
    """One PET/CT as it was read. kinds: what is known of each spot. hot, told: for each boxed tumour, whether
    a hot spot shows it, and whether one that is reported does. marks: how many are reported; ``others``: of
    these, on no box."""

    patient: str
    histology: str
    judged: Sequence[Judged]
    kinds: Sequence[int]
    hot: Sequence[bool]
    told: Sequence[bool]
    marks: int
    others: int


def evaluate_marked(data: Path | None, split: str, out: Path | None, catalogue: Catalogue) -> dict[str, Any]:
    """AUROC of cancer among the hot spots of which it is known (``training.pet_ct.marked``), and of their
    SUVmax alone; sensitivity to boxed tumours as reported, with marks per scan; accuracy and confusion of
    histology by patient, where the models say one. Each figure with its 95 % limits over resampled patients.

    split: ``all`` (the default), or one of those by patient (``training.evaluate.splits``).

    Raises:
        BrokenDataError: the data is not laid out so, or a file is damaged; it is named.
    """
    assert data is not None
    split = split or "all"
    of_patient = splits_of(catalogue)
    release = read_pet_ct_studies(data, lambda patient: split in ("all", of_patient(patient)))
    engine, card = EmbeddedEngine(catalogue), catalogue.find(HOT_SPOTS).card
    left_out = {reason: list(names) for reason, names in release.left_out.items()}
    scans = []
    for study in track(release.studies, "PET/CTs"):
        try:
            scans.append(_read(study, engine, catalogue, card))
        except UnreadableSeriesError as error:
            left_out.setdefault(str(error), []).append(study.name)
    tell_left_out(left_out)
    if not scans:
        raise BrokenDataError(f"{data} holds no PET/CT of the split {split} that can be measured on")
    if out is not None:
        from training.metrics.pictures import draw_roc

        truth, score = _known(scans, lambda one: one.malignant)
        if 0 < truth.sum() < len(truth):
            curve = {"cancer": (*roc(truth, score), auroc(truth, score))}
            draw_roc(curve, out / "cancer.png", f"{NAME}, {split}")
    kinds = [kind for scan in scans for kind in scan.kinds]
    return {
        "task": NAME,
        "layout": LAYOUT,
        "split": split,
        **told_of(split, catalogue),
        "patients": len({scan.patient for scan in scans}),
        "scans": len(scans),
        "left_out": left_out,
        "tumours": sum(len(scan.told) for scan in scans),
        "hot_spots": len(kinds),
        "hot_spots_known": sum(kind != OPEN for kind in kinds),
        "hot_spots_boxed": sum(kind == MALIGNANT for kind in kinds),
        "operating_points": {name: card.threshold(name) for name in ("lesion", "report")},
        **_figures(scans),
        **_histology(scans),
    }


def _read(study: PetCtStudy, engine: Engine, catalogue: Catalogue, card: ModelCard) -> _Scan:
    one = marked(study, engine, catalogue)
    judged = judge(one.pet, one.ct, one.spots, engine, card)
    marks = [mark.spot for mark in reported(judged, card)]
    boxed = tumours(study.boxes, NEAR_MM)

    def shown(spots: Sequence[HotSpot]) -> list[bool]:
        return [any(one.away_mm(spot, boxes) <= NEAR_MM for spot in spots) for boxes in boxed]

    others = sum(one.away_mm(spot, study.boxes) > NEAR_MM for spot in marks)
    hot, told = shown(one.spots), shown(marks)
    return _Scan(study.patient, study.histology, judged, one.kinds, hot, told, len(marks), others)


def _figures(scans: Sequence[_Scan]) -> dict[str, Any]:
    """Each with its 95 % limits over resampled patients, with all their scans."""
    figures: dict[str, Callable[[Sequence[_Scan]], float]] = {
        "cancer_auroc": lambda some: auroc(*_known(some, lambda one: one.malignant)),
        "cancer_auroc_of_suv_alone": lambda some: auroc(*_known(some, lambda one: one.spot.suv_max)),
        "tumour_sensitivity": lambda some: _mean([hit for scan in some for hit in scan.told]),
        "tumours_hot": lambda some: _mean([hit for scan in some for hit in scan.hot]),
        "marks_per_scan": lambda some: _mean([scan.marks for scan in some]),
        "marks_on_no_box_per_scan": lambda some: _mean([scan.others for scan in some]),
    }
    by_patient: dict[str, list[_Scan]] = defaultdict(list)
    for scan in scans:
        by_patient[scan.patient].append(scan)
    patients = list(by_patient.values())
    rng = np.random.default_rng(0)
    draws = [rng.integers(len(patients), size=len(patients)) for _ in range(_RESAMPLES)]
    told: dict[str, Any] = {}
    for name, figure in figures.items():
        drawn = np.array([figure([scan for k in draw for scan in patients[k]]) for draw in draws], np.float64)
        told |= Interval(figure(scans), *limits(drawn)).told(name)
    return told


def _histology(scans: Sequence[_Scan]) -> dict[str, Any]:
    """By patient, of all boxed spots' mean probabilities: how often the highest is right, the confusion, and
    the AUROC of each type. Empty where the models say none, or nothing boxed is hot."""
    said: dict[tuple[str, str], list[Floats]] = defaultdict(list)
    for scan in scans:
        for one, kind in zip(scan.judged, scan.kinds, strict=True):
            if kind == MALIGNANT and one.histologies:
                probabilities = [one.histologies.get(name, 0.0) for name in HISTOLOGIES]
                said[scan.patient, scan.histology].append(np.array(probabilities))
    if not said:
        return {}
    true = [histology for _, histology in said]
    score = np.array([np.mean(each, axis=0) for each in said.values()])
    called = [HISTOLOGIES[k] for k in score.argmax(1)]
    right = mean_interval([t == c for t, c in zip(true, called, strict=True)])
    of_type = aurocs([[t == name for name in HISTOLOGIES] for t in true], score)
    told = right.told("histology_accuracy") | of_type.mean.told("histology_auroc")
    for name, area in zip(HISTOLOGIES, of_type.classes, strict=True):
        told |= area.told(f"histology_auroc_{name.replace(' ', '_')}")
    matrix = confusion(true, called, HISTOLOGIES).tolist()
    return {
        "histology_patients": len(said),
        **told,
        "histology_confusion": {"classes": list(HISTOLOGIES), "true_by_called": matrix},
    }


def _known(scans: Sequence[_Scan], score: Callable[[Judged], float]) -> tuple[Flags, Floats]:
    """Of every hot spot of which it is known: whether it is cancer, and a score."""
    pairs = [
        (kind == MALIGNANT, score(one))
        for scan in scans
        for one, kind in zip(scan.judged, scan.kinds, strict=True)
        if kind != OPEN
    ]
    return np.array([p[0] for p in pairs], bool), np.array([p[1] for p in pairs], np.float64)


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")
