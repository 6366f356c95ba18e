"""The cards of the two networks: what they take, what they say, what they learned from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

DETECTOR = "lung-nodules-detector"
CHARACTERISER = "lung-nodules-characteriser"
_COMMAND = "overread train lung-nodules --data DIR --layout lidc-slices"
_INTENSITY = {"clip": [-1024.0, 400.0], "subtract": -312.0, "divide": 712.0}
_LIMITS = [
    "Not a medical device: for research, every result unverified.",
    "Learned mostly from procedural phantoms and the few real scans named as its data; a figure on those "
    "very scans is none held out, and one on phantoms says little of a hospital's scans.",
    "Sees nothing outside of the lungs, and no consolidation, effusion or lymph node.",
]
TEXTS = {
    DETECTOR: """# Lung nodule detector

The first stage of the reader `lung-nodules`: a 3-D U-Net whose first convolution halves the grid looks at the
lungs in one pass, and at half the resolution in another for what is larger than 20 mm.
""",
    CHARACTERISER: """# Lung nodule characteriser

The second stage of the reader `lung-nodules`: looks closely at one candidate of the detector, draws it, and
says whether it is a nodule, of which type, and how suspicious readers would find it.
""",
}
KINDS = (
    ("solid", "Solid"),
    ("part-solid", "Part solid"),
    ("ground-glass", "Ground glass"),
    ("calcified", "Calcified"),
)


def detector_card(
    version: int,
    thresholds: dict[str, Any],
    data: Sequence[dict[str, Any]],
    metrics: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    """``model.yaml`` of the detector, its weights' hash still missing."""
    return {
        "name": DETECTOR,
        "version": version,
        "task": "Finds candidates for lung nodules in a whole chest CT, in one pass",
        "readers": ["lung-nodules"],
        "license": "Apache-2.0",
        "inputs": [
            {
                "tensor": "volume",
                "dims": [1, 1, -1, -1, -1],
                "axes": ["batch", "channel", "slice", "row", "column"],
                "orientation": "LPS",
                "spacing_mm": [1.5, 1.5, 1.5],
                "units": "HU",
                "intensity": _INTENSITY,
                "multiple_of": [1, 1, 16, 16, 16],
                "shapes": {
                    "min": [1, 1, 16, 16, 16],
                    "opt": [1, 1, 208, 192, 256],
                    "max": [1, 1, 448, 320, 384],
                },
                "description": "the chest, padded with -1024 HU",
            }
        ],
        "outputs": [
            {
                "tensor": "heatmap",
                "dims": [1, 1, -1, -1, -1],
                "kind": "heatmap",
                "stride": 2,
                "activation": "sigmoid",
                "description": "probability that a nodule's centre lies here",
            },
            {
                "tensor": "diameter_mm",
                "dims": [1, 1, -1, -1, -1],
                "kind": "regression",
                "stride": 2,
                "units": "mm",
                "description": "diameter of the nodule whose centre lies here",
            },
        ],
        "operating_points": thresholds,
        "postprocess": {"most_candidates": 40.0, "most_large": 8.0, "least_large_mm": 20.0},
        "parity": {"absolute": 2e-3, "relative": 2e-3},
        "training_data": list(data),
        "training_command": _COMMAND,
        "metrics": list(metrics),
        "intended_use": "First stage of the reader lung-nodules on CT of adult chests",
        "limits": _LIMITS,
    }


def characteriser_card(
    version: int,
    thresholds: dict[str, Any],
    data: Sequence[dict[str, Any]],
    metrics: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    """``model.yaml`` of the characteriser, its weights' hash still missing."""
    crop = [-1, 1, 12, 40, 40]
    return {
        "name": CHARACTERISER,
        "version": version,
        "task": "Looks closely at one candidate: its mask, whether it is a nodule, its type and malignancy",
        "readers": ["lung-nodules"],
        "license": "Apache-2.0",
        "inputs": [
            {
                "tensor": "crop",
                "dims": crop,
                "axes": ["batch", "channel", "slice", "row", "column"],
                "orientation": "LPS",
                "units": "HU",
                "intensity": _INTENSITY,
                "shapes": {"min": [1, *crop[1:]], "opt": [16, *crop[1:]], "max": [64, *crop[1:]]},
                "description": "the candidate in the middle, spacing by its diameter (see postprocess); "
                "0 where the scan does not reach",
            },
            {
                "tensor": "spacing_mm",
                "dims": [-1, 1],
                "axes": ["batch", "value"],
                "units": "mm",
                "shapes": {"min": [1, 1], "opt": [16, 1], "max": [64, 1]},
                "description": "spacing of the crop's rows and columns",
            },
        ],
        "outputs": [
            {
                "tensor": "mask",
                "dims": crop,
                "kind": "mask",
                "activation": "sigmoid",
                "description": "probability of lying in the nodule",
            },
            {
                "tensor": "nodule",
                "dims": [-1, 1],
                "kind": "probability",
                "activation": "sigmoid",
                "description": "probability of being a nodule at all",
            },
            {
                "tensor": "malignancy",
                "dims": [-1, 1],
                "kind": "probability",
                "activation": "sigmoid",
                "description": "probability that readers would rate it 4 or 5 of 5 rather than 1 or 2",
            },
            {
                "tensor": "kind",
                "dims": [-1, 4],
                "kind": "probability",
                "activation": "softmax",
                "labels": [
                    {"label": label, "scheme": "99OVERREAD", "value": label.upper(), "meaning": meaning}
                    for label, meaning in KINDS
                ],
                "description": "type of the nodule",
            },
        ],
        "operating_points": thresholds,
        "postprocess": {
            "pixels_across": 16.0,
            "least_spacing_mm": 0.5,
            "most_spacing_mm": 3.2,
            "slice_to_pixel": 2.0,
            "least_long_axis_mm": 3.0,
        },
        "parity": {"absolute": 1e-3, "relative": 1e-3},
        "batching": {"max": 64, "preferred": [16]},
        "training_data": list(data),
        "training_command": _COMMAND,
        "metrics": list(metrics),
        "intended_use": "Second stage of the reader lung-nodules",
        "limits": _LIMITS,
    }
