"""The card of the network: what it takes, what it says, what it learned from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from inference.readers.pet_ct import CROP, CROP_MM, HOT_SPOTS, NAME
from training.pet_ct.network import CT_INTENSITY, PET_INTENSITY
from training.pet_ct.spots import KINDS, LEAST_ML, LEAST_SUV, MOST
from training.phantoms.hot_lesions import SITES

_SITE_CODES = {
    "lung": ("SCT", "39607008", "Lung"),
    "node": ("SCT", "59441001", "Lymph node"),
    "bone": ("SCT", "272673000", "Bone"),
    "soft tissue": ("SCT", "87784001", "Soft tissue"),
}


def hot_spots_card(
    version: int,
    lesion: float,
    report: float,
    data: Sequence[dict[str, Any]],
    metrics: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    """``model.yaml``, its weights' hash still missing."""
    dims = [-1, 1, *CROP]
    shapes = {"min": [1, *dims[1:]], "opt": [16, *dims[1:]], "max": [64, *dims[1:]]}

    def image(tensor: str, units: str, intensity: dict[str, Any], description: str) -> dict[str, Any]:
        return {
            "tensor": tensor,
            "dims": dims,
            "axes": ["batch", "channel", "slice", "row", "column"],
            "orientation": "LPS",
            "spacing_mm": [CROP_MM] * 3,
            "units": units,
            "intensity": intensity,
            "shapes": shapes,
            "description": description,
        }

    return {
        "name": HOT_SPOTS,
        "version": version,
        "task": "Says of a hot spot on FDG PET/CT whether it is physiological, benign or malignant",
        "readers": [NAME],
        "license": "Apache-2.0",
        "inputs": [
            image(
                "pet",
                "SUV",
                PET_INTENSITY.model_dump(mode="json"),
                "the hot spot in the middle; 0 beyond the scan",
            ),
            image("ct", "HU", CT_INTENSITY.model_dump(mode="json"), "the same place; air beyond the scan"),
            image("region", "1 inside", {}, "the hot spot's own region, 0 to 1"),
        ],
        "outputs": [
            {
                "tensor": "kind",
                "dims": [-1, len(KINDS)],
                "kind": "probability",
                "activation": "softmax",
                "labels": [
                    {
                        "label": kind,
                        "scheme": "99OVERREAD",
                        "value": kind.upper(),
                        "meaning": f"{kind.capitalize()} uptake",
                    }
                    for kind in KINDS
                ],
                "description": "what takes up tracer there",
            },
            {
                "tensor": "site",
                "dims": [-1, len(SITES)],
                "kind": "probability",
                "activation": "softmax",
                "labels": [
                    dict(
                        zip(("label", "scheme", "value", "meaning"), (site, *_SITE_CODES[site]), strict=True)
                    )
                    for site in SITES
                ],
                "description": "where a lesion there lies",
            },
        ],
        "operating_points": {
            "lesion": {"threshold": lesion, "chosen_for": "95 % of lesions are called no physiology"},
            "report": {"threshold": report, "chosen_for": "80 % of cancers; as likely cancer it is reported"},
        },
        "postprocess": {"least_suv": LEAST_SUV, "least_ml": LEAST_ML, "most_hot_spots": float(MOST)},
        "parity": {"absolute": 1e-3, "relative": 1e-3},
        "batching": {"max": 64, "preferred": [16]},
        "training_data": list(data),
        "training_command": "overread train pet-ct --layout phantom",
        "metrics": list(metrics),
        "intended_use": "Second stage of the reader pet-ct on FDG PET/CT of adult chests",
        "limits": [
            "Not a medical device: for research, every result unverified.",
            "Has seen no real patient; malignancy is that of phantoms whose cancers are on average hotter, "
            "larger and less even than their inflammation, and of nothing else.",
            "The type it gives is where a lesion lies (lung, node, bone, soft tissue). It knows no "
            "histology: phantoms cannot teach it.",
            "The phantoms reach from the kidneys to the neck; brain, bladder and legs are hardly known "
            "to it.",
            "What is less than 2.2 SUV after 6 mm of smoothing, or less than half as hot again as what lies "
            "round it, is not looked at: small lesions of low uptake are missed.",
            "FDG only: other tracers have another physiology. A PET that names one is not read; where it "
            "names none, the reading says that FDG was assumed.",
        ],
    }
