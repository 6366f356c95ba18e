"""Fits and measures the probabilities of findings on chest radiographs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from rich.progress import track
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

from inference.readers.radiograph import (
    FINDINGS_SIZE,
    LUNGS_SIZE,
    Floats,
    around,
    of_one_part,
    sampled,
    square,
)
from training.chest_xray.scattering import Linear, Scattering, flat
from training.datasets.case import Case
from training.datasets.chest_labels import CLASSES
from training.datasets.layouts import read_cases
from training.datasets.splits import fold_of
from training.errors import BrokenDataError
from training.metrics.classification import auroc, aurocs

FOLDS = 5
STRENGTHS = (1.0, 5.0, 25.0)
_COMPONENTS = 200
_BATCH = 32
_Fold = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]


def read_radiographs(layout: str, folders: Sequence[Path]) -> list[Case]:
    """The frontal radiographs of folders of one layout; one that lies in two of them counts once."""
    found: dict[str, Case] = {}
    for folder in folders:
        for case in read_cases(layout, folder):
            found.setdefault(case.id, case)
    return list(found.values())


def to_learn_from(layout: str, folders: Sequence[Path]) -> list[Case]:
    """The radiographs of ``read_radiographs`` that the release leaves for training, which are all where it
    has no splits.

    Raises:
        BrokenDataError: none, or a class that cannot be learned in folds by patient.
    """
    cases = [case for case in read_radiographs(layout, folders) if case.split in (None, "train")]
    where = ", ".join(map(str, folders))
    if not cases:
        raise BrokenDataError(f"{where} holds no radiographs of the split train")
    folds = folds_of(cases)
    for name, column in zip(CLASSES, labels_of(cases).T, strict=True):
        for value, said in ((1, "with"), (0, "without")):
            held = [case.patient for case, label in zip(cases, column, strict=True) if label == value]
            if len(np.unique(folds[column == value])) < 2:
                raise BrokenDataError(
                    f"{where} has {len(held)} radiographs {said} {name}, of {len(set(held))} patients: too "
                    f"few to learn from in {FOLDS} folds by patient"
                )
    return cases


def features_of(radiographs: Sequence[Case], draw: Callable[[Floats], Floats]) -> Floats:
    """(radiographs, features) of ``scattered``, each seen within the box of its lungs; ``draw`` takes
    pictures, (pictures, size, size), and gives the probabilities of their lungs, (pictures, 2, size,
    size)."""
    return np.concatenate([scattered(pictures) for pictures in close_ups(radiographs, draw)])


def close_ups(radiographs: Sequence[Case], draw: Callable[[Floats], Floats]) -> Iterator[Floats]:
    """Some at a time, (pictures, ``FINDINGS_SIZE``, ``FINDINGS_SIZE``), what the classifier sees of each: the
    box of its lungs. ``draw``: as for ``features_of``."""
    for at in track(range(0, len(radiographs), _BATCH), "radiographs"):
        pixels = [case.load().pixels for case in radiographs[at : at + _BATCH]]
        whole = np.stack([sampled(p, square(p), LUNGS_SIZE) for p in pixels])
        drawn = [np.any([of_one_part(side) >= 0.5 for side in sides], 0) for sides in draw(whole)]
        yield np.stack(
            [
                sampled(p, around(mask, square(p)), FINDINGS_SIZE)
                for p, mask in zip(pixels, drawn, strict=True)
            ]
        )


def scattered(pictures: Floats) -> Floats:
    """(pictures, features): the mean of what ``Scattering`` says of a picture and of its mirror image.

    What is fitted on these says the same of a picture as of its mirror image, and says it of what
    ``Scattering`` gives of the picture alone: its weights mirror into themselves.
    """
    scattering = Scattering()
    seen = torch.from_numpy(pictures)[:, None]
    with torch.no_grad():
        both = flat(*scattering(seen)) + flat(*scattering(seen.flip(3)))
    return np.asarray(both / 2, np.float32)


def fit_findings(features: Floats, labels: Floats, patients: npt.NDArray[np.str_]) -> Linear:
    """A logistic regression for each class on the principal components of the standardised features, where
    being there counts as much as not being there; how strongly all are held back is chosen by patients among
    those given.

    labels: (radiographs, classes), 1 or 0, NaN where it is open: left out for that class. What is said of a
    class that is not known both to be there and not to be is NaN.
    """
    mean = features.mean(0)
    spread = features.std(0) + 1e-3
    scaled = (features - mean) / spread
    components = _principal(scaled)
    reduced = scaled @ components.T / np.sqrt(scaled.shape[1])
    strength = _strength(reduced, labels, patients)
    weights, bias = [], []
    for column in labels.T:
        known = ~np.isnan(column)
        values, truth = reduced[known], column[known] > 0.5
        if truth.all() or not truth.any():
            weights.append(np.full(len(mean), np.nan))
            bias.append(np.nan)
            continue
        fitted = _logistic(strength).fit(values, truth)
        weights.append(fitted.coef_[0] @ components / np.sqrt(scaled.shape[1]) / spread)
        bias.append(float(fitted.intercept_[0]))
    return Linear(mean, np.asarray(weights, np.float32), np.asarray(bias, np.float32))


def _principal(scaled: Floats) -> Floats:
    """(components, features), the directions of most variance; by the Gram matrix where there are fewer
    images than features, else by the covariance."""
    images, features = scaled.shape
    if images > features:
        values, vectors = np.linalg.eigh((scaled.T @ scaled).astype(np.float64))
        return np.asarray(vectors[:, np.argsort(values)[::-1][:_COMPONENTS]].T, np.float32)
    values, vectors = np.linalg.eigh((scaled @ scaled.T).astype(np.float64))
    kept = np.argsort(values)[::-1][: min(_COMPONENTS, images - 1)]
    return np.asarray((vectors[:, kept] / np.sqrt(values[kept])).T @ scaled, np.float32)


def _logistic(strength: float) -> LogisticRegression:
    return LogisticRegression(C=strength, max_iter=200, class_weight="balanced")


def _strength(reduced: Floats, labels: Floats, patients: npt.NDArray[np.str_]) -> float:
    """The one of ``STRENGTHS`` that tells all classes best on average, in folds by patient; the least where
    they tell nothing. One class alone has too few positives to choose by."""
    count = min(3, len(np.unique(patients)))
    folds = list(GroupKFold(count).split(reduced, None, patients)) if count > 1 else []
    scores = [
        [_told(reduced, column, folds, strength) for column in labels.T] if folds else [np.nan]
        for strength in STRENGTHS
    ]
    means = [float(np.mean(row)) if (row := [one for one in each if one == one]) else 0.0 for each in scores]
    return STRENGTHS[means.index(max(means))]


def _told(reduced: Floats, column: Floats, folds: Sequence[_Fold], strength: float) -> float:
    """AUROC of a class over the folds that can be learned from; NaN where it is none."""
    is_positive, known = column > 0.5, ~np.isnan(column)
    asked, answers = [], []
    for train, test in folds:
        train, test = train[known[train]], test[known[test]]
        if len(test) and is_positive[train].any() and not is_positive[train].all():
            fitted = _logistic(strength).fit(reduced[train], is_positive[train])
            asked.append(is_positive[test])
            answers.append(fitted.decision_function(reduced[test]))
    return auroc(np.concatenate(asked), np.concatenate(answers)) if asked else float("nan")


def folds_of(cases: Sequence[Case], count: int = FOLDS) -> npt.NDArray[np.int64]:
    """The fold of each case; all of one patient lie in one, in every data set that holds them."""
    return np.array([fold_of(case.patient, count) for case in cases])


def crossed(cases: Sequence[Case], features: Floats) -> Floats:
    """Logits of each radiograph by a model that saw no image of its patient, (radiographs, classes); NaN
    where all others are alike in that class."""
    folds = folds_of(cases)
    layers = fitted_apart(features, labels_of(cases), patients_of(cases), folds)
    return logits_apart(layers, features, folds)


def fitted_apart(
    features: Floats, labels: Floats, patients: npt.NDArray[np.str_], folds: npt.NDArray[np.int64]
) -> dict[int, Linear]:
    """For each fold what is fitted to all others; none for the only one."""
    return {
        int(fold): fit_findings(features[folds != fold], labels[folds != fold], patients[folds != fold])
        for fold in np.unique(folds)
        if (folds != fold).any()
    }


def logits_apart(layers: Mapping[int, Linear], features: Floats, folds: npt.NDArray[np.int64]) -> Floats:
    """Of each radiograph by the layer of its fold, (radiographs, classes); NaN where there is none."""
    answers = np.full((len(features), len(CLASSES)), np.nan, np.float32)
    for fold, layer in layers.items():
        answers[folds == fold] = layer.logits(features[folds == fold])
    return answers


def labels_of(cases: Sequence[Case]) -> Floats:
    """(radiographs, classes): 1 or 0, NaN where it is open."""
    return np.array([[case.labels[name] for name in CLASSES] for case in cases], np.float32)


def patients_of(cases: Sequence[Case]) -> npt.NDArray[np.str_]:
    return np.array([case.patient for case in cases])


def figures(cases: Sequence[Case], score: Floats) -> dict[str, dict[str, float]]:
    """By class: positives, AUROC with limits over patients, and what may lie behind it: what the view alone
    would give, the AUROC within each view, and that among the abnormal, where it no longer helps to tell ill
    from well; under ``mean`` that of all classes.

    score: (radiographs, classes), any monotone scale; what is NaN is left out for that class.
    """
    is_ill = labels_of(cases)[:, CLASSES.index("no_finding")] < 0.5
    truth = np.where(np.isnan(score), np.nan, labels_of(cases).astype(np.float64))
    views = np.array([case.notes.get("view", "") for case in cases])
    whole = aurocs(truth, score, [case.patient for case in cases])
    found: dict[str, dict[str, float]] = {}
    for k, name in enumerate(CLASSES):
        known = ~np.isnan(truth[:, k])
        is_positive = truth[:, k] > 0.5
        area = whole.classes[k]
        row = {"positives": float(is_positive.sum()), "auroc": area.value, "low": area.low, "high": area.high}
        alone = auroc(is_positive[known], views[known] == "AP")
        row["by_view_alone"] = max(alone, 1 - alone)
        if name != "no_finding":
            ill = known & is_ill
            row["among_abnormal"] = auroc(is_positive[ill], score[ill, k])
        for view in ("AP", "PA"):
            part = known & (views == view)
            if 5 <= is_positive[part].sum() < part.sum() - 5:
                row[f"within_{view}"] = auroc(is_positive[part], score[part, k])
        found[name] = row
    found["mean"] = {"auroc": whole.mean.value, "low": whole.mean.low, "high": whole.mean.high}
    return found
