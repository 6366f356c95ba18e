"""Evaluates the ``chest-xray`` reader: its classes on labelled radiographs, its lungs and hearts on those
with masks."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.progress import track

from inference.catalogue import Catalogue
from inference.engine import Engine
from inference.engine.embedded import EmbeddedEngine
from inference.errors import UnreadableSeriesError
from inference.findings import Reading
from inference.picture import PLANE, Pictures, View
from inference.readers.chest_xray import FINDINGS, LUNGS, NAME, read
from inference.readers.radiograph import Floats
from training.chest_xray.findings import (
    FOLDS,
    crossed,
    features_of,
    figures,
    labels_of,
    read_radiographs,
)
from training.chest_xray.lungs import dices, enlarged, lung_masks
from training.chest_xray.recipe import Plan, crossed_lungs
from training.chest_xray.sources import labelled_in
from training.datasets.case import Case, Mask
from training.datasets.chest_labels import CLASSES
from training.datasets.layouts import read_cases
from training.datasets.radiograph_phantoms import radiograph_cases
from training.datasets.splits import SHARES
from training.errors import TaskError
from training.evaluate.cardiothoracic import agreement, told_of_cardiomegaly
from training.evaluate.splits import splits_of, told_of
from training.metrics.calibration import reliability
from training.metrics.classification import auroc, mean_interval, rates, roc

NOTE = (
    "The weights learned from the folders that their cards name; on those, only what the folds say "
    "is about pictures that were not learned from. A folder without splits of its own (layout nih) keeps its "
    "split test out of --architecture cnn alone: --architecture scattering, as the shipped weights, learned "
    "from all of it."
)
_WORST = 18
_WRONG = 3
_SPLITS = {"held-out": (70_000, False), "shifted": (80_000, True)}


def evaluate_labels(
    layout: str, data: Path | None, split: str, out: Path | None, catalogue: Catalogue
) -> dict[str, Any]:
    """AUROC by class with limits over patients, of the models as they are and of models fitted anew in five
    folds by patient, each beside what the view or being ill at all explains of it.

    data: a folder of the layout, or one that holds such folders. split: ``installed`` or ``folds`` for one
    of both, or a part of the data for the models as they are: as released, else by patient
    (``training.evaluate.splits``).
    """
    if data is None:
        raise TaskError(f"the layout {layout} needs a folder of data: give --data DIR")
    cases = read_radiographs(layout, labelled_in(data, layout))
    if split in SHARES:
        of_patient = splits_of(catalogue)
        cases = [case for case in cases if (case.split or of_patient(case.patient)) == split]
    if not cases:
        raise TaskError(f"{data} holds no radiographs of the split {split!r}")
    found: dict[str, Any] = {"task": NAME, "layout": layout, "split": split or "all", "images": len(cases)}
    found["patients"] = len({case.patient for case in cases})
    found |= told_of(split, catalogue) | {"note": NOTE}
    engine = EmbeddedEngine(catalogue)
    if split != "folds":
        readings = [_read(case, engine, catalogue) for case in track(cases, "radiographs")]
        found |= _told(cases, readings, catalogue, out)
    if split in ("", "folds"):
        logits = crossed(cases, features_of(cases, partial(_drawn, engine)))
        found |= _flat(figures(cases, logits), "folds_")
        _draw(labels_of(cases), logits, out, "roc-folds.png")
    return found


def evaluate_phantoms(
    data: Path | None, split: str, out: Path | None, catalogue: Catalogue, *, count: int = 240
) -> dict[str, Any]:
    """The same of the models as they are on phantom radiographs that no training drew, and how their lungs,
    hearts and ratios agree with what was drawn. split: ``held-out`` (the default), or ``shifted`` to other
    doses, distances, kernels, scales and sizes of the field."""
    split = split or "held-out"
    first, shifted = _SPLITS[split]
    cases = radiograph_cases(range(first, first + count), shifted=shifted)
    engine = EmbeddedEngine(catalogue)
    readings = [_read(case, engine, catalogue) for case in track(cases, "radiographs")]
    found: dict[str, Any] = {"task": NAME, "layout": "phantom", "split": split, "images": count}
    found |= _told(cases, readings, catalogue, out)
    drawn = [None if reading is None else _lungs_of(reading, catalogue) for reading in readings]
    return found | _overlap(cases, drawn, out) | agreement(cases, readings)


def _told(
    cases: Sequence[Case], readings: Sequence[Reading | None], catalogue: Catalogue, out: Path | None
) -> dict[str, Any]:
    """What the classes of readings are worth; None is a reading of a picture that was refused."""
    kept = [(case, reading) for case, reading in zip(cases, readings, strict=True) if reading]
    _refuse_none(cases, kept)
    score = np.array([[c.probability for c in reading.classes] for _, reading in kept], np.float32)
    seen = [case for case, _ in kept]
    truth = labels_of(seen)
    found: dict[str, Any] = {"refused": len(cases) - len(kept)}
    found |= _flat(figures(seen, score), "") | told_of_cardiomegaly(cases, readings)
    card = catalogue.find(FINDINGS).card
    for k, name in enumerate(CLASSES):
        known = ~np.isnan(truth[:, k])
        found[f"ece_{name}"] = reliability(truth[known, k], score[known, k]).ece
        if point := card.operating_points.get(name):
            at = rates(truth[known, k] > 0.5, score[known, k], point.threshold)
            found[f"sensitivity_{name}"], found[f"specificity_{name}"] = at.sensitivity, at.specificity
    _draw(truth, score, out, "roc.png")
    _draw_wrong(seen, truth, score, out)
    return found


def _draw_wrong(cases: Sequence[Case], truth: Floats, score: Floats, out: Path | None) -> None:
    """For each class those that have it and score lowest, and those that have it not and score highest."""
    if out is None:
        return
    from training.metrics.pictures import draw_sheet

    chosen: list[tuple[Case, str]] = []
    for k, name in enumerate(CLASSES):
        order = np.argsort(score[:, k])
        missed = [at for at in order if truth[at, k] > 0.5][:_WRONG]
        false = [at for at in order[::-1] if truth[at, k] < 0.5][:_WRONG]
        chosen += [(cases[at], f"{name} {score[at, k]:.2f}") for at in missed]
        chosen += [(cases[at], f"no {name} {score[at, k]:.2f}") for at in false]
    pictures, titles = [case.load().pixels for case, _ in chosen], [title for _, title in chosen]
    draw_sheet(pictures, titles, out / "wrong.png")


def _flat(rows: Mapping[str, Mapping[str, float]], before: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, row in rows.items():
        title = f"{before}mean_auroc" if name == "mean" else f"{before}auroc_{name}"
        found[title], found[f"{title}_ci"] = row["auroc"], [row["low"], row["high"]]
        for key, value in row.items():
            if key == "positives":
                found[f"positives_{name}"] = int(value)
            elif key not in ("auroc", "low", "high"):
                found[f"{title}_{key}"] = value
    return found


def evaluate_lungs(
    layout: str, data: Path | None, split: str, out: Path | None, catalogue: Catalogue
) -> dict[str, Any]:
    """Dice of the lungs at the pictures' own size, with limits by resampling patients, of the model as it is,
    and where hearts are outlined, how the drawn ones and their ratios agree with them; with the split
    ``folds``, Dice of the lungs by networks trained anew in five folds by patient, phantoms beside, which
    takes minutes."""
    if data is None:
        raise TaskError(f"the layout {layout} needs a folder of data: give --data DIR")
    cases = read_cases(layout, data)
    found: dict[str, Any] = {"task": NAME, "layout": layout, "split": split or "installed"}
    found |= {"images": len(cases), "patients": len({case.patient for case in cases}), "note": NOTE}
    if split == "folds":
        with tempfile.TemporaryDirectory() as scratch:
            scores = crossed_lungs(cases, (out or Path(scratch)) / f"{FOLDS}-folds", Plan())
        found |= _dice_figures(cases, np.asarray(scores))
    else:
        engine = EmbeddedEngine(catalogue)
        read_all = [_read(case, engine, catalogue) for case in track(cases, "radiographs")]
        drawn = [None if reading is None else _lungs_of(reading, catalogue) for reading in read_all]
        found |= _overlap(cases, drawn, out) | agreement(cases, read_all)
    return found


def _overlap(cases: Sequence[Case], drawn: Sequence[Mask | None], out: Path | None) -> dict[str, Any]:
    """Dice of lungs as the reader drew them; None of a picture that was refused."""
    kept = [(case, lungs) for case, lungs in zip(cases, drawn, strict=True) if lungs is not None]
    _refuse_none(cases, kept)
    scores = np.array([dices(lung_masks(case), lungs) for case, lungs in kept])
    _draw_worst(kept, scores[:, 0], out)
    return {"refused": len(cases) - len(kept)} | _dice_figures([case for case, _ in kept], scores)


def _refuse_none(cases: Sequence[Case], kept: Sequence[object]) -> None:
    if not kept:
        raise TaskError(f"the reader made out no two lungs on any of the {len(cases)} radiographs")


def _dice_figures(cases: Sequence[Case], scores: npt.NDArray[np.float64]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, values in zip(("lungs", "right_lung", "left_lung"), scores.T, strict=True):
        mean = mean_interval(values, [case.patient for case in cases])
        found |= {f"dice_{name}": mean.value, f"dice_{name}_ci": [mean.low, mean.high]}
    return found


def _lungs_of(reading: Reading, catalogue: Catalogue) -> Mask:
    """(2, rows, columns): the right and the left lung that the reader drew."""
    masks = {segment.code.value: segment.mask for segment in reading.segments}
    both = [masks[label.value] for label in catalogue.find(LUNGS).card.output("lungs").labels]
    return np.stack([mask.voxels[0] for mask in both if mask is not None])


def _draw_worst(kept: Sequence[tuple[Case, Mask]], scores: Floats, out: Path | None) -> None:
    if out is None:
        return
    from training.metrics.pictures import draw_sheet

    worst = [(*kept[at], scores[at]) for at in np.argsort(scores)[:_WORST]]
    draw_sheet(
        [case.load().pixels for case, _, _ in worst],
        [f"{case.id}: {score:.3f}" for case, _, score in worst],
        out / "worst.png",
        true=[enlarged(np.logical_or(*lung_masks(case)), lungs.shape[1:]) for case, lungs, _ in worst],
        found=[np.logical_or(*lungs) for _, lungs, _ in worst],
    )


def _read(case: Case, engine: Engine, catalogue: Catalogue) -> Reading | None:
    """What the reader says of a picture; None where it refuses it."""
    pixels = case.load().pixels
    grey = pixels if pixels.dtype == np.uint8 else (pixels / max(int(pixels.max()), 1) * 255).astype(np.uint8)
    view = View("DX", case.notes.get("view", ""))
    pictures = Pictures(
        voxels=grey[None],  # type: ignore[arg-type]  # a volume's voxels are int16 or float32
        affine=PLANE,
        series_uid=case.id,
        frame_of_reference_uid="",
        images=((case.id, None),),
        views=(view,),
    )
    try:
        return read(pictures, engine, catalogue)
    except UnreadableSeriesError:
        return None


def _drawn(engine: Engine, pictures: Floats) -> Floats:
    """The probabilities of the lungs on pictures (pictures, size, size)."""
    return np.stack([engine.infer(LUNGS, {"picture": p[None, None]})["lungs"][0] for p in pictures])


def _draw(truth: Floats, score: Floats, out: Path | None, name: str) -> None:
    if out is None:
        return
    from training.metrics.pictures import draw_roc

    curves = {}
    for k, label in enumerate(CLASSES):
        known = ~np.isnan(truth[:, k]) & ~np.isnan(score[:, k])
        is_positive = truth[known, k] > 0.5
        if is_positive.any() and not is_positive.all():
            curves[label] = (*roc(is_positive, score[known, k]), auroc(is_positive, score[known, k]))
    draw_roc(curves, out / name)
