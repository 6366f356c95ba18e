"""Pixel spacing of LIDC-IDRI series, from places that are known both in pixels and in millimetres.

The readers' marks (``lidc_annotations.json.gz``) are in pixels, LUNA16's annotations of the same series in
millimetres. Where three or more of them agree on one scale, that is the spacing.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections import defaultdict
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from training.errors import BrokenDataError
from training.tables import read_table

Floats = npt.NDArray[np.float64]
_PLACE = ("coordX", "coordY", "coordZ")
_BETWEEN_MM = (0.44, 1.0)
_LEAST_AGREEING = 3
_MOST_PAIRS = 3000


@lru_cache(maxsize=2)
def pixel_spacing(slices: Path, luna16: Path | None = None) -> dict[str, float]:
    """Series UID to mm, for the series whose spacing could be told; about a minute.

    Args:
        slices: a folder of the layout ``lidc-slices``.
        luna16: the folder of LUNA16's ``annotations.csv`` and ``annotations_excluded.csv``;
            ``luna16_annotations`` beside ``slices`` by default. Without it nothing is known.

    Raises:
        BrokenDataError: one of the tables is missing, or a file is damaged; it is named.
    """
    luna16 = luna16 or slices.parent / "luna16_annotations"
    marks_file = slices / "lidc_annotations.json.gz"
    if not (marks_file.is_file() and luna16.is_dir()):
        return {}
    try:
        with gzip.open(marks_file, "rt", encoding="utf-8") as file:
            series: dict[str, Any] = json.load(file)
    except (gzip.BadGzipFile, zlib.error, EOFError, ValueError) as error:
        raise BrokenDataError(f"{marks_file} is damaged: {error}") from error
    world = defaultdict(list)
    for name in ("annotations.csv", "annotations_excluded.csv"):
        for row in read_table(luna16 / name, ("seriesuid", *_PLACE)):
            world[row.text("seriesuid")].append([row.number(column) for column in _PLACE])
    found = ((uid, _spacing(_marks(s), np.array(world[uid]))) for uid, s in series.items() if world[uid])
    return {uid: spacing for uid, spacing in found if spacing is not None}


def _marks(series: dict[str, Any]) -> Floats:
    """Column, row (pixels) and z (mm) of everything a reader marked."""
    out = []
    for nodule in series["nodules"]:
        centers = [np.reshape(roi[3], (-1, 2)).mean(0) for roi in nodule["rois"]]
        out.append([*np.mean(centers, axis=0), float(np.mean([roi[0] for roi in nodule["rois"]]))])
    for _, z, x, y in (*series["small_nodules"], *series["non_nodules"]):
        out.append([x, y, z])
    return np.array(out, np.float64).reshape(-1, 3)


def _spacing(pixels: Floats, world: Floats) -> float | None:
    """The scale that most marks agree on, refined by least squares over those."""
    i, j = np.nonzero(np.abs(world[:, None, 2] - pixels[None, :, 2]) < 1.6)
    px, mm = pixels[j, :2], world[i, :2]
    best: tuple[int, npt.NDArray[np.bool_]] | None = None
    for a, b in _pairs(len(px)):
        apart, apart_mm = px[a] - px[b], mm[a] - mm[b]
        axis = int(np.argmax(np.abs(apart)))
        if abs(apart[axis]) < 25:
            continue
        scale = apart_mm[axis] / apart[axis]
        if not _BETWEEN_MM[0] < scale < _BETWEEN_MM[1] or np.abs(apart_mm - scale * apart).max() > 1.5:
            continue
        agree = np.abs(mm - mm[a] - scale * (px - px[a])).max(axis=1) < 1.5
        count = len(set(i[agree]))
        if best is None or count > best[0]:
            best = count, agree
    if best is None or best[0] < _LEAST_AGREEING:
        return None
    x, y = px[best[1]], mm[best[1]]
    centred = x - x.mean(0)
    return float((centred * (y - y.mean(0))).sum() / (centred**2).sum())


def _pairs(count: int) -> Iterable[tuple[int, int]]:
    a, b = np.triu_indices(count, 1)
    if len(a) > _MOST_PAIRS:
        chosen = np.random.default_rng(0).choice(len(a), _MOST_PAIRS, replace=False)
        a, b = a[chosen], b[chosen]
    return zip(a.tolist(), b.tolist(), strict=True)
