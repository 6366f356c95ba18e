"""What the cards of the two networks tell of an evaluation of ``lung-nodules``."""

from __future__ import annotations

from collections.abc import Mapping

from training.figure_table import FigureTable, Line
from training.lung_nodules.cards import CHARACTERISER, DETECTOR

_BOTH: Mapping[str, tuple[Line, ...]] = {
    "phantom": (
        Line("CPM (mean sensitivity at 1/8 to 8 false marks per scan), with both stages", "cpm", "nodules"),
        Line("sensitivity at 1 false mark per scan, 6 mm and more", "sensitivity_at_1_fp_6mm", "nodules_6mm"),
        Line("sensitivity as reported, 6 mm and more", "reported_sensitivity_6mm", "nodules_6mm"),
        Line("false marks per scan as reported", "reported_false_per_scan", "scans"),
    ),
    "ct-scans": (
        Line("known lesions reported", "found_lesions", "known_lesions"),
        Line("other marks per scan as reported", "other_marks_per_scan", "scans"),
    ),
    "ct-scans-inserted": (
        Line("sensitivity as reported, drawn nodules of 6 mm and more", "reported_sensitivity", "nodules"),
    ),
}
_CLOSE: Mapping[str, tuple[Line, ...]] = {
    "phantom": (
        Line("Dice, 6 mm and more", "dice", "matched_6mm"),
        Line("error of the diameter, relative, 6 mm and more", "diameter_error", "matched_6mm"),
        Line("AUROC of malignancy", "malignancy_auroc", "matched"),
        Line("the same, by diameter alone", "malignancy_auroc_of_diameter", "matched"),
        Line("accuracy of the type", "kind_accuracy", "matched"),
    ),
    "lidc-slices": (
        Line("Dice with the readers' consensus", "dice_of_consensus", "nodules"),
        Line("Dice of a reader with the consensus of the others", "dice_among_readers", "nodules"),
        Line("AUROC of suspicion (median rating 4-5 against 1-2)", "malignancy_auroc", "malignancy_cases"),
        Line("the same, by diameter alone", "malignancy_auroc_of_diameter", "malignancy_cases"),
        Line(
            "specificity for marked non-nodules at 0.95 sensitivity",
            "specificity_at_95_sensitivity",
            "hard_negatives",
        ),
    ),
}
_DATA_SETS = {
    "phantom": "Overread chest phantoms",
    "ct-scans": "real CT with known lesions",
    "ct-scans-inserted": "real CT, phantom nodules drawn in",
    "lidc-slices": "LIDC-IDRI slice crops",
}

LUNG_NODULES = FigureTable({DETECTOR: _BOTH, CHARACTERISER: _CLOSE}, _DATA_SETS)
