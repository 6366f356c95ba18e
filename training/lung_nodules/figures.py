"""Puts the figures of evaluations into the cards of the two networks.

``python -m training.lung_nodules.figures FILE.json…`` takes what ``overread evaluate lung-nodules --json``
wrote for the installed weights. Figures of the same data and split are replaced, others stay; the tables of
the READMEs follow.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from inference.card import ModelCard
from inference.catalogue import Catalogue
from inference.model_repository import sync
from training.errors import BrokenDataError
from training.lung_nodules.cards import CHARACTERISER, DETECTOR


@dataclass(frozen=True)
class _Line:
    """A figure's name in the card, and where in an evaluation's JSON it and its number of cases are."""

    metric: str
    figure: str
    cases: str


_BOTH: Mapping[str, tuple[_Line, ...]] = {
    "phantom": (
        _Line("CPM (mean sensitivity at 1/8 to 8 false marks per scan), with both stages", "cpm", "nodules"),
        _Line(
            "sensitivity at 1 false mark per scan, 6 mm and more", "sensitivity_at_1_fp_6mm", "nodules_6mm"
        ),
        _Line("sensitivity as reported, 6 mm and more", "reported_sensitivity_6mm", "nodules_6mm"),
        _Line("false marks per scan as reported", "reported_false_per_scan", "scans"),
    ),
    "ct-scans": (
        _Line("known lesions reported", "found_lesions", "known_lesions"),
        _Line("other marks per scan as reported", "other_marks_per_scan", "scans"),
    ),
    "ct-scans-inserted": (
        _Line("sensitivity as reported, drawn nodules of 6 mm and more", "reported_sensitivity", "nodules"),
    ),
    "lidc-slices": (),
}
_CLOSE: Mapping[str, tuple[_Line, ...]] = {
    "phantom": (
        _Line("Dice, 6 mm and more", "dice", "matched_6mm"),
        _Line("error of the diameter, relative, 6 mm and more", "diameter_error", "matched_6mm"),
        _Line("AUROC of malignancy", "malignancy_auroc", "matched"),
        _Line("the same, by diameter alone", "malignancy_auroc_of_diameter", "matched"),
        _Line("accuracy of the type", "kind_accuracy", "matched"),
    ),
    "ct-scans": (),
    "ct-scans-inserted": (),
    "lidc-slices": (
        _Line("Dice with the readers' consensus", "dice_of_consensus", "nodules"),
        _Line("Dice of a reader with the consensus of the others", "dice_among_readers", "nodules"),
        _Line("AUROC of suspicion (median rating 4-5 against 1-2)", "malignancy_auroc", "malignancy_cases"),
        _Line("the same, by diameter alone", "malignancy_auroc_of_diameter", "malignancy_cases"),
        _Line(
            "specificity for marked non-nodules at 0.95 sensitivity",
            "specificity_at_95_sensitivity",
            "hard_negatives",
        ),
    ),
}
_NAMES = {
    "phantom": "Overread chest phantoms",
    "ct-scans": "real CT with known lesions",
    "ct-scans-inserted": "real CT, phantom nodules drawn in",
    "lidc-slices": "LIDC-IDRI slice crops",
}


def card_metrics(figures: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """What one evaluation says, as entries of ``metrics`` by network.

    Raises:
        BrokenDataError: it is not an evaluation of ``lung-nodules``, or one of another version.
    """
    layout = str(figures.get("layout"))
    if figures.get("task") != "lung-nodules" or layout not in _NAMES:
        raise BrokenDataError(
            "this is no evaluation of lung-nodules; write one with overread evaluate --json"
        )
    return {
        model: [_metric(figures, line, layout) for line in lines[layout]]
        for model, lines in ((DETECTOR, _BOTH), (CHARACTERISER, _CLOSE))
    }


def _metric(figures: Mapping[str, Any], line: _Line, layout: str) -> dict[str, Any]:
    if not isinstance(figures.get(line.figure), int | float):
        raise BrokenDataError(f"the evaluation on {layout} says nothing of {line.figure}; run it again")
    limits = figures.get(f"{line.figure}_ci")
    out: dict[str, Any] = {"metric": line.metric, "value": round(float(figures[line.figure]), 4)}
    if limits is not None and None not in limits:
        out["ci"] = [round(float(limit), 4) for limit in limits]
    return out | {
        "data_set": _NAMES[layout],
        "split": str(figures["split"]),
        "cases": int(figures[line.cases]),
        "trained_on": "phantom and real",
    }


def write_figures(root: Path, evaluations: Iterable[Mapping[str, Any]]) -> list[Path]:
    """Put evaluations into the cards in the model repository ``root``; returns the files written."""
    written = []
    found = [card_metrics(figures) for figures in evaluations]
    for model in (DETECTOR, CHARACTERISER):
        path = root / model / "model.yaml"
        card = yaml.safe_load(path.read_text(encoding="utf-8"))
        new = [metric for metrics in found for metric in metrics[model]]
        measured = {(m["data_set"], m["split"]) for m in new}
        kept = [m for m in card["metrics"] if (m["data_set"], m["split"]) not in measured]
        card["metrics"] = [*kept, *new]
        ModelCard.model_validate(card)
        path.write_text(
            yaml.safe_dump(card, sort_keys=False, allow_unicode=True, width=110), encoding="utf-8"
        )
        written.append(path)
    return [*written, *sync(Catalogue(root))]


def main(arguments: Sequence[str]) -> int:
    if not arguments:
        print(__doc__, file=sys.stderr)
        return 2
    files = [json.loads(Path(name).read_text(encoding="utf-8")) for name in arguments]
    for path in write_figures(Catalogue().root, files):
        print(f"{path} is written.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
