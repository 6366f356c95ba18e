"""Evaluates the ``lung-nodules`` reader: on phantoms, on LIDC slice crops, on real scans,
on LUNA16."""

from __future__ import annotations

from training.evaluate.layouts import Layouts
from training.evaluate.lung_nodules.luna16 import evaluate_luna16
from training.evaluate.lung_nodules.phantoms import evaluate_phantoms
from training.evaluate.lung_nodules.scans import evaluate_inserted, evaluate_scans
from training.evaluate.lung_nodules.slices import evaluate_lidc_slices

LAYOUTS: Layouts = {
    "phantom": evaluate_phantoms,
    "lidc-slices": evaluate_lidc_slices,
    "luna16": evaluate_luna16,
    "ct-scans": evaluate_scans,
    "ct-scans-inserted": evaluate_inserted,
}
