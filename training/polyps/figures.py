"""What the card of the network tells of an evaluation of ``polyps``."""

from __future__ import annotations

from inference.readers.polyps import POLYPS as NETWORK
from training.figure_table import FigureTable, Line

_LINES = (Line("mean Dice", "mean_dice", "images"), Line("mean IoU", "mean_iou", "images"))
_DATA_SETS = {
    "phantom": "Overread endoscopy phantoms",
    "polyp-masks": "real colonoscopy stills",
    "kvasir-seg": "Kvasir-SEG",
    "cvc-clinicdb": "CVC-ClinicDB",
}
_EMPTY = Line("share of frames without a polyp in which one is reported", "empty_reported", "empty_images")
POLYPS = FigureTable(
    {NETWORK: dict.fromkeys(_DATA_SETS, _LINES) | {"phantom": (*_LINES, _EMPTY)}}, _DATA_SETS
)
