"""Evaluates how lesions are followed: phantom patients of several visits, and a real chest that breathes,
against what is true; the forecast of their growth has a page of its own."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from rich.progress import track

from inference.catalogue import Catalogue
from inference.volume import load_volume
from training.errors import TaskError
from training.growth.evaluate import READERS, evaluate, figures, reads_by
from training.growth.real import POSES, follow_real, seconds_beyond_readings, warped

ANATOMIES = 8
PATIENTS_EACH = 8
TIMED_SLICES = (143, 300)


def evaluate_phantoms(
    data: Path | None, split: str, out: Path | None, catalogue: Catalogue
) -> dict[str, Any]:
    """Links, volume changes and categories over phantom patients on 8 anatomies.

    split: who reads them: ``installed``, the networks of ``catalogue``, or ``stand-in``, a reader of known
    faults.
    """
    split = split or READERS[0]
    patients = evaluate(reads_by(split, catalogue), ANATOMIES, PATIENTS_EACH)
    done = list(track(patients, "phantom patients", total=ANATOMIES * PATIENTS_EACH))
    return {"task": "growth", "layout": "phantom", "split": split, **figures(done)}


def evaluate_warped(data: Path | None, split: str, out: Path | None, catalogue: Catalogue) -> dict[str, Any]:
    """Links and registration error of one chest CT, the series in ``data``, at five breaths with twelve
    lesions put in each time; and what a comparison of 143 and of 300 slices of 512 x 512 takes beyond the two
    readings. The lesions are outlined by the reader of known faults."""
    files = sorted(path for path in data.rglob("*") if path.is_file()) if data is not None else []
    if not files:
        raise TaskError("a chest to be warped needs --data, a folder with one CT series")
    volume = load_volume(files)
    followed, seconds = [], {}
    for number, pose in enumerate(track(POSES, "breaths")):
        pair = warped(volume, pose, number)
        followed.append(follow_real(pair, number))
        if not number:
            seconds = {slices: seconds_beyond_readings(pair, slices) for slices in TIMED_SLICES}
    lesions = sum(one.lesions for one in followed)
    return {
        "task": "growth",
        "layout": "warped-ct",
        "lesion pairs": lesions,
        "linked right": sum(one.linked for one in followed) / lesions,
        "wrong links": sum(one.wrong for one in followed),
        "registration error, median mm": median(one.error_median_mm for one in followed),
        "breaths": [asdict(one) for one in followed],
        **{f"seconds beyond the readings, {n} slices": wall for n, (wall, _) in seconds.items()},
        **{f"CPU seconds beyond the readings, {n} slices": cpu for n, (_, cpu) in seconds.items()},
    }
