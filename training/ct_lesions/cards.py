"""The cards of the two networks: what each takes, what it says, what it learned from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from training.ct_lesions import crops
from training.ct_lesions.networks import CLIP_HU, DIVIDE_HU
from training.ct_lesions.patches import SPACING_MM
from training.phantoms.masses import SITES, Site

NAME = "ct-lesions"
CHARACTERISER = "ct-lesions-characteriser"
_READER = "ct-lesions"
EQUAL_WORDS = {
    "heat_weight": 1.0,
    "inside_weight": 0.5,
    "lesion_weight": 1.0,
    "score_offset": 0.0,
}
"""What the words of the two networks weigh until ``training.ct_lesions.words`` has weighed them."""
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
_SITES = [
    {"label": s, "scheme": "SCT", "value": _SITE_CODES[s][0], "meaning": _SITE_CODES[s][1]} for s in SITES
]
_INTENSITY = {"clip": list(CLIP_HU), "divide": DIVIDE_HU}
_WHERE = "where it is, by the coarse types of DeepLesion"
_LIMITS = [
    "Not a medical device: for research, every result unverified.",
    "Learned from procedural phantoms and lesions drawn into the few real scans named above: no lesion of a "
    "real patient was learned from. Its figures are those of phantoms unless they name a real data set.",
    "Sees no diffuse disease, no effusion, no lesion of the hollow organs, and little below 8 mm.",
]
_OF_WORDS = (
    "The four weights of the score (heat_weight to score_offset) were fitted on phantoms of other seeds, two "
    "thirds scanned as those of the evaluation that are held out, one third as those that are shifted: the "
    "shifted figures are of other patients, but not of a kind of scan that nothing was fitted on."
)
_OF_MALIGNANCY = (
    "Malignancy tells apart how the phantoms' benign and malignant lesions look; it is no pathology."
)


def detector_card(
    version: int,
    thresholds: dict[str, Any],
    data: Sequence[dict[str, Any]],
    metrics: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    """``model.yaml`` of the first network, its weights' hash still missing."""
    half = {"dims": [1, 1, -1, -1, -1], "stride": 2}
    return {
        "name": NAME,
        "version": version,
        "task": "Finds lesions anywhere in the body on a CT in one pass",
        "readers": [_READER],
        "license": "Apache-2.0",
        "inputs": [
            {
                "tensor": "volume",
                "dims": [1, 1, -1, -1, -1],
                "axes": ["batch", "channel", "slice", "row", "column"],
                "orientation": "LPS",
                "spacing_mm": [SPACING_MM] * 3,
                "units": "HU",
                "intensity": _INTENSITY,
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
                "labels": _SITES,
                "description": _WHERE,
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
        "postprocess": {"most_candidates": 90.0},
        "parity": {"absolute": 2e-3, "relative": 2e-3},
        "training_data": list(data),
        "training_command": _COMMAND_ON_SCANS if any(one["kind"] == "real" for one in data) else _COMMAND,
        "metrics": list(metrics),
        "intended_use": "First stage of the reader ct-lesions on CT of adult bodies",
        "limits": [*_LIMITS, _OF_MALIGNANCY],
    }


def characteriser_card(
    version: int,
    thresholds: dict[str, Any],
    data: Sequence[dict[str, Any]],
    metrics: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    """``model.yaml`` of the second network, its weights' hash still missing."""
    close, around = [-1, 1, *crops.SHAPE], [-1, 1, *crops.AROUND]
    axes = ["batch", "channel", "slice", "row", "column"]

    def shapes(of_one: Sequence[int]) -> dict[str, list[int]]:
        return {name: [most, *of_one] for name, most in (("min", 1), ("opt", 16), ("max", 64))}

    return {
        "name": CHARACTERISER,
        "version": version,
        "task": "Looks closely at one candidate: its mask, whether it is a lesion, its site",
        "readers": [_READER],
        "license": "Apache-2.0",
        "inputs": [
            {
                "tensor": "close",
                "dims": close,
                "axes": axes,
                "orientation": "LPS",
                "units": "HU",
                "intensity": _INTENSITY,
                "shapes": shapes(close[1:]),
                "description": "the candidate in the middle, spacing by its diameter (see postprocess); "
                "-1024 HU where the scan does not reach",
            },
            {
                "tensor": "spacing_mm",
                "dims": [-1, 1],
                "axes": ["batch", "value"],
                "units": "mm",
                "shapes": shapes([1]),
                "description": "spacing of the rows and columns of close",
            },
            {
                "tensor": "around",
                "dims": around,
                "axes": axes,
                "orientation": "LPS",
                "spacing_mm": [crops.AROUND_MM] * 3,
                "units": "HU",
                "intensity": _INTENSITY,
                "shapes": shapes(around[1:]),
                "description": "the same place, with what lies around it",
            },
        ],
        "outputs": [
            {
                "tensor": "mask",
                "dims": close,
                "kind": "mask",
                "activation": "sigmoid",
                "description": "probability of lying in the lesion",
            },
            {
                "tensor": "lesion",
                "dims": [-1, 1],
                "kind": "probability",
                "activation": "sigmoid",
                "description": "probability of being a lesion at all",
            },
            {
                "tensor": "site",
                "dims": [-1, len(SITES)],
                "kind": "probability",
                "activation": "softmax",
                "labels": _SITES,
                "description": _WHERE,
            },
        ],
        "operating_points": thresholds,
        "postprocess": {
            "pixels_across": crops.PIXELS_ACROSS,
            "least_spacing_mm": crops.LEAST_SPACING_MM,
            "most_spacing_mm": crops.MOST_SPACING_MM,
            "slice_to_pixel": crops.SLICE_TO_PIXEL,
            "most_looks": 32.0,
            "least_lesion": 0.2,
            "least_long_axis_mm": 5.0,
            "nodule_share": 0.3,
            **EQUAL_WORDS,
        },
        "parity": {"absolute": 1e-3, "relative": 1e-3},
        "batching": {"max": 64, "preferred": [16]},
        "training_data": list(data),
        "training_command": _COMMAND_ON_SCANS if any(one["kind"] == "real" for one in data) else _COMMAND,
        "metrics": list(metrics),
        "intended_use": "Second stage of the reader ct-lesions",
        "limits": [*_LIMITS, _OF_WORDS],
    }
