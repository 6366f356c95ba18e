"""Evaluates the ``pet-ct`` reader on phantoms never seen in training: what it finds, what it calls cancer,
and how well it measures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.progress import track

from inference.card import ModelCard
from inference.catalogue import Catalogue
from inference.engine import Engine
from inference.engine.embedded import EmbeddedEngine
from inference.hot_spots import hot_spots
from inference.readers.pet_ct import HOT_SPOTS, NAME, Judged, judge, reported, uptake
from training.metrics.classification import Interval, auroc, limits, roc
from training.pet_ct.spots import PATIENTS_PER_ANATOMY, lesion_of, volumes
from training.phantoms.hot_lesions import HotLesion
from training.phantoms.pet import TrueLesion, pet_ct_phantom

PATIENTS = 50
_FIRST_SEED = {"held-out": 700_000, "shifted": 800_000}
_RESAMPLES = 500


@dataclass(frozen=True, eq=False)
class _Patient:
    """One phantom as it was read: each hot spot with the lesion it shows, if any."""

    judged: Sequence[Judged]
    shown: Sequence[TrueLesion | None]
    lesions: Sequence[TrueLesion]
    measured: Sequence[tuple[TrueLesion, float, float]]
    """Lesions told from physiology, with metabolic volume in mm3 and SUVpeak."""


def evaluate_phantoms(
    data: Path | None,
    split: str,
    out: Path | None,
    catalogue: Catalogue,
    *,
    patients: int = PATIENTS,
) -> dict[str, Any]:
    """AUROC of cancer, sensitivity and false marks at the operating point, errors of volume and SUV.

    split: ``held-out`` (cameras and physiology as in training) or ``shifted`` (others).
    """
    split = split or "held-out"
    engine = EmbeddedEngine(catalogue)
    first = _FIRST_SEED[split]
    read = [
        _read(first, first + k, engine, catalogue, split == "shifted")
        for k in track(range(patients), "phantom patients")
    ]
    card = catalogue.find(HOT_SPOTS).card
    if out is not None:
        from training.metrics.pictures import draw_roc

        truth, score = _cancers(read)
        draw_roc(
            {"cancer": (*roc(truth, score), auroc(truth, score))}, out / "cancer.png", f"{NAME}, {split}"
        )
    return {
        "task": NAME,
        "layout": "phantom",
        "split": split,
        "patients": patients,
        "lesions": sum(len(p.lesions) for p in read),
        "hot_spots": sum(len(p.judged) for p in read),
        "operating_points": {name: card.threshold(name) for name in ("lesion", "report")},
        **_figures(read, card),
    }


def _read(first: int, seed: int, engine: Engine, catalogue: Catalogue, shifted: bool) -> _Patient:
    lesions = int(np.random.default_rng([seed, 97]).integers(3, 8))
    anatomy = first + (seed - first) // PATIENTS_PER_ANATOMY
    phantom = pet_ct_phantom(anatomy, seed, lesions, shifted=shifted)
    pet, ct = volumes(phantom)
    card = catalogue.find(HOT_SPOTS).card
    p = card.postprocess
    spots = hot_spots(pet, least_suv=p["least_suv"], least_ml=p["least_ml"], most=int(p["most_hot_spots"]))
    judged = judge(pet, ct, spots, engine, card)
    shown = [lesion_of(one.spot, phantom.lesions, pet) for one in judged]
    measured = [
        (lesion, float(one.spot.mask.voxels.sum()) * pet.voxel_mm3, uptake(one.spot, pet).suv_peak)
        for one, lesion in zip(judged, shown, strict=True)
        if lesion is not None and one.lesion >= card.threshold("lesion")
    ]
    return _Patient(judged, shown, phantom.lesions, measured)


def _figures(read: Sequence[_Patient], card: ModelCard) -> dict[str, Any]:
    """Each figure with its 95 % limits over resampled patients."""

    def as_lesion(judged: Sequence[Judged]) -> list[Judged]:
        return [one for one in judged if one.lesion >= card.threshold("lesion")]

    figures: dict[str, Callable[[Sequence[_Patient]], float]] = {
        "cancer_auroc": lambda some: auroc(*_cancers(some)),
        "malignancy_auroc": lambda some: auroc(*_malignancies(some)),
        "lesion_auroc": lambda some: auroc(*_lesions(some)),
        "lesion_sensitivity": partial(_sensitivity, told=as_lesion, wanted=lambda r: True),
        "lesion_sensitivity_from_10_mm": partial(
            _sensitivity, told=as_lesion, wanted=lambda r: r.diameter_mm >= 10
        ),
        "cancer_sensitivity": partial(_sensitivity, told=reported_by(card), wanted=lambda r: r.malignant),
        "benign_reported": partial(_sensitivity, told=reported_by(card), wanted=lambda r: not r.malignant),
        "physiological_lesions_per_scan": partial(_false_marks, told=as_lesion),
        "physiological_reported_per_scan": partial(_false_marks, told=reported_by(card)),
        "site_accuracy": _site_accuracy,
    }
    rng = np.random.default_rng(0)
    draws = [rng.integers(len(read), size=len(read)) for _ in range(_RESAMPLES)]
    out: dict[str, Any] = {}
    for name, figure in figures.items():
        drawn = np.array([figure([read[k] for k in draw]) for draw in draws], np.float64)
        out |= Interval(figure(read), *limits(drawn)).told(name)
    measured = [one for patient in read for one in patient.measured if one[0].recipe.diameter_mm >= 10]
    volume = np.array([mm3 / lesion.volume_mm3 - 1 for lesion, mm3, _ in measured])
    large = [(lesion, peak) for lesion, _, peak in measured if lesion.recipe.diameter_mm >= 20]
    suv = np.array([peak / lesion.suv - 1 for lesion, peak in large])
    out |= _median_of(100 * np.abs(volume)).told("mtv_error_percent")
    out |= _median_of(100 * volume).told("mtv_bias_percent")
    out |= _median_of(100 * np.abs(suv)).told("suv_peak_error_percent_from_20_mm")
    out |= _median_of(100 * suv).told("suv_peak_bias_percent_from_20_mm")
    return out


def _cancers(read: Sequence[_Patient]) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64]]:
    """Of every hot spot the reader looked at, physiological ones too: whether it is cancer, and the
    probability given."""
    return _ranked(read, lambda j: j.malignant, lambda lesion: lesion is not None and lesion.recipe.malignant)


def _lesions(read: Sequence[_Patient]) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64]]:
    return _ranked(read, lambda j: j.lesion, lambda lesion: lesion is not None)


def _malignancies(read: Sequence[_Patient]) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64]]:
    """Of the lesions among the hot spots: cancer against inflammation."""
    pairs = [
        (lesion.recipe.malignant, one.malignancy)
        for patient in read
        for one, lesion in zip(patient.judged, patient.shown, strict=True)
        if lesion is not None
    ]
    return np.array([p[0] for p in pairs], bool), np.array([p[1] for p in pairs], np.float64)


def _ranked(
    read: Sequence[_Patient],
    score: Callable[[Judged], float],
    truth: Callable[[TrueLesion | None], bool],
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64]]:
    return (
        np.array([truth(lesion) for patient in read for lesion in patient.shown], bool),
        np.array([score(one) for patient in read for one in patient.judged], np.float64),
    )


Told = Callable[[Sequence[Judged]], Sequence[Judged]]


def reported_by(card: ModelCard) -> Told:
    return partial(reported, card=card)


def _sensitivity(read: Sequence[_Patient], told: Told, wanted: Callable[[HotLesion], bool]) -> float:
    """The share of the wanted lesions that a mark shows, whether anything was hot there or not."""
    hits = total = 0
    for patient in read:
        marks = {id(one) for one in told(patient.judged)}
        pairs = zip(patient.judged, patient.shown, strict=True)
        marked = {id(lesion) for one, lesion in pairs if lesion is not None and id(one) in marks}
        those = [lesion for lesion in patient.lesions if wanted(lesion.recipe)]
        total += len(those)
        hits += sum(id(lesion) in marked for lesion in those)
    return hits / total if total else float("nan")


def _false_marks(read: Sequence[_Patient], told: Told) -> float:
    """Marks per scan that show no lesion at all."""
    count = 0
    for patient in read:
        marks = {id(one) for one in told(patient.judged)}
        pairs = zip(patient.judged, patient.shown, strict=True)
        count += sum(lesion is None and id(one) in marks for one, lesion in pairs)
    return count / len(read)


def _site_accuracy(read: Sequence[_Patient]) -> float:
    right = [
        one.site == lesion.recipe.site
        for patient in read
        for one, lesion in zip(patient.judged, patient.shown, strict=True)
        if lesion is not None
    ]
    return float(np.mean(right)) if right else float("nan")


def _median_of(values: npt.NDArray[np.float64]) -> Interval:
    if not len(values):
        return Interval(*[float("nan")] * 3)
    rng = np.random.default_rng(0)
    drawn = np.median(values[rng.integers(len(values), size=(_RESAMPLES, len(values)))], axis=1)
    return Interval(float(np.median(values)), *limits(drawn))
