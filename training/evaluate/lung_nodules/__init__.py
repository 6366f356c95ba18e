"""Evaluates the ``lung-nodules`` reader: on phantoms, on LIDC slice crops, on real scans."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from training.evaluate.lung_nodules.phantoms import evaluate_phantoms
from training.evaluate.lung_nodules.scans import evaluate_inserted, evaluate_scans
from training.evaluate.lung_nodules.slices import evaluate_lidc_slices

LAYOUTS: dict[str, Callable[[Path | None, str, Path | None], dict[str, Any]]] = {
    "phantom": evaluate_phantoms,
    "lidc-slices": evaluate_lidc_slices,
    "ct-scans": evaluate_scans,
    "ct-scans-inserted": evaluate_inserted,
}
