"""Scores of places and boxes that were marked: LUNA16, NODE21, DeepLesion, boxes in volumes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from training.metrics import boxes, luna16
from training.metrics.froc import RATES, Froc, Outcome, froc
from training.score.form import Draw, Line, Score
from training.tables import Row, read_table

Corners = tuple[tuple[float, ...], tuple[float, ...]]


def luna16_score(
    annotations: Path, excluded: Path, seriesuids: Path, results: Path, *, resamples: int = 1000
) -> Score:
    """LUNA16: CPM and sensitivities at 1/8 to 8 false positives per scan."""
    found = luna16.score_luna16(annotations, excluded, seriesuids, results, resamples=resamples)
    counts = {
        "scans": len(found.scans),
        "nodules": found.nodules,
        "found": found.found,
        "marks": found.marks,
        "false_positives": sum(len(scan.false) for scan in found.scans),
        "double_detections": sum(scan.double for scan in found.scans),
        "marks_on_excluded": sum(scan.ignored for scan in found.scans),
    }
    return _froc_score("luna16", found.froc, "CPM", "cpm", counts)


def deeplesion_score(
    annotations: Path, results: Path, *, overlap_rule: Literal["iou", "iobb"] = "iou", resamples: int = 1000
) -> Score:
    """DeepLesion: sensitivity at 0.5, 1, 2 and 4 false positives per key slice, overlap above 0.5.

    annotations: ``DL_info.csv``, or rows of it such as its test split. results: ``File_name,x1,y1,x2,y2,
    score``, in pixels.
    """
    true: dict[str, list[Any]] = defaultdict(list)
    for row in read_table(annotations, ("File_name", "Bounding_boxes")):
        x1, y1, x2, y2 = row.numbers("Bounding_boxes", 4)
        true[row.text("File_name")].append(((x1, y1), (x2, y2)))
    images = _boxed(true, results, "File_name", ("x1", "y1"), ("x2", "y2"), overlap_rule)
    curve = froc(images, rates=boxes.DEEPLESION_RATES, resamples=resamples)
    return _froc_score(
        "deeplesion", curve, "mean sensitivity", "mean_sensitivity", {**_counts(images), "rule": overlap_rule}
    )


def volumes_score(
    annotations: Path,
    results: Path,
    *,
    overlap_rule: Literal["iou", "iobb", "center"] = "iou",
    above: float = 0.5,
    resamples: int = 1000,
) -> Score:
    """Boxes in volumes: sensitivity at 1/8 to 8 false positives per volume.

    annotations: ``volume,x1,y1,z1,x2,y2,z2``, in any one unit; a volume without lesions has a row with
    empty corners. results: the same and ``score``.
    """
    low, high = ("x1", "y1", "z1"), ("x2", "y2", "z2")
    true: dict[str, list[Any]] = defaultdict(list)
    for row in read_table(annotations, ("volume", *low, *high)):
        held = true[row.text("volume")]
        if any(row.text(column) for column in (*low, *high)):
            held.append(_box(row, low, high))
    images = _boxed(true, results, "volume", low, high, overlap_rule, above)
    curve = froc(images, rates=RATES, resamples=resamples)
    return _froc_score(
        "volumes", curve, "mean sensitivity", "mean_sensitivity", {**_counts(images), "rule": overlap_rule}
    )


def node21_score(annotations: Path, results: Path) -> Score:
    """NODE21: 0.75 AUROC of images and 0.25 sensitivity at 0.25 false positives per image, IoU above 0.2.

    annotations: ``metadata.csv`` with ``img_name,x,y,width,height,label``; label 0 for an image without
    nodules. results: ``img_name,x,y,width,height,probability``.
    """
    true: dict[str, list[Any]] = defaultdict(list)
    for row in read_table(annotations, ("img_name", "x", "y", "width", "height", "label")):
        held = true[row.text("img_name")]
        if row.number("label") > 0:
            held.append(_sized_box(row))
    found: dict[str, list[Any]] = defaultdict(list)
    for row in read_table(results, ("img_name", "x", "y", "width", "height", "probability")):
        found[_listed(row, "img_name", true)].append((_sized_box(row), row.number("probability")))
    images = [boxes.greedy_outcome(_array(held), *_scored(found[name])) for name, held in true.items()]
    both = boxes.node21(images)
    lines = (
        Line("score", both.score),
        Line("AUROC of images", both.auroc),
        Line("sensitivity at 0.25 FP per image", both.sensitivity),
    )
    curve = froc(images, resamples=200)
    figures = {
        "score": both.score,
        "auroc": both.auroc,
        "sensitivity_at_0.25": both.sensitivity,
        **_counts(images),
    }
    return Score("node21", lines, figures, {"froc.png": _froc_picture(curve, "NODE21")})


def _froc_score(metric: str, curve: Froc, name: str, key: str, counts: Mapping[str, Any]) -> Score:
    lines = [Line(name, curve.cpm, curve.low, curve.high)]
    at = []
    for rate, sensitivity in zip(curve.rates, curve.at_rates, strict=True):
        low, high = curve.band.limits(rate) if curve.band else (None, None)
        lines.append(Line(f"sensitivity at {rate:g} FP", sensitivity, low, high))
        at.append({"false_per_scan": rate, "sensitivity": sensitivity, "low": low, "high": high})
    body = {key: curve.cpm, f"{key}_ci": [curve.low, curve.high], "at_rates": at, **counts}
    return Score(metric, tuple(lines), body, {"froc.png": _froc_picture(curve, metric)})


def _froc_picture(curve: Froc, title: str) -> Draw:
    def draw(path: Path) -> None:
        from training.metrics.pictures import draw_froc

        draw_froc(curve, path, title)

    return draw


def _counts(images: list[Outcome]) -> dict[str, int]:
    return {
        "images": len(images),
        "lesions": sum(len(i.nodules) for i in images),
        "found": sum(s is not None for i in images for s in i.nodules),
        "false_positives": sum(len(i.false) for i in images),
    }


def _boxed(
    true: Mapping[str, list[Any]],
    results: Path,
    key: str,
    low: tuple[str, ...],
    high: tuple[str, ...],
    rule: str,
    above: float = 0.5,
) -> list[Outcome]:
    rules = {"iou": boxes.iou, "iobb": boxes.iobb, "center": boxes.center_inside}
    found: dict[str, list[Any]] = defaultdict(list)
    for row in read_table(results, (key, *low, *high, "score")):
        found[_listed(row, key, true)].append((_box(row, low, high), row.number("score")))
    dims = len(low)
    return [
        boxes.box_outcome(_array(held, dims), *_scored(found[name], dims), overlap=rules[rule], above=above)
        for name, held in true.items()
    ]


def _box(row: Row, low: tuple[str, ...], high: tuple[str, ...]) -> Corners:
    return _solid(row, tuple(row.number(c) for c in low), tuple(row.number(c) for c in high))


def _sized_box(row: Row) -> Corners:
    x, y = row.number("x"), row.number("y")
    return _solid(row, (x, y), (x + row.number("width"), y + row.number("height")))


def _solid(row: Row, low: tuple[float, ...], high: tuple[float, ...]) -> Corners:
    if any(b <= a for a, b in zip(low, high, strict=True)):
        raise row.broken(f"the box {low, high} has no size")
    return low, high


def _array(held: list[Any], dims: int = 2) -> npt.NDArray[np.float64]:
    return np.array(held, np.float64).reshape(-1, 2, dims)


def _scored(found: list[Any], dims: int = 2) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    return _array([b for b, _ in found], dims), np.array([s for _, s in found], np.float64)


def _listed(row: Row, key: str, true: Mapping[str, Any]) -> str:
    name = row.text(key)
    if name not in true:
        raise row.broken(f"{name!r} is not among the {len(true)} annotated; every image needs a row there")
    return name
