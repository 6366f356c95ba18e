"""Chest radiographs: what a figure rests on is told, and patients are never on both sides."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from inference.catalogue import Catalogue
from inference.readers.chest_xray import FINDINGS, HEART, LUNGS
from inference.readers.radiograph import Floats
from tests.inference.pictures import chest
from training.chest_xray import cnn, outlines, recipe
from training.chest_xray.cards import Data, LearnedFrom, findings_card, lungs_card
from training.chest_xray.findings import figures, fit_findings, folds_of
from training.chest_xray.lung_batches import BATCH, NO_CHEST, LungCase, LungSource
from training.chest_xray.lungs import (
    SCHEDULE,
    dices,
    lung_masks,
    lungs_on,
    train_lungs,
)
from training.chest_xray.recipe import LUNG_PHANTOMS, VERSION, Plan, calibration, crossed_lungs, train
from training.chest_xray.sources import found_in, labelled_in, outlined_as
from training.datasets.case import Case, CaseImage
from training.datasets.chest_labels import CLASSES
from training.errors import BrokenDataError
from training.evaluate.chest_xray import evaluate_labels, evaluate_lungs
from training.loop import Batch

needs_weights = pytest.mark.skipif(LUNGS not in Catalogue().names, reason="no weights of chest-xray")


def case(number: int, patient: str, view: str, edema: float) -> Case:
    labels = dict.fromkeys(CLASSES, float("nan")) | {"edema": edema, "no_finding": 1 - edema}
    return Case(
        str(number), patient, lambda: CaseImage(np.zeros((2, 2)), "grey"), labels=labels, notes={"view": view}
    )


def test_a_score_that_knows_the_view_alone_is_told_by_the_figures() -> None:
    """Every edema is on an AP view: the view gives an AUROC of 1 and, within a view, nothing."""
    rng = np.random.default_rng(0)
    cases = [
        case(k, f"p{k}", "AP" if k % 3 == 0 else "PA", float(k % 3 == 0 and k % 2 == 0)) for k in range(240)
    ]
    by_view = np.array([[float(c.notes["view"] == "AP")] * len(CLASSES) for c in cases])
    found = figures(cases, by_view + 1e-6 * rng.normal(size=by_view.shape))["edema"]
    assert found["auroc"] > 0.75
    assert found["by_view_alone"] == pytest.approx(found["auroc"], abs=0.06)
    assert found["within_AP"] == pytest.approx(0.5, abs=0.2)
    assert "within_PA" not in found


def test_all_images_of_a_patient_lie_in_one_fold() -> None:
    cases = [case(k, f"p{k % 40}", "PA", 0.0) for k in range(200)]
    folds = folds_of(cases)
    assert set(folds) == set(range(5))
    assert all(
        len({f for c, f in zip(cases, folds, strict=True) if c.patient == f"p{p}"}) == 1 for p in range(40)
    )


def test_open_labels_are_left_out_and_operating_points_are_ordered() -> None:
    rng = np.random.default_rng(1)
    truth = (rng.random((160, len(CLASSES))) < 0.4).astype(np.float32)
    features = np.repeat(truth, 3, 1) + rng.normal(size=(160, 3 * len(CLASSES))).astype(np.float32)
    open_truth = truth.copy()
    open_truth[::7] = np.nan
    patients = np.array([f"p{k // 2}" for k in range(160)])
    fitted = fit_findings(features, open_truth, patients)
    logits = fitted.logits(features)
    assert np.isfinite(logits).all()
    found = calibration(logits, open_truth, "some")
    points = found.points
    calibrated = fitted.rescaled(found.slopes, found.offsets)
    probability = 1 / (1 + np.exp(-calibrated.logits(features)))
    assert probability.mean(0) == pytest.approx(truth.mean(0), abs=0.06)
    for name in CLASSES[:-1]:
        assert points[f"{name} absent"]["threshold"] <= points[name]["threshold"]
    assert "no_finding" not in points


def two_lungs(number: int, patient: str) -> Case:
    """Two dark lungs and, apart from them, dark corners of the picture; a mask of both lungs together."""
    true = np.zeros((300, 240), bool)
    true[60:260, 20:100] = true[60:260, 140:220] = True
    pixels = np.where(true, 40, 200).astype(np.uint8)
    pixels[:30, :30] = pixels[:30, -30:] = 40
    return Case(str(number), patient, lambda: CaseImage(pixels, "grey"), lambda: {"lungs": true})


def test_lungs_are_measured_as_the_reader_draws_them() -> None:
    picture = two_lungs(1, "p")
    drawn = lungs_on(picture, Dark())
    assert drawn.shape == (2, 300, 240)
    assert not drawn[:, :30].any()
    assert min(dices(lung_masks(picture), drawn)) > 0.98


def test_in_folds_every_picture_is_drawn_by_a_network_that_saw_none_of_its_patient(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[set[str]] = []
    beside: list[set[str]] = []

    def trained(
        cases: Sequence[LungCase], *_: Any, phantoms: Sequence[LungCase] = (), **__: Any
    ) -> nn.Module:
        seen.append({case.patient for case in cases})
        beside.append({case.patient for case in phantoms})
        return Dark()

    monkeypatch.setattr(recipe, "train_lungs", trained)
    cases = [two_lungs(k, f"p{k % 12}") for k in range(24)]
    assert (crossed_lungs(cases, tmp_path, Plan(phantoms=2)) > 0.98).all()
    assert beside == [{"phantom-1009", "phantom-1010"}] * 5
    for case, fold in zip(cases, folds_of(cases), strict=True):
        assert case.patient not in seen[fold]
    assert [len(patients) for patients in seen] == [
        12 - len({c.patient for c, k in zip(cases, folds_of(cases), strict=True) if k == fold})
        for fold in range(5)
    ]


def lung_case(patient: str = "p") -> LungCase:
    """Two dark lungs, the right one, which is on the left, larger."""
    masks = np.zeros((2, 64, 64), bool)
    masks[0, 10:56, 8:28] = masks[1, 14:44, 38:56] = True
    return LungCase(patient, np.where(masks.any(0), np.float32(-1), np.float32(1)), masks)


def test_what_is_learned_from_stays_right_however_it_is_shown() -> None:
    chests, larger_on_left, dark = 0, 0, []
    for picture, masks in shown(steps=6):
        if masks.any():
            right, left = masks > 0.5
            assert np.argwhere(right)[:, 1].mean() < np.argwhere(left)[:, 1].mean()
            chests += 1
            larger_on_left += int(right.sum() > left.sum())
            beside = picture[~right & ~left].mean()
            dark += [picture[right].mean() < beside - 0.5, picture[left].mean() < beside - 0.5]
    assert 0.25 < larger_on_left / chests < 0.75  # the others are mirrored
    assert 0.8 < np.mean(dark) < 1  # the others are veiled, and drawn all the same


def test_some_of_what_is_shown_is_no_upright_chest_and_has_no_lungs() -> None:
    steps = 30
    without = [picture for picture, masks in shown(steps) if not masks.any()]
    assert len(without) / (steps * BATCH) == pytest.approx(NO_CHEST, abs=0.04)
    inverted = [picture for picture in without if picture[20:28, 14:22].mean() > picture[56:].mean() + 1]
    assert 0 < len(inverted) < len(without) / 2


def shown(steps: int) -> Iterator[tuple[Floats, Floats]]:
    """Pictures (size, size) and their masks (2, size, size)."""
    source = LungSource([[lung_case()]], 1)
    for step in range(steps):
        for picture, masks in zip(*(part.numpy() for part in source(step)), strict=True):
            yield picture[0], masks


def test_a_tenth_of_the_patients_choose_the_lungs_and_are_not_learned_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[LungSource, Batch | None]] = []

    def trained(_: nn.Module, source: LungSource, *__: Any, held_out: Batch | None, **___: Any) -> None:
        given.append((source, held_out))

    monkeypatch.setattr(outlines, "train_segmenter", trained)
    train_lungs([lung_case(f"p{k % 24}") for k in range(48)], tmp_path / "many")
    train_lungs([lung_case()], tmp_path / "one")
    (many, held_out), (one, none) = given
    (learned,), (alone,) = many.parts, one.parts
    assert {case.patient for case in learned} == {f"p{k}" for k in range(24)} - {"p1", "p18"}
    assert held_out is not None
    assert [part.shape for part in held_out] == [(4, 1, 64, 64), (4, 2, 64, 64)]
    assert len(alone) == 1 and none is None


def test_half_of_what_the_lungs_are_learned_from_are_phantoms_where_there_are_any() -> None:
    film, phantom = lung_case("film"), replace(lung_case("phantom"), masks=np.zeros((2, 64, 64), bool))
    source = LungSource([[film] * 5, [phantom]], 1)
    drawn = np.array([masks.numpy().any((1, 2, 3)) for _, masks in map(source, range(10))])
    assert drawn[:, ::2].mean() > 0.8 and not drawn[:, 1::2].any()


def test_a_run_on_other_radiographs_does_not_go_on_with_this_one(tmp_path: Path) -> None:
    short = replace(SCHEDULE, steps=1)
    train_lungs([lung_case()] * 2, tmp_path, short)
    train_lungs([lung_case()] * 2, tmp_path, short)
    with pytest.raises(BrokenDataError, match="another data"):
        train_lungs([lung_case()] * 3, tmp_path, short)


class Dark(nn.Module):
    """Either lung is what is dark on its side of the picture."""

    def forward(self, picture: Tensor) -> Tensor:
        right = torch.arange(picture.shape[-1]) < picture.shape[-1] // 2
        inside = (torch.arange(picture.shape[-1]) - (picture.shape[-1] - 1) / 2).abs() < 51
        return torch.cat([torch.where(side & inside, -picture, -9.0) for side in (right, ~right)], 1)


def test_masks_of_a_copy_of_another_size_are_compared_on_the_pixels_of_the_picture() -> None:
    drawn = np.zeros((2, 64, 48), bool)
    drawn[0, 8:40, 4:20] = drawn[1, 8:40, 28:44] = True
    assert dices(drawn[:, ::2, ::2], drawn) == (1.0, 1.0, 1.0)
    assert dices(drawn[::-1], drawn) == (1.0, 0.0, 0.0)


def test_a_card_says_what_its_own_network_learned_from() -> None:
    labelled = LearnedFrom("chexpert", ("ward",), 4000, 3100)
    masks = LearnedFrom("lung-masks", ("ours",), 250, 240)
    findings = findings_card(3, {}, (), Data(labelled, masks))
    of_lungs = lungs_card(3, masks, "chexpert")
    assert [(data["name"], data["cases"]) for data in findings["training_data"]] == [
        ("chexpert: ward", 4000),
        ("lung-masks: ours", 250),
    ]
    assert of_lungs["training_data"] == findings["training_data"][1:]
    assert of_lungs["training_command"] == "overread train chest-xray --data DIR --layout chexpert"
    told = " ".join([*findings["limits"], *of_lungs["limits"]])
    assert "Learned from 4000" in told and "Learned from 250" in told
    assert "COVID-19" not in told and "pneumonia" not in told


@pytest.mark.slow
def test_both_networks_are_trained_into_one_repository_that_says_of_what(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_nih(tmp_path / "ward", 40)
    write_masks(tmp_path / "ours", 4)
    brief = replace(SCHEDULE, steps=1)
    plan = Plan(schedule=brief, heart=brief, findings=replace(cnn.SCHEDULE, steps=1), phantoms=3)
    beside: list[int] = []

    def trained(*args: Any, phantoms: Sequence[LungCase], **options: Any) -> nn.Module:
        beside.append(len(phantoms))
        return train_lungs(*args, phantoms=phantoms, **options)

    monkeypatch.setattr(recipe, "train_lungs", trained)
    catalogue = Catalogue(train("nih", [tmp_path / "ward"], tmp_path / "ours", tmp_path / "out", plan))
    assert set(catalogue.names) == {FINDINGS, HEART, LUNGS}
    assert beside == [3]
    learned = {
        name: {data.name: data.cases for data in catalogue.find(name).card.training_data}
        for name in catalogue.names
    }
    assert learned[FINDINGS] == {
        "nih: ward": 34,
        "Overread radiograph phantoms": 3,
        "lung-masks: ours": 4,
    }
    assert learned[LUNGS] == {"lung-masks: ours": 4, "Overread radiograph phantoms": 3}


@needs_weights
def test_the_installed_cards_say_what_the_recipe_would_say_of_them() -> None:
    masks = LearnedFrom("lung-masks", ("cxr_lungmask",), 83, 48)
    would = lungs_card(VERSION, masks, "nih", "scattering", phantoms=LUNG_PHANTOMS)
    said = Catalogue().find(LUNGS).card
    assert (said.version, said.training_command) == (VERSION, would["training_command"])
    assert list(said.limits) == would["limits"]
    assert [data.model_dump(exclude_none=True) for data in said.training_data] == would["training_data"]


def test_labels_and_masks_are_found_side_by_side(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_nih(tmp_path / "a", 1)
    assert labelled_in(tmp_path, "nih") == [tmp_path / "a"] == labelled_in(tmp_path / "a", "nih")
    assert found_in(tmp_path, "nih") == ([tmp_path / "a"], None)
    write_masks(tmp_path / "m", 1)
    assert found_in(tmp_path, "nih") == ([tmp_path / "a"], tmp_path / "m")
    alone, beside = caplog.messages
    assert alone.startswith("lungs are learned from phantoms alone")
    assert beside == f"lungs are learned from {tmp_path / 'm'}, laid out as lung-masks, and from phantoms"
    write_masks(tmp_path / "n", 1)
    with pytest.raises(BrokenDataError, match="lung masks in 2 folders"):
        found_in(tmp_path, "nih")


@pytest.mark.parametrize(
    ("layout", "parts"), [("montgomery", ("CXR_png", "ManualMask")), ("jsrt", ("All247images", "scratch"))]
)
def test_masks_may_be_laid_out_as_released(layout: str, parts: tuple[str, ...], tmp_path: Path) -> None:
    for part in parts:
        (tmp_path / "masks-of-others" / part).mkdir(parents=True)
    write_nih(tmp_path, 1)
    assert found_in(tmp_path, "nih") == ([tmp_path], tmp_path / "masks-of-others")
    assert outlined_as(tmp_path / "masks-of-others") == layout


@needs_weights
def test_the_installed_lungs_are_scored_on_a_folder_of_masks(tmp_path: Path) -> None:
    write_masks(tmp_path, 3)
    found = evaluate_lungs("lung-masks", tmp_path, "", None, Catalogue())
    assert (found["images"], found["refused"]) == (3, 0)
    low, high = found["dice_lungs_ci"]
    assert 0.6 < low <= found["dice_lungs"] <= high <= 1


@needs_weights
def test_radiographs_of_one_patient_are_resampled_as_one(tmp_path: Path) -> None:
    write_masks(tmp_path, 3)
    apart = evaluate_lungs("lung-masks", tmp_path, "", None, Catalogue())
    (tmp_path / "index.csv").write_text("stem,patientid,view\n0,p,PA\n1,p,PA\n2,p,PA\n")
    alike = evaluate_lungs("lung-masks", tmp_path, "", None, Catalogue())
    low, high = apart["dice_lungs_ci"]
    assert low < apart["dice_lungs"] < high
    low, high = alike["dice_lungs_ci"]
    assert low == high and abs(low - apart["dice_lungs"]) < 1e-6


@needs_weights
def test_the_installed_classes_are_scored_on_a_folder_of_labels(tmp_path: Path) -> None:
    write_nih(tmp_path, 12)
    found = evaluate_labels("nih", tmp_path, "installed", None, Catalogue())
    assert (found["images"], found["patients"], found["refused"]) == (12, 6, 0)
    assert 0 <= found["auroc_edema"] <= 1 and found["positives_edema"] == 6
    assert {"sensitivity_edema", "specificity_edema", "ece_edema", "mean_auroc_ci"} <= set(found)
    assert "folds_mean_auroc" not in found


def write_masks(folder: Path, count: int) -> None:
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    rows = ["stem,patientid,view"]
    y, x = np.meshgrid(*[np.linspace(-1, 1, 200)] * 2, indexing="ij")
    lungs = np.zeros((200, 200), bool)
    for side in (-1, 1):
        inside = ((x - side * 0.43) / 0.31) ** 2 + ((y + 0.05) / 0.68) ** 2 < 1
        lungs |= inside & (y < 0.62 - 0.3 * (np.abs(x) - 0.4) ** 2)
    for number in range(count):
        Image.fromarray((chest(200, number) * 255).astype(np.uint8)).save(folder / f"images/{number}.jpg")
        Image.fromarray(lungs.astype(np.uint8) * 255).save(folder / f"masks/{number}.png")
        rows.append(f"{number},p{number},PA")
    (folder / "index.csv").write_text("\n".join(rows) + "\n")


def write_nih(folder: Path, count: int) -> None:
    (folder / "images").mkdir(parents=True)
    rows = [",".join(("file", "patient_id", "view", *CLASSES))]
    for number in range(count):
        Image.fromarray((chest(200, number) * 255).astype(np.uint8)).save(folder / f"images/{number}.png")
        ill = number % 2
        rows.append(
            f"{number}.png,p{number // 2},{'AP' if number % 3 else 'PA'}," + f"{ill}," * 5 + str(1 - ill)
        )
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
