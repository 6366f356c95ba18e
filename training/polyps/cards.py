"""The card of the network: what it takes, what it says, what it learned from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from inference.readers.endoscopic import SIZE
from inference.readers.polyps import NAME, POLYPS

_ON_PHANTOMS = "overread train polyps --layout phantom"
_SEEN_NONE = "Has seen no real picture; a site that trains it on its own pictures gets another network."


def polyps_card(
    version: int,
    frames: int,
    metrics: Sequence[Mapping[str, Any]],
    *,
    real: int = 0,
    data_set: str = "",
    before: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """``model.yaml``, its weights' hash still missing. frames: procedural ones; real: pictures of
    ``data_set``; before: what the weights that these go on from had learned from."""
    learned_from: list[Mapping[str, Any]] = [
        {
            "name": "Overread endoscopy phantoms",
            "kind": "phantom",
            "cases": frames,
            "license": "Apache-2.0",
            "description": "procedural frames: a colon as a distance field, seen through a fish-eye, half of "
            "them through narrower or wider ones than usual; in a ninth the wall bulges more than in those "
            "measured on",
        }
    ]
    if real:
        site = {"name": data_set, "kind": "real", "cases": real, "license": "as the data set's"}
        learned_from.append(site | {"description": "pictures with masks, of the split train"})
    learned_from += before
    command = f"overread train polyps --layout {data_set} --data DIR" if real else _ON_PHANTOMS
    return {
        "name": POLYPS,
        "version": version,
        "task": "Outlines polyps on colonoscopy pictures",
        "readers": [NAME],
        "license": "Apache-2.0",
        "inputs": [
            {
                "tensor": "picture",
                "dims": [-1, 3, SIZE, SIZE],
                "axes": ["batch", "channel", "row", "column"],
                "units": "8-bit RGB",
                "intensity": {"subtract": 127.5, "divide": 127.5},
                "shapes": {"min": [1, 3, SIZE, SIZE], "opt": [8, 3, SIZE, SIZE], "max": [16, 3, SIZE, SIZE]},
                "description": "the whole picture, its sides stretched to be equal",
            }
        ],
        "outputs": [
            {
                "tensor": "polyps",
                "dims": [-1, 1, SIZE, SIZE],
                "kind": "mask",
                "activation": "sigmoid",
                "description": "probability of lying on a polyp",
            }
        ],
        "operating_points": {
            "outline": {"threshold": 0.5, "chosen_for": "the border of a polyp"},
            "report": {
                "threshold": 0.8,
                "chosen_for": "marks 1 of 40 procedural frames without a polyp; real pictures had no say",
            },
        },
        "postprocess": {"least_share": 0.004, "most_findings": 20.0},
        "parity": {"absolute": 2e-3, "relative": 2e-3},
        "batching": {"max": 16, "preferred": [8]},
        "training_data": learned_from,
        "training_command": f"{command} --from EARLIER" if before else command,
        "metrics": list(metrics),
        "intended_use": "Outlines of polyps on colonoscopy stills, for research",
        "limits": [
            "Not a medical device: for research, every result unverified.",
            *([] if any(part["kind"] == "real" for part in learned_from) else [_SEEN_NONE]),
            "Sizes are in pixels: an endoscope measures no millimetres.",
            "Draws at 128 x 128: small and flat polyps are lost.",
        ],
    }
