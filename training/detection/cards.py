"""How cards tell the tensors that every detector has, and those of what looks closely at one candidate.

Every shape is (batch, channel, slice, row, column), axial LPS; ``intensity`` is a card's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Entry = dict[str, Any]
Shape = tuple[int, int, int]
PARITY = {"absolute": 2e-3, "relative": 2e-3}
"""Between a detector in training and in service."""
CLOSE_PARITY = {"absolute": 1e-3, "relative": 1e-3}
BATCHING = {"max": 64, "preferred": [16]}
"""Of candidates, which are looked at closely many at a time."""
_MULTIPLE = 16


def whole_volume(
    description: str, spacing_mm: float, intensity: Mapping[str, Any], *, usual: Shape, most: Shape
) -> Entry:
    """A detector's input, on a grid as fine along each axis."""
    return {
        "tensor": "volume",
        "dims": [1, 1, -1, -1, -1],
        "axes": _axes(),
        "orientation": "LPS",
        "spacing_mm": [spacing_mm] * 3,
        "units": "HU",
        "intensity": dict(intensity),
        "multiple_of": [1, 1, *[_MULTIPLE] * 3],
        "shapes": {"min": [1, 1, *[_MULTIPLE] * 3], "opt": [1, 1, *usual], "max": [1, 1, *most]},
        "description": f"{description}, padded with -1024 HU",
    }


def centre_maps(what: str) -> list[Entry]:
    """Where the centre of ``what`` lies and how large it is: a detector's outputs, on half of its grid."""
    return [
        {
            "tensor": "heatmap",
            "dims": [1, 1, -1, -1, -1],
            "stride": 2,
            "kind": "heatmap",
            "activation": "sigmoid",
            "description": f"probability that a {what}'s centre lies here",
        },
        {
            "tensor": "diameter_mm",
            "dims": [1, 1, -1, -1, -1],
            "stride": 2,
            "kind": "regression",
            "units": "mm",
            "description": f"diameter of the {what} whose centre lies here",
        },
    ]


def candidates(
    tensor: str,
    shape: Shape,
    intensity: Mapping[str, Any],
    description: str,
    spacing_mm: float | None = None,
) -> Entry:
    """Crops about candidates. spacing_mm: None where each has one of its own."""
    return {
        "tensor": tensor,
        "dims": [-1, 1, *shape],
        "axes": _axes(),
        "orientation": "LPS",
        **({} if spacing_mm is None else {"spacing_mm": [spacing_mm] * 3}),
        "units": "HU",
        "intensity": dict(intensity),
        "shapes": _shapes(1, *shape),
        "description": description,
    }


def spacing_of(what: str) -> Entry:
    """The spacing of crops that have one of their own each."""
    return {
        "tensor": "spacing_mm",
        "dims": [-1, 1],
        "axes": ["batch", "value"],
        "units": "mm",
        "shapes": _shapes(1),
        "description": f"spacing of {what}",
    }


def mask(what: str, shape: Shape) -> Entry:
    return {
        "tensor": "mask",
        "dims": [-1, 1, *shape],
        "kind": "mask",
        "activation": "sigmoid",
        "description": f"probability of lying in the {what}",
    }


def probability(tensor: str, description: str) -> Entry:
    """One of each candidate."""
    return {
        "tensor": tensor,
        "dims": [-1, 1],
        "kind": "probability",
        "activation": "sigmoid",
        "description": description,
    }


def classes(tensor: str, labels: Sequence[Mapping[str, str]], description: str) -> Entry:
    """A probability of each of ``labels`` for each candidate, all together 1."""
    return {
        "tensor": tensor,
        "dims": [-1, len(labels)],
        "kind": "probability",
        "activation": "softmax",
        "labels": [dict(label) for label in labels],
        "description": description,
    }


def crop_scale(across: float, least_mm: float, most_mm: float, slice_to_pixel: float) -> dict[str, float]:
    """What tells a reader the spacing of a candidate's crop: its diameter spans ``across`` pixels, as far as
    their spacing stays within ``least_mm`` and ``most_mm``."""
    return {
        "pixels_across": across,
        "least_spacing_mm": least_mm,
        "most_spacing_mm": most_mm,
        "slice_to_pixel": slice_to_pixel,
    }


def _axes() -> list[str]:
    return ["batch", "channel", "slice", "row", "column"]


def _shapes(*of_one: int) -> dict[str, list[int]]:
    return {name: [batch, *of_one] for name, batch in (("min", 1), ("opt", 16), ("max", 64))}
