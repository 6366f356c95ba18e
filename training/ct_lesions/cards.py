"""The cards of the two networks: what each takes, what it says, what it learned from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from training.ct_lesions import crops
from training.ct_lesions.networks import CLIP_HU, DIVIDE_HU
from training.ct_lesions.patches import SPACING_MM
from training.detection import cards as tensors
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
_COMMAND_ON_DEEPLESION = f"{_COMMAND} --data DIR --layout deeplesion"
DEEPLESION = "DeepLesion"
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
_NOT_A_DEVICE = "Not a medical device: for research, every result unverified."
_FROM_PHANTOMS = (
    "Learned from procedural phantoms and lesions drawn into the few real scans named above: no lesion of a "
    "real patient was learned from. Its figures are those of phantoms unless they name a real data set."
)
_FROM_DEEPLESION = (
    "Learned from procedural phantoms and from the lesions marked on DeepLesion's key slices, where about "
    "half of all lesions have no mark. Malignancy, how far a lesion reaches beyond its slice, and the site "
    "where the release tells no type are known from phantoms alone. Its figures are those of phantoms unless "
    "they name a real data set."
)
_UNSEEN = "Sees no diffuse disease, no effusion, no lesion of the hollow organs, and little below 8 mm."
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
    return {
        "name": NAME,
        "version": version,
        "task": "Finds lesions anywhere in the body on a CT in one pass",
        "readers": [_READER],
        "license": "Apache-2.0",
        "inputs": [
            tensors.whole_volume(
                "the body", SPACING_MM, _INTENSITY, usual=(208, 160, 208), most=(448, 256, 288)
            )
        ],
        "outputs": [
            *tensors.centre_maps("lesion"),
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
        "parity": tensors.PARITY,
        "training_data": list(data),
        "training_command": _command(data),
        "metrics": list(metrics),
        "intended_use": "First stage of the reader ct-lesions on CT of adult bodies",
        "limits": _limits(data),
    }


def characteriser_card(
    version: int,
    thresholds: dict[str, Any],
    data: Sequence[dict[str, Any]],
    metrics: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    """``model.yaml`` of the second network, its weights' hash still missing."""
    return {
        "name": CHARACTERISER,
        "version": version,
        "task": "Looks closely at one candidate: its mask, whether it is a lesion, a malignant one, its site",
        "readers": [_READER],
        "license": "Apache-2.0",
        "inputs": [
            tensors.candidates(
                "close",
                crops.SHAPE,
                _INTENSITY,
                "the candidate in the middle, spacing by its diameter (see postprocess); "
                "-1024 HU where the scan does not reach",
            ),
            tensors.spacing_of("the rows and columns of close"),
            tensors.candidates(
                "around",
                crops.AROUND,
                _INTENSITY,
                "the same place, with what lies around it",
                crops.AROUND_MM,
            ),
        ],
        "outputs": [
            tensors.mask("lesion", crops.SHAPE),
            tensors.probability("lesion", "probability of being a lesion at all"),
            tensors.probability("malignancy", "probability that it is malignant"),
            tensors.classes("site", _SITES, _WHERE),
        ],
        "operating_points": thresholds,
        "postprocess": {
            **tensors.crop_scale(
                crops.PIXELS_ACROSS, crops.LEAST_SPACING_MM, crops.MOST_SPACING_MM, crops.SLICE_TO_PIXEL
            ),
            "most_looks": 32.0,
            "least_lesion": 0.2,
            "least_long_axis_mm": 5.0,
            "nodule_share": 0.3,
            **EQUAL_WORDS,
        },
        "parity": tensors.CLOSE_PARITY,
        "batching": tensors.BATCHING,
        "training_data": list(data),
        "training_command": _command(data),
        "metrics": list(metrics),
        "intended_use": "Second stage of the reader ct-lesions",
        "limits": [*_limits(data), _OF_MALIGNANCY, _OF_WORDS],
    }


def _on_deeplesion(data: Sequence[dict[str, Any]]) -> bool:
    return any(one["name"] == DEEPLESION for one in data)


def _command(data: Sequence[dict[str, Any]]) -> str:
    if _on_deeplesion(data):
        return _COMMAND_ON_DEEPLESION
    return _COMMAND_ON_SCANS if any(one["kind"] == "real" for one in data) else _COMMAND


def _limits(data: Sequence[dict[str, Any]]) -> list[str]:
    return [_NOT_A_DEVICE, _FROM_DEEPLESION if _on_deeplesion(data) else _FROM_PHANTOMS, _UNSEEN]
