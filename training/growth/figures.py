"""What the card of the forecaster tells of an evaluation of ``growth``."""

from __future__ import annotations

from inference.growth.forecast import MODEL
from training.figure_table import FigureTable, Line

SIMULATED = "simulated growth"
_LINES = (
    *(
        Line(metric, figure, "lesions")
        for metric, figure in (
            ("mean absolute error of log volume", "mae"),
            ("the same, log-linear fit", "mae_log_linear"),
            ("the same, last value", "mae_last_value"),
            ("its ratio to the log-linear fit's", "mae_ratio_to_log_linear"),
            ("its ratio to the last value's", "mae_ratio_to_last_value"),
            ("accuracy of the course", "course_accuracy"),
            ("the same, log-linear rule", "course_accuracy_rule"),
            ("share of volumes inside the 90 % interval", "inside_90_percent"),
        )
    ),
    *(
        Line(metric, figure, "malignancy_lesions")
        for metric, figure in (
            ("mean absolute error of the suspicion of malignancy", "malignancy_mae"),
            ("the same, last value", "malignancy_mae_last_value"),
            ("the same, line through the logits", "malignancy_mae_logit_linear"),
            ("its ratio to the last value's", "malignancy_mae_ratio_to_last_value"),
            ("share of suspicions inside the 90 % interval", "malignancy_inside_90_percent"),
            ("AUROC of malignancy, by the suspicion forecast", "malignancy_auroc"),
            ("the same, by the last suspicion", "malignancy_auroc_last_value"),
        )
    ),
)
GROWTH = FigureTable({MODEL: {"simulated": _LINES}}, {"simulated": SIMULATED})
