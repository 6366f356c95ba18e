"""``lung-nodules`` on LUNA16 as released, scored as the challenge scores it."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.progress import track

from inference.catalogue import Catalogue
from inference.engine.embedded import EmbeddedEngine
from inference.errors import UnreadableSeriesError
from inference.readers import lung_nodules as reader
from training.datasets.case import Case
from training.datasets.luna16 import read_luna16
from training.errors import TaskError
from training.evaluate.lung_nodules.reading import found_in, report_threshold
from training.evaluate.splits import splits_of, told_of
from training.lung_nodules.sources import volume_of
from training.metrics.boxes import node21
from training.metrics.classification import mean_interval
from training.metrics.froc import Mark, Nodule, froc, outcomes
from training.metrics.luna16 import MOST_MARKS, strongest
from training.metrics.pictures import draw_froc


def evaluate_luna16(data: Path | None, split: str, out: Path | None, catalogue: Catalogue) -> dict[str, Any]:
    """FROC and CPM over scans, excluded findings ignored, and how many nodules are reported at the card's
    operating point. A scan that the reader refuses is one without marks.

    split: ``train``, ``validation`` or ``test``, as the run that made the models wrote them (its
    ``splits.json``) or else as ``training.datasets.splits`` decides; ``subset0`` to ``subset9`` as released;
    or ``all`` (the default). ``out`` gets the curve, and ``results.csv`` with ``seriesuids.csv``, which
    ``overread score luna16`` takes.
    """
    if data is None:
        raise TaskError("the layout luna16 needs the folder of the release: give --data DIR")
    split = split or "all"
    of_patient = splits_of(catalogue)
    cases = [
        case
        for case in read_luna16(data, candidates=False)
        if split in ("all", case.split, of_patient(case.patient))
    ]
    if not cases:
        raise TaskError(f"{data} holds no scans of the split {split!r}")
    engine = EmbeddedEngine(catalogue)
    marks: list[Mark] = []
    refused: list[str] = []
    for case in track(cases, "scans"):
        try:
            found = found_in(volume_of(case), engine, catalogue)
        except UnreadableSeriesError:
            refused.append(case.id)
            continue
        marks += [Mark(case.id, finding.center_mm, finding.score) for finding in found]
    kept = strongest(marks, MOST_MARKS)
    if out is not None:
        _write(cases, kept, out)
    return {
        "task": reader.NAME,
        "layout": "luna16",
        "split": split,
        **told_of(split, catalogue),
        "refused": refused,
        **figures(cases, kept, report_threshold(catalogue), out),
    }


def figures(
    cases: Sequence[Case], marks: Sequence[Mark], threshold: float, out: Path | None = None
) -> dict[str, Any]:
    """Counts, and what the challenge and its like say of marks; limits by resampling scans. NODE21's mean of
    the AUROC of scans and the sensitivity at 0.25 false marks stands where some scans have no nodule."""
    scans = [case.id for case in cases]
    nodules, excluded = (_places(cases, label) for label in ("nodule", "excluded"))
    matched = outcomes(scans, nodules, excluded, marks)
    curve = froc(matched)
    reported = outcomes(scans, nodules, excluded, [mark for mark in marks if mark.score >= threshold])
    found: dict[str, Any] = {
        "scans": len(scans),
        "nodules": len(nodules),
        "cpm": curve.cpm,
        "cpm_ci": [curve.low, curve.high],
        "sensitivity_at_rates": list(curve.at_rates),
        "double_detections": sum(scan.double for scan in matched),
        "marks_on_excluded": sum(scan.ignored for scan in matched),
        **mean_interval([len(scan.false) for scan in reported]).told("reported_false_per_scan"),
    }
    if nodules:
        hits = [score is not None for scan in reported for score in scan.nodules]
        found |= mean_interval(hits).told("reported_sensitivity")
        if out is not None:
            draw_froc(curve, out / "froc-luna16.png", f"{reader.NAME}, LUNA16")
    if nodules and not all(scan.nodules for scan in matched):
        both = node21(matched)
        found |= {"node21": both.score, "auroc_of_scans": both.auroc, "sensitivity_at_0.25": both.sensitivity}
    return found


def _places(cases: Sequence[Case], label: str) -> list[Nodule]:
    """An annotated place without a size counts as 10 mm, as the challenge takes it."""
    return [
        Nodule(case.id, place.center_mm, -1.0 if place.diameter_mm is None else place.diameter_mm)
        for case in cases
        for place in case.places
        if place.label == label
    ]


def _write(cases: Sequence[Case], marks: Sequence[Mark], out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / "seriesuids.csv").write_text("".join(f"{case.id}\n" for case in cases), encoding="utf-8")
    with (out / "results.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("seriesuid", "coordX", "coordY", "coordZ", "probability"))
        rows.writerows((mark.scan, *mark.center_mm, mark.score) for mark in marks)
