"""What the forecaster's ``model.yaml`` and README say."""

from __future__ import annotations

from typing import Any

from inference.growth.forecast import CLASSES, FEATURES, MODEL, MOST_POINTS
from training.growth.figures import SIMULATED
from training.growth.series import SLOWEST_DAYS

_VERSION = 2
_LIMITS = [
    "Trained on simulated series alone; no real lesion was followed to make it.",
    "Knows volumes, dates and what the reader suspects, nothing of treatment.",
    "What it forecasts of malignancy is what the reader will say, not whether the lesion is cancer, and it "
    "tells malignant from benign no better than the last suspicion.",
    "How well a reader repeats itself was measured of lung-nodules on phantoms, and of no other.",
    "Shown only where a lesion was measured at three dates or more.",
]


def card(seed: int, series: int) -> dict[str, Any]:
    """``model.yaml``, its weights' hash and its figures still missing."""
    return {
        "name": MODEL,
        "version": _VERSION,
        "task": "Foretells a lesion's volume and the suspicion of malignancy from its measurements",
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
                "before the last, wCV of the volume, log of the last volume against 500 mm3; 1 where there "
                "is a suspicion of malignancy, its logit against that of the last that has one, and the "
                "latter's",
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
            {
                "tensor": "malignancy_change",
                "dims": [-1, 3],
                "kind": "regression",
                "description": "5, 50 and 95 % quantile of the logit of the suspicion of malignancy against "
                "the last one",
            },
        ],
        "parity": {"absolute": 1e-4, "relative": 1e-4},
        "batching": {"max": 64},
        "training_data": [{"name": SIMULATED, "kind": "phantom", "cases": series, "license": "Apache-2.0"}],
        "training_command": f"overread train growth --seed {seed}",
        "metrics": [],
        "intended_use": "A forecast beside the measured growth of a lesion, for research",
        "limits": _LIMITS,
    }


def text() -> str:
    """The README, before its tables."""
    days = f"{SLOWEST_DAYS:.0f}"
    return f"""# {MODEL}

A recurrent network of 48 units over a lesion's dated volumes and the reader's suspicions of malignancy: the
volume and the suspicion to expect, each with a 90 % interval, and whether the lesion shrinks, stays or grows
(doubling or halving within {days} days). Beside it every forecast has what a log-linear fit of the volumes, a
line through the suspicions' logits and the last values would say.
"""
