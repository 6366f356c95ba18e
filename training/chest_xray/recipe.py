"""How the two networks of ``chest-xray`` are made and measured, from folders to a model repository."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression

from inference.catalogue import Catalogue
from inference.model_repository import sync
from inference.readers.radiograph import Floats
from training.chest_xray import cards
from training.chest_xray.findings import (
    FOLDS,
    Linear,
    crossed,
    features_of,
    figures,
    fit_findings,
    folds_of,
    labels_of,
    patients_of,
    to_learn_from,
)
from training.chest_xray.lungs import (
    SCHEDULE,
    dices,
    drawn_lungs,
    lung_cases,
    lung_masks,
    lungs_on,
    train_lungs,
)
from training.chest_xray.scattering import FindingsForService
from training.datasets.case import Case
from training.datasets.chest_labels import CLASSES
from training.datasets.layouts import read_cases
from training.loop import Schedule
from training.segmenter import SegmenterForService, export_picture_network

VERSION = 4
SPECIFICITY, SENSITIVITY = 0.9, 0.95


@dataclass(frozen=True)
class Plan:
    """How the network that draws the lungs is trained; the findings are fitted, not trained."""

    seed: int = 1
    device: str = "cpu"
    resume: bool = True
    schedule: Schedule = SCHEDULE


def train(layout: str, labelled: Sequence[Path], masks: Path, out: Path, plan: Plan) -> Path:
    """Train both networks and write them into ``out/models``, a model repository; returns that folder.

    labelled: folders of ``layout``, one of those with labels. masks: a folder of layout ``lung-masks``.

    Raises:
        BrokenDataError: as ``to_learn_from``, or data that is not laid out so.
    """
    radiographs = to_learn_from(layout, labelled)
    outlined = read_cases("lung-masks", masks)
    lungs = train_lungs(
        lung_cases(outlined),
        out / "lungs",
        plan.schedule,
        seed=plan.seed,
        resume=plan.resume,
        device=plan.device,
    ).to("cpu")
    features = features_of(radiographs, partial(drawn_lungs, lungs))
    repository = out / "models"
    seen = _learned_from(layout, labelled, radiographs)
    shown = _learned_from("lung-masks", [masks], outlined)
    export_findings(radiographs, features, crossed(radiographs, features), repository, seen, shown)
    export_picture_network(SegmenterForService(lungs), cards.lungs_card(VERSION, shown, layout), repository)
    sync(Catalogue(repository))
    return repository


def _learned_from(layout: str, folders: Sequence[Path], cases: Sequence[Case]) -> cards.LearnedFrom:
    names, patients = tuple(folder.name for folder in folders), {case.patient for case in cases}
    return cards.LearnedFrom(layout, names, len(cases), len(patients))


def crossed_lungs(cases: Sequence[Case], out: Path, plan: Plan) -> Floats:
    """(cases, 3): ``dices`` of each radiograph as the reader would draw it by a network that saw none of its
    patient; over five folds."""
    fitted, folds = lung_cases(cases), folds_of(cases)
    found = np.zeros((len(cases), 3), np.float32)
    for fold in range(FOLDS):
        network = train_lungs(
            [case for case, k in zip(fitted, folds, strict=True) if k != fold],
            out / f"lungs-{fold}",
            plan.schedule,
            seed=plan.seed + fold,
            resume=plan.resume,
            device=plan.device,
        ).to("cpu")
        for at, case in enumerate(cases):
            if folds[at] == fold:
                found[at] = dices(lung_masks(case), lungs_on(case, network))
    return found


def export_findings(
    radiographs: Sequence[Case],
    features: Floats,
    logits: Floats,
    repository: Path,
    seen: cards.LearnedFrom,
    masks: cards.LearnedFrom,
) -> None:
    """The classifier as ONNX with card, README, parity sample and Triton configuration.

    logits: by models that saw no image of the patient; probabilities are calibrated on them, and operating
    points chosen. seen: where the radiographs come from. masks: what showed where lungs are.
    """
    truth = labels_of(radiographs)
    fitted = fit_findings(features, truth, patients_of(radiographs))
    calibrated, points = calibrated_on(fitted, logits, truth)
    network = FindingsForService(calibrated.mean, calibrated.weights, calibrated.bias)
    rows = metrics(figures(radiographs, logits), seen.name)
    card = cards.findings_card(VERSION, points, rows, seen, masks)
    export_picture_network(network, card, repository)


def calibrated_on(fitted: Linear, logits: Floats, truth: Floats) -> tuple[Linear, dict[str, dict[str, Any]]]:
    """Platt scaling on the held-out logits, and the operating points of all classes but no finding: a class
    is called present at a specificity, absent below a sensitivity, and neither between."""
    weights, bias = fitted.weights.copy(), fitted.bias.copy()
    points: dict[str, dict[str, Any]] = {}
    for k, name in enumerate(CLASSES):
        known = ~np.isnan(truth[:, k])
        values, is_positive = logits[known, k], truth[known, k] > 0.5
        scaled = LogisticRegression(C=1e3).fit(values[:, None], is_positive)
        slope, offset = max(float(scaled.coef_[0, 0]), 1e-3), float(scaled.intercept_[0])
        weights[k] *= slope
        bias[k] = bias[k] * slope + offset
        if name == "no_finding":
            continue
        high = np.quantile(values[~is_positive], SPECIFICITY)
        low = min(np.quantile(values[is_positive], 1 - SENSITIVITY), high)
        for point, cut, aim in (
            (name, high, f"specificity {SPECIFICITY:g}"),
            (f"{name} absent", low, f"sensitivity {SENSITIVITY:g}: absent below it"),
        ):
            probability = float(1 / (1 + np.exp(-(cut * slope + offset))))
            points[point] = {
                "threshold": round(probability, 4),
                "chosen_for": f"{aim}, over five folds by patient",
            }
    return replace(fitted, weights=weights, bias=bias), points


def metrics(found: dict[str, dict[str, float]], data_set: str) -> list[dict[str, Any]]:
    """The card's rows of ``training.chest_xray.findings.figures``."""
    base = {"data_set": data_set, "trained_on": "real"}
    rows: list[dict[str, Any]] = []
    for name, row in found.items():
        whole = {
            "metric": "mean AUROC" if name == "mean" else f"AUROC {name}",
            "value": round(row["auroc"], 3),
            "ci": [round(row["low"], 3), round(row["high"], 3)],
            "split": f"{FOLDS} folds by patient",
        }
        if "positives" in row:
            whole["cases"] = int(row["positives"])
        rows.append(whole | base)
        for view in ("AP", "PA"):
            if (value := row.get(f"within_{view}")) is not None:
                split = f"{FOLDS} folds by patient, {view} only"
                rows.append({"metric": f"AUROC {name}", "value": round(value, 3), "split": split} | base)
        for key, split in (
            ("among_abnormal", f"{FOLDS} folds by patient, no picture without finding"),
            ("by_view_alone", "all, told nothing but AP or PA"),
        ):
            if (value := row.get(key)) is not None:
                rows.append({"metric": f"AUROC {name}", "value": round(value, 3), "split": split} | base)
    return rows
