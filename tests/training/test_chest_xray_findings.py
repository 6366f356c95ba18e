"""Findings of chest radiographs: what is learned from, and classes that the data say too little of."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inference.catalogue import SHIPPED_MODELS, Catalogue
from inference.readers.chest_xray import FINDINGS
from inference.readers.radiograph import Floats
from tests.training.datasets.pictures import picture, text
from training.chest_xray import findings, recipe
from training.chest_xray.cards import Data, LearnedFrom, findings_card
from training.chest_xray.cnn import Parted, parted
from training.chest_xray.findings import FOLDS, crossed, figures, fit_findings, to_learn_from
from training.chest_xray.recipe import Plan, train
from training.datasets.case import Case, CaseImage
from training.datasets.chest_labels import CLASSES
from training.datasets.splits import fold_of, read_splits, split_of
from training.errors import BrokenDataError
from training.evaluate import chest_xray as evaluate


def cases_of(truth: Floats) -> list[Case]:
    """Radiographs of labels (radiographs, classes), two of each patient."""
    return [
        Case(
            f"{k}",
            f"p{k // 2}",
            lambda: CaseImage(np.zeros((2, 2)), "grey"),
            labels=dict(zip(CLASSES, map(float, row), strict=True)),
            notes={"view": "PA"},
        )
        for k, row in enumerate(truth)
    ]


@pytest.fixture
def labels() -> Floats:
    return (np.random.default_rng(0).random((60, len(CLASSES))) < 0.4).astype(np.float32)


def nih14(folder: Path, labels: Floats) -> Path:
    """The release in small, every third picture of its test set."""
    rows, lists = [], {"train_val_list.txt": [], "test_list.txt": []}
    titles = [*(name.capitalize() for name in CLASSES[:-1]), "No Finding"]
    for k, row in enumerate(labels):
        name, said = f"{k:08d}_000.png", "|".join(t for t, there in zip(titles, row, strict=True) if there)
        rows.append(f"{name},{said or 'Hernia'},{k // 2},PA")
        lists["test_list.txt" if k % 3 == 2 else "train_val_list.txt"].append(name)
        picture(folder / "images" / name)
    text(folder / "Data_Entry_2017.csv", "Image Index,Finding Labels,Patient ID,View Position", *rows)
    for name, held in lists.items():
        text(folder / name, *held)
    return folder


def test_the_test_set_of_a_release_is_not_learned_from(
    tmp_path: Path, labels: Floats, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str | None] = []

    splits = tmp_path / "out" / "splits.json"

    def fitted(radiographs: Parted, *_: Any) -> None:
        assert not splits.exists(), "a run that is refused here would have written what no model learned from"
        seen.extend(case.split for case in (*radiographs.learned, *radiographs.held))

    stand_ins = {
        "train_lungs": lambda *_, **__: Network(),
        "_train_heart": lambda *_: None,
        "_train_cnn": fitted,
    }
    for name, stands_for in stand_ins.items():
        monkeypatch.setattr(recipe, name, stands_for)
    monkeypatch.setattr(recipe, "phantom_cases", lambda *_: [])
    for name in ("export_picture_network", "sync", "Catalogue"):
        monkeypatch.setattr(recipe, name, lambda *_: None)
    monkeypatch.setattr(recipe, "SegmenterForService", lambda network: network)
    train("nih14", [nih14(tmp_path / "n", labels)], None, tmp_path / "out", Plan())
    assert seen == ["train"] * 40
    assert {"train"} <= {*read_splits(splits).values()} <= {"train", "validation"}


def test_fixed_filters_are_fitted_on_films_that_the_network_beside_them_has_not_seen(
    tmp_path: Path, labels: Floats
) -> None:
    fixed = Plan(architecture="scattering")
    with pytest.raises(BrokenDataError, match="fitted on real radiographs"):
        train("phantom", (), None, tmp_path / "out", fixed)
    made = tmp_path / "run" / "models"
    shutil.copytree(SHIPPED_MODELS / FINDINGS, made / FINDINGS)
    shutil.copy(SHIPPED_MODELS / "model.schema.json", made)
    with pytest.raises(BrokenDataError, match="has learned from films"):
        recipe._check_fixed(cases_of(labels), tmp_path / "run")
    recipe._check_fixed(cases_of(labels), None)
    assert not (tmp_path / "out").exists()


def test_the_card_says_that_the_test_set_is_not_among_what_was_learned_from() -> None:
    cards = [
        findings_card(
            3, {}, (), Data(LearnedFrom(layout, ("a",), 9, 9), LearnedFrom("lung-masks", ("m",), 1, 1))
        )
        for layout in ("nih14", "nih")
    ]
    said = [card["training_data"][0]["description"] for card in cards]
    assert [text.endswith("the release's split train") for text in said] == [True, False]
    assert said[1].endswith("but for the patients of the split test")


def test_what_evaluate_measures_of_a_folder_without_splits_was_not_learned_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cases = cases_of(np.zeros((80, len(CLASSES)), np.float32))
    measured = {}
    monkeypatch.setattr(evaluate, "read_radiographs", lambda *_: cases)
    monkeypatch.setattr(evaluate, "labelled_in", lambda *_: [Path()])
    monkeypatch.setattr(evaluate, "_read", lambda case, *_: case.id)
    monkeypatch.setattr(
        evaluate, "_told", lambda cases, readings, *_: measured.update({split: readings}) or {}
    )
    for split in ("train", "validation", "test"):
        evaluate.evaluate_labels("nih", Path(), split, None, Catalogue())
    found = parted(cases)
    assert [case.id for case in found.learned] == measured["train"]
    assert [case.id for case in found.held] == measured["validation"]
    assert len(measured["test"]) > 4


def test_nine_of_ten_patients_that_a_release_leaves_for_training_are_learned_from() -> None:
    cases = [replace(case, split="train") for case in cases_of(np.zeros((800, len(CLASSES)), np.float32))]
    found = parted(cases)
    assert len(found.learned) + len(found.held) == 800
    assert 40 < len(found.held) < 120
    assert not {case.patient for case in found.learned} & {case.patient for case in found.held}


def untouched(*_: Any, **__: Any) -> None:
    raise AssertionError("something was drawn or learned")


@pytest.fixture
def learns_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("phantom_cases", "train_lungs"):
        monkeypatch.setattr(recipe, name, untouched)


def test_a_site_whose_patients_leave_none_to_hold_out_is_told_before_anything_is_learned(
    tmp_path: Path, learns_nothing: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = np.tile(np.array([[0.0], [1.0]], np.float32), (20, len(CLASSES)))
    of_train = [case for case in cases_of(truth) if split_of(case.patient) == "train"]
    of_others = [case for case in cases_of(truth) if split_of(case.patient) == "validation"]
    one = next(case for case in of_others)
    for cases, said in (
        (of_train, "held out to choose the network on"),
        (of_others, "learned from"),
        ([*of_train, one], "alike in every class"),
    ):
        monkeypatch.setattr(recipe, "to_learn_from", lambda *_, cases=cases: cases)
        with pytest.raises(BrokenDataError, match=said):
            train("nih", [tmp_path], tmp_path, tmp_path / "out", Plan())


@pytest.mark.skipif(FINDINGS not in Catalogue().names, reason="no weights of chest-xray")
def test_weights_that_cannot_be_gone_on_from_are_told_before_anything_is_learned(
    tmp_path: Path, learns_nothing: None
) -> None:
    with pytest.raises(
        BrokenDataError, match=r"filters are fixed.*--out of an earlier run.*architecture cnn"
    ):
        train("phantom", (), None, tmp_path, Plan(start=Catalogue().root))


class Network:
    def to(self, device: str) -> Network:
        return self


def test_a_class_without_a_patient_is_named_before_anything_is_learned(
    tmp_path: Path, labels: Floats
) -> None:
    labels[:, CLASSES.index("edema")] = 0
    with pytest.raises(BrokenDataError, match="0 radiographs with edema, of 0 patients: too few to learn"):
        to_learn_from("nih14", [nih14(tmp_path / "none", labels)])
    labels[:2, CLASSES.index("edema")] = 1
    with pytest.raises(BrokenDataError, match="2 radiographs with edema, of 1 patients: too few to learn"):
        to_learn_from("nih14", [nih14(tmp_path / "one", labels)])


def test_what_cannot_be_measured_of_a_class_is_no_number(
    labels: Floats, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(findings, "STRENGTHS", (1.0,))
    features = np.random.default_rng(1).normal(size=(60, 20)).astype(np.float32)
    edema, effusion = CLASSES.index("edema"), CLASSES.index("effusion")
    labels[:, edema] = 0
    labels[:, effusion] = 0
    labels[:2, effusion] = 1
    logits = crossed(cases_of(labels), features)
    assert np.isnan(logits[:, edema]).all()
    of_their_fold = [fold_of(f"p{k // 2}", FOLDS) == fold_of("p0", FOLDS) for k in range(60)]
    assert np.isnan(logits[:, effusion]).tolist() == of_their_fold
    others = [k for k in range(len(CLASSES)) if k not in (edema, effusion)]
    assert np.isfinite(logits[:, others]).all()
    found = figures(cases_of(labels), logits)
    assert np.isnan([found["edema"]["auroc"], found["effusion"]["auroc"]]).all()
    assert found["effusion"]["positives"] == 0
    assert found["mean"]["auroc"] == pytest.approx(np.mean([found[CLASSES[k]]["auroc"] for k in others]))


def test_classes_that_cannot_be_measured_are_not_drawn(tmp_path: Path, labels: Floats) -> None:
    logits = labels + np.random.default_rng(1).normal(size=labels.shape).astype(np.float32)
    logits[::2, 0] = logits[:, 1] = np.nan
    evaluate._draw(labels, logits, tmp_path, "roc.png")
    assert (tmp_path / "roc.png").is_file()


def test_a_class_of_one_patient_is_fitted_all_the_same(labels: Floats) -> None:
    features = np.random.default_rng(1).normal(size=(60, 20)).astype(np.float32)
    labels[:, 0] = 0
    labels[:2, 0] = 1
    fitted = fit_findings(features, labels, np.array([f"p{k // 2}" for k in range(60)]))
    assert np.isfinite(fitted.logits(features)).all()
