"""Scores of probabilities: AUROC by class, and one class out of several."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from training.errors import BrokenDataError
from training.metrics import classification
from training.metrics.calibration import reliability
from training.score.files import first, named_once, result
from training.score.form import Line, Score
from training.tables import read_table


def auroc_score(
    truth: Path, results: Path, *, group: str | None = None, threshold: float = 0.5, resamples: int = 1000
) -> Score:
    """AUROC per class and mean with limits, rates at a threshold, calibration.

    truth: a name in the first column and 1, 0 or nothing (unknown) in one column per class. results: the
    same names and classes with probabilities. group: a column of ``truth``, such as the patient, whose
    cases are resampled together.
    """
    rows = list(named_once(read_table(truth, [group] if group else ())))
    found = {first(row): row for row in named_once(read_table(results, ()))}
    if not rows:
        raise BrokenDataError(f"{truth} has no cases")
    key = next(iter(rows[0].cells))
    classes = [name for name in rows[0].cells if name not in (key, group)]
    if not found or (missing := [c for c in classes if c not in next(iter(found.values())).cells]):
        raise BrokenDataError(f"{results} has no column {', '.join(missing if found else classes)}")
    known = np.array([[row.label(c) for c in classes] for row in rows])
    given = np.array([[result(row, found, results).number(c) for c in classes] for row in rows])
    groups = [row.text(group) for row in rows] if group else None
    areas = classification.aurocs(known, given, groups, resamples=resamples)
    lines, figures, curves, bins = [], {}, {}, {}
    for k, name in enumerate(classes):
        there = ~np.isnan(known[:, k])
        t, s = known[there, k] > 0.5, given[there, k]
        at = classification.rates(t, s, threshold)
        area = areas.classes[k]
        lines.append(Line(name, area.value, area.low, area.high))
        figures[name] = {
            **area.told("auroc"),
            "cases": int(there.sum()),
            "positive": int(t.sum()),
            "sensitivity": at.sensitivity,
            "specificity": at.specificity,
            "precision": at.precision,
        }
        if t.any() and not t.all():
            curves[name] = (*classification.roc(t, s), area.value)
        if s.size and s.min() >= 0 and s.max() <= 1:
            bins[name] = reliability(t, s)
            figures[name] |= {"ece": bins[name].ece, "brier": bins[name].brier}
    lines.append(Line("mean", areas.mean.value, areas.mean.low, areas.mean.high))

    def draw_roc(path: Path) -> None:
        from training.metrics.pictures import draw_roc

        draw_roc(curves, path)

    def draw_bins(path: Path) -> None:
        from training.metrics.pictures import draw_reliability

        draw_reliability(bins, path)

    pictures = {"roc.png": draw_roc} | ({"reliability.png": draw_bins} if bins else {})
    body = {**areas.mean.told("mean_auroc"), "threshold": threshold, "classes": figures}
    return Score("auroc", tuple(lines), body, pictures)


def classes_score(truth: Path, results: Path) -> Score:
    """Accuracy and confusion matrix.

    truth: ``name,label``. results: ``name`` and a probability per label; the highest is what is called.
    """
    labels = {row.text("name"): row for row in named_once(read_table(truth, ("name", "label")))}
    found = {row.text("name"): row for row in named_once(read_table(results, ("name",)))}
    if not labels or not found:
        raise BrokenDataError(f"{truth if not labels else results} has no cases")
    classes = [name for name in next(iter(found.values())).cells if name != "name"]
    for row in labels.values():
        if row.text("label") not in classes:
            raise row.broken(f"label {row.text('label')!r} is no column of {results}")
    probabilities = [[result(r, found, results).number(c) for c in classes] for r in labels.values()]
    called = [classes[k] for k in np.argmax(probabilities, axis=1)]
    matrix = classification.confusion([r.text("label") for r in labels.values()], called, classes)
    rows = {name: float(matrix[k, k] / matrix[k].sum()) for k, name in enumerate(classes) if matrix[k].any()}

    def draw(path: Path) -> None:
        from training.metrics.pictures import draw_confusion

        draw_confusion(matrix, classes, path)

    share = classification.accuracy(matrix)
    lines = (Line("accuracy", share), *(Line(f"sensitivity, {n}", v) for n, v in rows.items()))
    body = {"accuracy": share, "classes": classes, "confusion": matrix.tolist(), "sensitivity": rows}
    return Score("classes", lines, body, {"confusion.png": draw})
