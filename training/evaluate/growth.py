"""Evaluates how lesions are followed: phantom patients of several visits, against what is true."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.progress import track

from training.errors import TaskError
from training.growth.evaluate import READERS, evaluate, figures, reads_by

ANATOMIES = 8
PATIENTS_EACH = 8


def evaluate_phantoms(data: Path | None, split: str, out: Path | None) -> dict[str, Any]:
    """Links, volume changes and categories over phantom patients on 8 anatomies.

    split: who reads them: ``installed``, the shipped networks, or ``stand-in``, a reader of known faults.
    """
    split = split or READERS[0]
    if split not in READERS:
        raise TaskError(f"phantom patients have no split {split!r}; they have: {', '.join(READERS)}")
    patients = evaluate(reads_by(split), ANATOMIES, PATIENTS_EACH)
    done = list(track(patients, "phantom patients", total=ANATOMIES * PATIENTS_EACH))
    return {"task": "growth", "layout": "phantom", "split": split, **figures(done)}


LAYOUTS: Mapping[str, Callable[[Path | None, str, Path | None], dict[str, Any]]] = {
    "phantom": evaluate_phantoms
}
