"""Fits and measures the probabilities of findings on chest radiographs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold
from torch import nn

from inference.readers.radiograph import FINDINGS_SIZE, LUNGS_SIZE, Floats, around, sampled, square
from training.chest_xray.lungs import drawn_lungs
from training.chest_xray.scattering import Scattering, flat
from training.datasets.nih import CLASSES, Radiograph

STRENGTHS = (1.0, 5.0, 25.0)
_COMPONENTS = 200
_BATCH = 32


@dataclass(frozen=True, eq=False)
class Linear:
    """Logits are ``(features - mean) @ weights.T + bias``; weights (classes, features)."""

    mean: Floats
    weights: Floats
    bias: Floats

    def logits(self, features: Floats) -> Floats:
        return np.asarray((features - self.mean) @ self.weights.T + self.bias, np.float32)


def features_of(radiographs: Sequence[Radiograph], lungs: nn.Module) -> Floats:
    """(radiographs, features), each seen within the box of its lungs."""
    scattering = Scattering()
    rows = []
    for at in range(0, len(radiographs), _BATCH):
        pixels = [r.pixels() for r in radiographs[at : at + _BATCH]]
        whole = np.stack([sampled(p, square(p), LUNGS_SIZE) for p in pixels])
        drawn = np.asarray(drawn_lungs(lungs, whole).any(1))
        close = np.stack(
            [
                sampled(p, around(mask, square(p)), FINDINGS_SIZE)
                for p, mask in zip(pixels, drawn, strict=True)
            ]
        )
        with torch.no_grad():
            rows.append(flat(*scattering(torch.from_numpy(close)[:, None])))
    return np.concatenate(rows)


def fit_findings(features: Floats, labels: npt.NDArray[np.bool_], patients: npt.NDArray[np.str_]) -> Linear:
    """A logistic regression for each class on the principal components of the standardised features; how
    strongly it is held back is chosen by patients among those given."""
    mean = features.mean(0)
    spread = features.std(0) + 1e-3
    scaled = (features - mean) / spread
    components = _principal(scaled)
    reduced = scaled @ components.T / np.sqrt(scaled.shape[1])
    weights, bias = [], []
    for column in labels.T:
        fitted = _logistic(_strength(reduced, column, patients)).fit(reduced, column)
        weights.append(fitted.coef_[0] @ components / np.sqrt(scaled.shape[1]) / spread)
        bias.append(fitted.intercept_[0])
    return Linear(mean, np.asarray(weights, np.float32), np.asarray(bias, np.float32))


def _principal(scaled: Floats) -> Floats:
    """(components, features), the directions of most variance; by the Gram matrix, as there are fewer images
    than features."""
    values, vectors = np.linalg.eigh((scaled @ scaled.T).astype(np.float64))
    kept = np.argsort(values)[::-1][: min(_COMPONENTS, len(scaled) - 1)]
    return np.asarray((vectors[:, kept] / np.sqrt(values[kept])).T @ scaled, np.float32)


def _logistic(strength: float) -> LogisticRegression:
    return LogisticRegression(C=strength, max_iter=200)


def _strength(reduced: Floats, column: npt.NDArray[np.bool_], patients: npt.NDArray[np.str_]) -> float:
    folds = list(GroupKFold(3).split(reduced, column, patients))
    scores = []
    for strength in STRENGTHS:
        answers = np.zeros(len(column))
        for train, test in folds:
            answers[test] = (
                _logistic(strength).fit(reduced[train], column[train]).decision_function(reduced[test])
            )
        scores.append(roc_auc_score(column, answers))
    return STRENGTHS[int(np.argmax(scores))]


def folds_by_patient(
    radiographs: Sequence[Radiograph], count: int = 5, seed: int = 11
) -> npt.NDArray[np.int64]:
    """The fold of each radiograph; all of one patient lie in one."""
    patients = sorted({r.patient for r in radiographs})
    order = np.random.default_rng(seed).permutation(len(patients))
    fold = {patient: int(order[k]) % count for k, patient in enumerate(patients)}
    return np.array([fold[r.patient] for r in radiographs])


def crossed(radiographs: Sequence[Radiograph], features: Floats, folds: npt.NDArray[np.int64]) -> Floats:
    """Logits of each radiograph by a model that saw no image of its patient, (radiographs, classes)."""
    labels, patients = labels_of(radiographs), np.array([r.patient for r in radiographs])
    answers = np.zeros(labels.shape, np.float32)
    for fold in np.unique(folds):
        train, test = folds != fold, folds == fold
        answers[test] = fit_findings(features[train], labels[train], patients[train]).logits(features[test])
    return answers


def labels_of(radiographs: Sequence[Radiograph]) -> npt.NDArray[np.bool_]:
    return np.array([r.labels for r in radiographs])


def auroc_with_ci(
    truth: npt.NDArray[np.bool_],
    score: npt.NDArray[np.floating],
    patients: npt.NDArray[np.str_],
    *,
    draws: int = 500,
    seed: int = 5,
) -> tuple[float, float, float]:
    """AUROC and its 95 % limits, patients drawn again."""
    rng = np.random.default_rng(seed)
    names, member = np.unique(patients, return_inverse=True)
    rows = [np.flatnonzero(member == k) for k in range(len(names))]
    values = []
    for _ in range(draws):
        drawn = np.concatenate([rows[k] for k in rng.integers(0, len(names), len(names))])
        if truth[drawn].any() and not truth[drawn].all():
            values.append(roc_auc_score(truth[drawn], score[drawn]))
    low, high = np.percentile(values, (2.5, 97.5))
    return float(roc_auc_score(truth, score)), float(low), float(high)


def figures(radiographs: Sequence[Radiograph], logits: Floats) -> dict[str, dict[str, float]]:
    """By class: AUROC with limits, within each view, and what the view alone would give."""
    truth, patients = labels_of(radiographs), np.array([r.patient for r in radiographs])
    views = np.array([r.view for r in radiographs])
    found: dict[str, dict[str, float]] = {}
    for k, name in enumerate(CLASSES):
        auroc, low, high = auroc_with_ci(truth[:, k], logits[:, k], patients)
        row = {"positives": float(truth[:, k].sum()), "auroc": auroc, "low": low, "high": high}
        alone = roc_auc_score(truth[:, k], views == "AP")
        row["by_view_alone"] = float(max(alone, 1 - alone))
        for view in ("AP", "PA"):
            part = views == view
            if 5 <= truth[part, k].sum() < part.sum() - 5:
                row[f"within_{view}"] = float(roc_auc_score(truth[part, k], logits[part, k]))
        found[name] = row
    return found
