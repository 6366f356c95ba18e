"""The card of the network: what it takes, what it says, what it learned from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from inference.registration.estimate import COARSER, MODEL, SHAPE, SPACING_MM
from training.registration.pairs import (
    CT_INTENSITY,
    MOST_BREATH_MM,
    MOST_SHIFT_MM,
    MOST_TURN_DEG,
    PET_INTENSITY,
)

TEXT = f"""# {MODEL}

One look at a CT and a PET on the same 6 mm grid says how the PET has moved and turned, and how each place of
it is displaced on top of that, by breathing. `inference.registration` looks three times for the motion, each
time at what the last look left over, moves on from there to where mutual information is highest, and looks
once more for the displacements. It refuses whatever makes mutual information or the outlines agree less.
"""


def registration_card(
    version: int, chests: int, pairs: int, metrics: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """``model.yaml``, its weights' hash still missing."""
    return {
        "name": MODEL,
        "version": version,
        "task": "Says how a PET has to move onto the CT of its study",
        "readers": ["pet-ct"],
        "license": "Apache-2.0",
        "inputs": [
            _scan("ct", "HU", CT_INTENSITY, "about the middle of the lungs"),
            _scan(
                "pet",
                "SUV (body weight)",
                PET_INTENSITY,
                "on the grid of the CT, under the motion known so far",
            ),
        ],
        "outputs": [
            {
                "tensor": "motion",
                "dims": [-1, 6],
                "kind": "regression",
                "units": "mm, degrees",
                "description": "from the CT to the PET: shift along x, y, z of LPS, and a rotation vector "
                "about the middle of the grid",
            },
            {
                "tensor": "displacement",
                "dims": [-1, 3, *(n // COARSER for n in SHAPE)],
                "kind": "regression",
                "stride": COARSER,
                "units": "mm",
                "description": "x, y, z of LPS, to be added to where the motion brings a place of the CT",
            },
        ],
        "parity": {"absolute": 2e-3, "relative": 1e-3},
        "training_data": [
            {
                "name": "Overread PET/CT phantoms",
                "kind": "phantom",
                "cases": chests,
                "license": "Apache-2.0",
                "description": f"{pairs} pairs of chests with three states of uptake each, apart by up to "
                f"{MOST_SHIFT_MM:.0f} mm and {MOST_TURN_DEG:.0f}° along and about each axis, and by "
                f"{MOST_BREATH_MM:.0f} mm of diaphragm",
            }
        ],
        "training_command": "overread train registration",
        "metrics": list(metrics),
        "intended_use": "Brings PET and CT of one study together before they are read, for research",
        "limits": [
            "Not a medical device: for research, every result unverified.",
            "Learned from phantom chests alone; no real PET took part.",
            "Has seen few pairs: alone it is a start and no registration.",
            "The figures are of its motion moved on to the highest mutual information.",
            "Looks at 384 x 288 x 480 mm about the lungs; beyond it the motion at its border goes on.",
            "Arms beside the body, and a PET without attenuation correction, were not learned.",
        ],
    }


def _scan(tensor: str, units: str, intensity: Mapping[str, Any], where: str) -> dict[str, Any]:
    dims = [-1, 1, *SHAPE]
    return {
        "tensor": tensor,
        "dims": dims,
        "axes": ["batch", "channel", "slice", "row", "column"],
        "orientation": "LPS",
        "spacing_mm": [SPACING_MM] * 3,
        "units": units,
        "intensity": dict(intensity),
        "shapes": {"min": [1, *dims[1:]], "opt": [1, *dims[1:]], "max": [4, *dims[1:]]},
        "description": where,
    }
