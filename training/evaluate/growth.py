"""Evaluates how lesions are followed: phantom patients of several visits, against what is true."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.progress import track

from training.errors import TaskError
from training.growth.evaluate import evaluate
from training.growth.patients import Backdrop

ANATOMIES = 8
PATIENTS_EACH = 8
_FIRST_ANATOMY = 200


def evaluate_phantoms(data: Path | None, split: str, out: Path | None) -> dict[str, Any]:
    """Links, volume changes and categories over phantom patients on 8 anatomies; the one split is
    ``held-out``."""
    if split not in ("", "held-out"):
        raise TaskError(f"phantom patients have no split {split!r}; they have: held-out")
    anatomies = range(_FIRST_ANATOMY, _FIRST_ANATOMY + ANATOMIES)
    backdrops = (Backdrop.of(seed) for seed in track(anatomies, "anatomies"))
    figures = evaluate(backdrops, PATIENTS_EACH).figures()
    return {"task": "growth", "layout": "phantom", "split": "held-out", **figures}


LAYOUTS: Mapping[str, Callable[[Path | None, str, Path | None], dict[str, Any]]] = {
    "phantom": evaluate_phantoms
}
