"""What the forecaster's ``model.yaml`` and README say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from inference.growth.forecast import CLASSES, FEATURES, MODEL, MOST_POINTS
from training.growth.series import SLOWEST_DAYS

_COMMAND = "overread train growth"
_DATA = "simulated growth"
_LIMITS = [
    "Trained on simulated series alone; no real lesion was followed to make it.",
    "Knows volumes and dates, nothing of treatment.",
    "Shown only where a lesion was measured at three dates or more.",
]


@dataclass(frozen=True)
class Figures:
    """On held-out series: mean absolute error of the log volume, share of the right course, share of
    volumes inside the 90 % interval. The rule calls the course by the log-linear fit."""

    mae: float
    mae_log_linear: float
    mae_last_value: float
    course_accuracy: float
    course_accuracy_rule: float
    coverage: float
    cases: int


def card(figures: Figures) -> dict[str, Any]:
    def metric(name: str, value: float) -> dict[str, Any]:
        return {
            "metric": name,
            "value": round(value, 4),
            "data_set": _DATA,
            "split": "held out",
            "cases": figures.cases,
            "trained_on": "phantom",
        }

    return {
        "name": MODEL,
        "version": 1,
        "task": "Foretells a lesion's volume from its measurements",
        "readers": [],
        "license": "Apache-2.0",
        "inputs": [
            {
                "tensor": "history",
                "dims": [-1, MOST_POINTS, FEATURES],
                "axes": ["batch", "point", "feature"],
                "shapes": {
                    "min": [1, MOST_POINTS, FEATURES],
                    "opt": [3, MOST_POINTS, FEATURES],
                    "max": [64, MOST_POINTS, FEATURES],
                },
                "description": "oldest first, empty rows before it: 1, log volume against the last, years "
                "before the last, wCV of the volume, log of the last volume against 500 mm3",
            },
            {
                "tensor": "horizon",
                "dims": [-1, 1],
                "axes": ["batch", "value"],
                "units": "years",
                "shapes": {"min": [1, 1], "opt": [3, 1], "max": [64, 1]},
            },
        ],
        "outputs": [
            {
                "tensor": "log_change",
                "dims": [-1, 3],
                "kind": "regression",
                "description": "5, 50 and 95 % quantile of the log volume against the last",
            },
            {
                "tensor": "course",
                "dims": [-1, len(CLASSES)],
                "kind": "probability",
                "activation": "softmax",
                "labels": [
                    {"label": name, "scheme": "99OVERREAD", "value": name.upper(), "meaning": name}
                    for name in CLASSES
                ],
            },
        ],
        "parity": {"absolute": 1e-4, "relative": 1e-4},
        "batching": {"max": 64},
        "training_data": [{"name": _DATA, "kind": "phantom", "cases": 20_000, "license": "Apache-2.0"}],
        "training_command": _COMMAND,
        "metrics": [
            metric("mean absolute error of log volume", figures.mae),
            metric("the same, log-linear fit", figures.mae_log_linear),
            metric("the same, last value", figures.mae_last_value),
            metric("accuracy of the course", figures.course_accuracy),
            metric("the same, log-linear rule", figures.course_accuracy_rule),
            metric("share inside the 90 % interval", figures.coverage),
        ],
        "intended_use": "A forecast beside the measured growth of a lesion, for research",
        "limits": _LIMITS,
    }


def text() -> str:
    """The README, before its tables."""
    days = f"{SLOWEST_DAYS:.0f}"
    return f"""# {MODEL}

A recurrent network of 32 units over a lesion's dated volumes: the volume to expect with a 90 % interval,
and whether the lesion shrinks, stays or grows (doubling or halving within {days} days). Beside it every
forecast shows what a log-linear fit and the last value would say.
"""
