"""The cards of the two networks: what they take, what they say, what they learned from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from training.detection import cards as tensors
from training.lung_nodules import crops
from training.lung_nodules.backgrounds import SPACING_MM

DETECTOR = "lung-nodules-detector"
CHARACTERISER = "lung-nodules-characteriser"
_INTENSITY = {"clip": [-1024.0, 400.0], "subtract": -312.0, "divide": 712.0}
_LIMITS = [
    "Not a medical device: for research, every result unverified.",
    "Learned mostly from procedural phantoms and the few real scans named as its data; a figure on those "
    "very scans is none held out, and one on phantoms says little of a hospital's scans.",
    "Sees nothing outside of the lungs, no consolidation, effusion or lymph node, and no mass deep in a "
    "collapsed lobe, which touches no aerated lung.",
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
_KINDS = (
    ("solid", "Solid"),
    ("part-solid", "Part solid"),
    ("ground-glass", "Ground glass"),
    ("calcified", "Calcified"),
)
_KIND_LABELS = [
    {"label": label, "scheme": "99OVERREAD", "value": label.upper(), "meaning": meaning}
    for label, meaning in _KINDS
]


def command(layout: str, *, goes_on: bool = False) -> str:
    """What makes such weights. layout: of what is learned from. goes_on: whether from earlier weights."""
    data = "" if layout == "phantom" else "--data DIR "
    return f"overread train lung-nodules {data}--layout {layout}" + (" --from EARLIER" if goes_on else "")


def detector_card(
    version: int,
    thresholds: dict[str, Any],
    data: Sequence[dict[str, Any]],
    metrics: Sequence[dict[str, Any]],
    command: str,
) -> dict[str, Any]:
    """``model.yaml`` of the detector, its weights' hash still missing. command: as ``command`` gives it."""
    return {
        "name": DETECTOR,
        "version": version,
        "task": "Finds candidates for lung nodules in a whole chest CT, in one pass",
        "readers": ["lung-nodules"],
        "license": "Apache-2.0",
        "inputs": [
            tensors.whole_volume(
                "the chest", SPACING_MM, _INTENSITY, usual=(208, 192, 256), most=(448, 320, 384)
            )
        ],
        "outputs": tensors.centre_maps("nodule"),
        "operating_points": thresholds,
        "postprocess": {"most_candidates": 40.0, "most_large": 8.0, "least_large_mm": 20.0},
        "parity": tensors.PARITY,
        "training_data": list(data),
        "training_command": command,
        "metrics": list(metrics),
        "intended_use": "First stage of the reader lung-nodules on CT of adult chests",
        "limits": _LIMITS,
    }


def characteriser_card(
    version: int,
    thresholds: dict[str, Any],
    data: Sequence[dict[str, Any]],
    metrics: Sequence[dict[str, Any]],
    command: str,
) -> dict[str, Any]:
    """``model.yaml`` of the characteriser, its weights' hash still missing. command: as of the detector."""
    return {
        "name": CHARACTERISER,
        "version": version,
        "task": "Looks closely at one candidate: its mask, whether it is a nodule, its type and malignancy",
        "readers": ["lung-nodules"],
        "license": "Apache-2.0",
        "inputs": [
            tensors.candidates(
                "crop",
                crops.SHAPE,
                _INTENSITY,
                "the candidate in the middle, spacing by its diameter (see postprocess); "
                "0 where the scan does not reach",
            ),
            tensors.spacing_of("the crop's rows and columns"),
        ],
        "outputs": [
            tensors.mask("nodule", crops.SHAPE),
            tensors.probability("nodule", "probability of being a nodule at all"),
            tensors.probability(
                "malignancy", "probability that readers would rate it 4 or 5 of 5 rather than 1 or 2"
            ),
            tensors.classes("kind", _KIND_LABELS, "type of the nodule"),
        ],
        "operating_points": thresholds,
        "postprocess": {
            **tensors.crop_scale(
                crops.PIXELS_ACROSS, crops.LEAST_SPACING_MM, crops.MOST_SPACING_MM, crops.SLICE_TO_PIXEL
            ),
            "least_long_axis_mm": 3.0,
        },
        "parity": tensors.CLOSE_PARITY,
        "batching": tensors.BATCHING,
        "training_data": list(data),
        "training_command": command,
        "metrics": list(metrics),
        "intended_use": "Second stage of the reader lung-nodules",
        "limits": _LIMITS,
    }
