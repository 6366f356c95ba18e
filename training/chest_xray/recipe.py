"""How the two networks of ``chest-xray`` are made and measured, from two folders to a model repository."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from inference.catalogue import Catalogue
from inference.model_repository import sync
from inference.parity import write_parity_sample
from training.chest_xray import cards
from training.chest_xray.findings import (
    Linear,
    crossed,
    features_of,
    figures,
    fit_findings,
    folds_by_patient,
    labels_of,
)
from training.chest_xray.lungs import LungCase, dice, drawn_lungs, read_lung_masks, train_lungs
from training.chest_xray.scattering import FindingsForService
from training.datasets.nih import CLASSES, Radiograph, read_nih
from training.export import random_input, write_model, write_onnx
from training.loop import Schedule
from training.segmenter import Segmenter, SegmenterForService

SPECIFICITY = 0.9


@dataclass(frozen=True)
class Plan:
    """``schedule``: of the network that draws the lungs; None for the usual one."""

    seed: int = 1
    device: str = "cpu"
    resume: bool = True
    schedule: Schedule | None = None


def train(nih: Sequence[Path], masks: Path, out: Path, plan: Plan) -> Path:
    """Train both networks and write them into ``out/models``, a model repository; returns that folder.

    nih: folders of layout ``nih``. masks: a folder of layout ``lung-masks``.
    """
    chosen = {} if plan.schedule is None else {"schedule": plan.schedule}
    lungs, _ = train_lungs(
        read_lung_masks(masks),
        out / "lungs",
        seed=plan.seed,
        resume=plan.resume,
        device=plan.device,
        **chosen,
    )
    radiographs = read_nih(nih)
    features = features_of(radiographs, lungs.to("cpu"))
    logits = crossed(radiographs, features, folds_by_patient(radiographs))
    export(lungs, radiographs, features, logits, out / "models")
    return out / "models"


def evaluate_findings(nih: Sequence[Path], lungs: Segmenter) -> dict[str, dict[str, float]]:
    """By class, over five folds by patient: see ``training.chest_xray.findings.figures``."""
    radiographs = read_nih(nih)
    features = features_of(radiographs, lungs)
    return figures(radiographs, crossed(radiographs, features, folds_by_patient(radiographs)))


def evaluate_lungs(masks: Path, out: Path, plan: Plan, folds: int = 5) -> list[tuple[float, float, float]]:
    """Dice of both lungs together, the right and the left one, of each radiograph by a network that saw none
    of its patient."""
    cases = read_lung_masks(masks)
    patients = sorted({case.patient for case in cases})
    order = np.random.default_rng(7).permutation(len(patients))
    fold = {patient: int(order[k]) % folds for k, patient in enumerate(patients)}
    found: list[tuple[float, float, float]] = []
    for k in range(folds):
        kept = [case for case in cases if fold[case.patient] != k]
        chosen = {} if plan.schedule is None else {"schedule": plan.schedule}
        network, _ = train_lungs(
            kept, out / f"lungs-{k}", seed=plan.seed + k, resume=plan.resume, device=plan.device, **chosen
        )
        found += dice_of(network.to("cpu"), [case for case in cases if fold[case.patient] == k])
    return found


def dice_of(network: Segmenter, cases: Sequence[LungCase]) -> list[tuple[float, float, float]]:
    """Of both lungs together, the right and the left one, at the network's resolution."""
    drawn = drawn_lungs(network, np.stack([case.picture for case in cases]))
    return [
        (
            dice(np.asarray(d.any(0)), np.asarray(case.masks.any(0))),
            dice(d[0], case.masks[0]),
            dice(d[1], case.masks[1]),
        )
        for d, case in zip(drawn, cases, strict=True)
    ]


def export(
    lungs: Segmenter,
    radiographs: Sequence[Radiograph],
    features: np.ndarray[Any, Any],
    logits: np.ndarray[Any, Any],
    repository: Path,
    *,
    version: int = 1,
    lung_metrics: Sequence[dict[str, Any]] = (),
) -> None:
    """Both networks as ONNX with card, README, parity sample and Triton configuration.

    logits: by models that saw no image of the patient; probabilities are calibrated on them, and operating
    points chosen.
    """
    truth = labels_of(radiographs)
    fitted = fit_findings(features, truth, np.array([r.patient for r in radiographs]))
    calibrated, thresholds = _calibrated(fitted, logits, truth)
    network = FindingsForService(calibrated.mean, calibrated.weights, calibrated.bias)
    metrics = _metrics(figures(radiographs, logits))
    chosen_for = f"specificity {SPECIFICITY:g} over five folds by patient"
    card = cards.findings_card(version, thresholds, chosen_for, metrics)
    _export_one(network, card, repository)
    _export_one(SegmenterForService(lungs), cards.lungs_card(version, lung_metrics), repository)
    sync(Catalogue(repository))


def _calibrated(
    fitted: Linear, logits: np.ndarray[Any, Any], truth: np.ndarray[Any, Any]
) -> tuple[Linear, dict[str, float]]:
    """Platt scaling on the held-out logits, and thresholds for all classes but no finding."""
    weights, bias, thresholds = fitted.weights.copy(), fitted.bias.copy(), {}
    for k, name in enumerate(CLASSES):
        scaled = LogisticRegression(C=1e3).fit(logits[:, k : k + 1], truth[:, k])
        slope, offset = max(float(scaled.coef_[0, 0]), 1e-3), float(scaled.intercept_[0])
        weights[k] *= slope
        bias[k] = bias[k] * slope + offset
        if name != "no_finding":
            cut = np.quantile(logits[~truth[:, k], k], SPECIFICITY) * slope + offset
            thresholds[name] = float(1 / (1 + np.exp(-cut)))
    return Linear(fitted.mean, weights, bias), thresholds


def _metrics(found: dict[str, dict[str, float]]) -> list[dict[str, Any]]:
    base = {"data_set": "cxr_nih and cxr_nih_more", "trained_on": "real"}
    rows: list[dict[str, Any]] = []
    for name, row in found.items():
        whole = {"metric": f"AUROC {name}", "value": round(row["auroc"], 3), "cases": int(row["positives"])}
        rows.append(
            whole
            | {"ci": [round(row["low"], 3), round(row["high"], 3)], "split": "5 folds by patient"}
            | base
        )
        for view in ("AP", "PA"):
            if (value := row.get(f"within_{view}")) is not None:
                split = f"5 folds by patient, {view} only"
                rows.append({"metric": f"AUROC {name}", "value": round(value, 3), "split": split} | base)
    mean = float(np.mean([row["auroc"] for row in found.values()]))
    rows.append({"metric": "mean AUROC", "value": round(mean, 3), "split": "5 folds by patient"} | base)
    return rows


def _export_one(network: torch.nn.Module, card: dict[str, Any], repository: Path) -> None:
    folder = repository / str(card["name"])
    size = card["inputs"][0]["dims"][-1]
    rough = torch.nn.functional.interpolate(random_input((1, 1, 16, 16)), size=(size, size), mode="bilinear")
    outputs = [output["tensor"] for output in card["outputs"]]
    path = folder / str(card["version"]) / "model.onnx"
    answers = write_onnx(network, {"picture": rough}, outputs, {}, path)
    checked = write_model(repository, card, f"# {card['name']}\n\n{card['task']}.\n")
    write_parity_sample(folder, checked, {"picture": rough.numpy()}, answers)
