"""What the cards of the two networks tell of an evaluation of ``ct-lesions``."""

from __future__ import annotations

from training.ct_lesions.cards import CHARACTERISER, NAME
from training.figure_table import FigureTable, Line

_BOTH = (
    Line("mean sensitivity at 0.5, 1, 2 and 4 false marks per volume", "mean_sensitivity", "lesions"),
    Line("sensitivity as reported", "sensitivity_at_report", "lesions"),
    Line("false marks per volume as reported", "false_marks_per_scan_at_report", "scans"),
)
_CLOSE = (
    Line("Dice of what was found, 6 mm and more", "dice", "found_at_all"),
    Line("error of the diameter, relative, 6 mm and more", "diameter_error", "found_at_all"),
    Line("AUROC of malignancy", "malignancy_auroc", "found_at_all"),
    Line("the same, by diameter alone", "malignancy_auroc_of_diameter", "found_at_all"),
    Line("accuracy of the site", "site_accuracy", "found_at_all"),
)
CT_LESIONS = FigureTable(
    {NAME: {"phantom": _BOTH}, CHARACTERISER: {"phantom": _BOTH + _CLOSE}},
    {"phantom": "Overread body phantoms"},
)
