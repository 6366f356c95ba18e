"""The card of ``ct-lesions``: what the network takes, what it says, what it learned from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from training.ct_lesions.networks import CLIP_HU, DIVIDE_HU
from training.ct_lesions.patches import SPACING_MM
from training.phantoms.masses import SITES, Site

NAME = "ct-lesions"
_COMMAND = "overread train ct-lesions"
_COMMAND_ON_SCANS = f"{_COMMAND} --data DIR --layout backgrounds"
_SITE_CODES: dict[Site, tuple[str, str]] = {
    "bone": ("272673000", "Bone"),
    "abdomen": ("818981001", "Abdomen"),
    "mediastinum": ("72410000", "Mediastinum"),
    "liver": ("10200004", "Liver"),
    "lung": ("39607008", "Lung"),
    "kidney": ("64033007", "Kidney"),
    "soft tissue": ("87784001", "Soft tissue"),
    "pelvis": ("816092008", "Pelvis"),
}
_LIMITS = [
    "Not a medical device: for research, every result unverified.",
    "Learned from procedural phantoms and lesions drawn into the few real scans named above: no lesion of a "
    "real patient was learned from. Its figures are those of phantoms unless they name a real data set.",
    "Malignancy tells apart how the phantoms' benign and malignant lesions look; it is no pathology.",
    "Sees no diffuse disease, no effusion, no lesion of the hollow organs, and little below 8 mm.",
]


def card(
    version: int,
    thresholds: dict[str, Any],
    data: Sequence[dict[str, Any]],
    metrics: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    """``model.yaml`` of the network, its weights' hash still missing."""
    half = {"dims": [1, 1, -1, -1, -1], "stride": 2}
    return {
        "name": NAME,
        "version": version,
        "task": "Finds lesions anywhere in the body on a CT in one pass, draws them and judges them",
        "readers": [NAME],
        "license": "Apache-2.0",
        "inputs": [
            {
                "tensor": "volume",
                "dims": [1, 1, -1, -1, -1],
                "axes": ["batch", "channel", "slice", "row", "column"],
                "orientation": "LPS",
                "spacing_mm": [SPACING_MM] * 3,
                "units": "HU",
                "intensity": {"clip": list(CLIP_HU), "divide": DIVIDE_HU},
                "multiple_of": [1, 1, 16, 16, 16],
                "shapes": {
                    "min": [1, 1, 16, 16, 16],
                    "opt": [1, 1, 208, 160, 208],
                    "max": [1, 1, 448, 256, 288],
                },
                "description": "the body, padded with -1024 HU",
            }
        ],
        "outputs": [
            {
                "tensor": "heatmap",
                **half,
                "kind": "heatmap",
                "activation": "sigmoid",
                "description": "probability that a lesion's centre lies here",
            },
            {
                "tensor": "diameter_mm",
                **half,
                "kind": "regression",
                "units": "mm",
                "description": "diameter of the lesion whose centre lies here",
            },
            {
                "tensor": "malignancy",
                **half,
                "kind": "probability",
                "activation": "sigmoid",
                "description": "probability that it is malignant",
            },
            {
                "tensor": "site",
                "dims": [1, len(SITES), -1, -1, -1],
                "stride": 2,
                "kind": "probability",
                "activation": "softmax",
                "labels": [
                    {"label": s, "scheme": "SCT", "value": _SITE_CODES[s][0], "meaning": _SITE_CODES[s][1]}
                    for s in SITES
                ],
                "description": "where it is, by the coarse types of DeepLesion",
            },
            {
                "tensor": "inside",
                "dims": [1, 1, -1, -1, -1],
                "kind": "mask",
                "activation": "sigmoid",
                "description": "probability of lying in a lesion",
            },
        ],
        "operating_points": thresholds,
        "postprocess": {"most_candidates": 60.0, "least_long_axis_mm": 5.0, "nodule_share": 0.3},
        "parity": {"absolute": 2e-3, "relative": 2e-3},
        "training_data": list(data),
        "training_command": _COMMAND_ON_SCANS if any(one["kind"] == "real" for one in data) else _COMMAND,
        "metrics": list(metrics),
        "intended_use": "Universal lesion detection on CT of adult bodies: the reader ct-lesions",
        "limits": _LIMITS,
    }
