"""Scores anyone's results from files: one function per metric of ``overread score``."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from training.score.classes import auroc_score, classes_score
from training.score.detections import deeplesion_score, luna16_score, node21_score, volumes_score
from training.score.form import Score
from training.score.images import dice_score, registration_score

METRICS: Mapping[str, Callable[..., Score]] = {
    "luna16": luna16_score,
    "node21": node21_score,
    "deeplesion": deeplesion_score,
    "volumes": volumes_score,
    "dice": dice_score,
    "auroc": auroc_score,
    "classes": classes_score,
    "registration": registration_score,
}
