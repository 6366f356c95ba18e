"""Puts the figures of evaluations into the cards of the networks they measured.

``python -m training.figures FILE.json…`` takes what ``overread evaluate --json`` wrote for the shipped
weights. Figures of the same data and split are replaced, others stay; the tables of the READMEs follow.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from inference.card import ModelCard
from inference.catalogue import Catalogue
from inference.model_repository import sync
from training.ct_lesions.figures import CT_LESIONS
from training.errors import BrokenDataError
from training.figure_table import FigureTable, Line
from training.growth.figures import GROWTH
from training.lung_nodules.figures import LUNG_NODULES
from training.polyps.figures import POLYPS

TABLES: Mapping[str, FigureTable] = {
    "ct-lesions": CT_LESIONS,
    "growth": GROWTH,
    "lung-nodules": LUNG_NODULES,
    "polyps": POLYPS,
}


def write_figures(root: Path, evaluations: Iterable[Mapping[str, Any]]) -> list[Path]:
    """Put evaluations into the cards in the model repository ``root``; returns the files written.

    Raises:
        BrokenDataError: one is not an evaluation whose figures belong in a card, or is of other models or
            another version.
    """
    new: dict[str, list[dict[str, Any]]] = {}
    for figures in evaluations:
        for model, metrics in card_metrics(figures).items():
            new.setdefault(model, []).extend(metrics)
    written = []
    for model, metrics in new.items():
        path = root / model / "model.yaml"
        card = yaml.safe_load(path.read_text(encoding="utf-8"))
        measured = {(m["data_set"], m["split"]) for m in metrics}
        kept = [m for m in card["metrics"] if (m["data_set"], m["split"]) not in measured]
        learned_from = " and ".join(sorted({data["kind"] for data in card["training_data"]}))
        card["metrics"] = [*kept, *({**m, "trained_on": learned_from} for m in metrics)]
        ModelCard.model_validate(card)
        text = yaml.safe_dump(card, sort_keys=False, allow_unicode=True, width=110)
        path.write_text(text, encoding="utf-8")
        written.append(path)
    return [*written, *sync(Catalogue(root))]


def card_metrics(figures: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """What one evaluation says, as entries of ``metrics`` by network, but for what the network learned from.

    Raises:
        BrokenDataError: as ``write_figures``.
    """
    task, layout = str(figures.get("task")), str(figures.get("layout"))
    table = TABLES.get(task)
    if table is None or layout not in table.data_sets:
        raise BrokenDataError(
            "this is no evaluation that belongs in a card; write one of "
            f"{', '.join(sorted(TABLES))} with overread evaluate --json"
        )
    if "models" in figures:
        raise BrokenDataError(
            f"this is an evaluation of the models in {figures['models']}, not of the shipped ones"
        )
    return {
        model: [_metric(figures, line, table.data_sets[layout]) for line in layouts[layout]]
        for model, layouts in table.lines.items()
        if layouts.get(layout)
    }


def _metric(figures: Mapping[str, Any], line: Line, data_set: str) -> dict[str, Any]:
    for name, kind in ((line.figure, int | float), ("split", str), (line.cases, int)):
        if not isinstance(figures.get(name), kind):
            raise BrokenDataError(f"the evaluation on {data_set} says nothing of {name}; run it again")
    limits = figures.get(f"{line.figure}_ci")
    out: dict[str, Any] = {"metric": line.metric, "value": round(float(figures[line.figure]), 4)}
    if limits is not None and None not in limits:
        out["ci"] = [round(float(limit), 4) for limit in limits]
    return out | {"data_set": data_set, "split": figures["split"], "cases": figures[line.cases]}


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
