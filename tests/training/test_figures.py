"""What evaluations say, and how it comes into the cards."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from inference.catalogue import Catalogue
from inference.model_repository import stale
from inference.readers.polyps import POLYPS
from training.errors import BrokenDataError
from training.evaluate.lung_nodules.phantoms import CaseRead, Found, Truth, figures
from training.figures import write_figures
from training.lung_nodules.cards import CHARACTERISER, DETECTOR
from training.metrics.froc import Mark, Nodule

CASES = 40


def cases() -> list[CaseRead]:
    """Each with a found 10 mm nodule, a missed 4 mm one, and a false mark surer than neither."""
    out = []
    for number in range(CASES):
        scan, malignant = str(number), number % 2 == 0
        large, small = Nodule(scan, (0, 0, 0), 10), Nodule(scan, (50, 0, 0), 4)
        found = Found(0.9, 11.0, 0.8, 0.7 if malignant else 0.6, "solid")
        truths = (Truth(large, malignant, "solid", found), Truth(small, malignant, "solid", None))
        marks = (Mark(scan, (1, 0, 0), 0.9), Mark(scan, (0, 90, 0), 0.3))
        out.append(CaseRead(scan, truths, marks, ()))
    return out


def test_figures_count_what_was_found_and_what_was_not() -> None:
    found = figures(cases(), 0.5)
    assert (found["nodules"], found["nodules_6mm"], found["matched"]) == (2 * CASES, CASES, CASES)
    assert found["sensitivity_at_1_fp_6mm"] == 1
    assert found["cpm"] == pytest.approx(0.5)
    assert (found["reported_sensitivity_6mm"], found["reported_false_per_scan"]) == (1, 0)
    assert figures(cases(), 0.2)["reported_false_per_scan"] == 1
    assert found["dice"] == pytest.approx(0.8)
    assert found["diameter_error"] == pytest.approx(0.1)
    assert (found["malignancy_auroc"], found["malignancy_auroc_of_diameter"]) == (1, 0.5)


def test_every_figure_lies_within_its_limits() -> None:
    found = figures(cases(), 0.5)
    for name, (low, high) in ((k[:-3], v) for k, v in found.items() if k.endswith("_ci")):
        assert low <= found[name] + 1e-9
        assert found[name] <= high + 1e-9, name


def test_a_new_evaluation_replaces_that_of_the_same_data_alone(tmp_path: Path) -> None:
    root = tmp_path / "models"
    for name in (DETECTOR, CHARACTERISER):
        shutil.copytree(Catalogue().root / name, root / name)
        page = root / name / "model.yaml"
        lines = page.read_text()
        page.write_text(
            lines[: lines.index("metrics:")] + "metrics: []\n" + lines[lines.index("intended_use") :]
        )
    told = {"task": "lung-nodules", "layout": "phantom", "scans": CASES, **figures(cases(), 0.5)}
    write_figures(root, [{**told, "split": "held-out"}, {**told, "split": "shifted"}])
    write_figures(root, [{**told, "split": "shifted", "cpm": 0.25}])
    catalogue = Catalogue(root)
    cpm = [m for m in catalogue.find(DETECTOR).card.metrics if m.metric.startswith("CPM")]
    assert [(m.split, m.value, m.cases) for m in cpm] == [
        ("held-out", pytest.approx(0.5), 2 * CASES),
        ("shifted", 0.25, 2 * CASES),
    ]
    assert [m.value for m in catalogue.find(CHARACTERISER).card.metrics if m.metric.startswith("Dice")] == [
        0.8,
        0.8,
    ]
    assert not [path for path in stale(catalogue) if path.parent.parent == root]


def test_what_is_no_evaluation_of_the_reader_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BrokenDataError, match="no evaluation that belongs in a card"):
        write_figures(tmp_path, [{"task": "chest-xray", "layout": "nih"}])
    with pytest.raises(BrokenDataError, match="says nothing of cpm; run it again"):
        write_figures(tmp_path, [{"task": "lung-nodules", "layout": "phantom", "cpm": np.array([1])}])
    with pytest.raises(BrokenDataError, match="of the models in /a/run/models, not of the shipped ones"):
        write_figures(tmp_path, [{"task": "polyps", "layout": "phantom", "models": "/a/run/models"}])


@pytest.mark.parametrize("left_out", ["mean_dice", "split", "images"])
def test_an_evaluation_that_leaves_something_out_is_refused(tmp_path: Path, left_out: str) -> None:
    told = {"task": "polyps", "layout": "kvasir-seg", "split": "test", "images": 100}
    told |= {"mean_dice": 0.5, "mean_iou": 0.4}
    with pytest.raises(BrokenDataError, match=f"on Kvasir-SEG says nothing of {left_out}; run it again"):
        write_figures(tmp_path, [{name: value for name, value in told.items() if name != left_out}])


def test_a_card_says_what_the_network_it_measures_learned_from(tmp_path: Path) -> None:
    root = tmp_path / "models"
    shutil.copytree(Catalogue().root / POLYPS, root / POLYPS)
    told = {"task": "polyps", "layout": "kvasir-seg", "split": "test", "images": 100}
    write_figures(root, [{**told, "mean_dice": 0.5, "mean_iou": 0.4}])
    card = Catalogue(root).find(POLYPS).card
    measured = [m for m in card.metrics if m.data_set == "Kvasir-SEG"]
    assert [(m.value, m.cases) for m in measured] == [(0.5, 100), (0.4, 100)]
    assert {m.trained_on for m in measured} == {card.training_data[0].kind}
