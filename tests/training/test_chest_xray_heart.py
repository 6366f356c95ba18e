"""The heart of chest radiographs: what it is learned from, how it is gone on from, and how it is measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from inference.catalogue import Catalogue
from inference.engine.embedded import EmbeddedEngine
from inference.findings import Axis, Mask, Measurement, Model, Reading, Segment
from inference.readers.cardiothoracic import HEART, RATIO
from inference.readers.chest_xray import HEART as MODEL
from inference.readers.radiograph import HEART_SIZE
from training.chest_xray import heart as training_of_heart
from training.chest_xray import outlines, recipe
from training.chest_xray.cards import heart_card
from training.chest_xray.heart import heart_cases, heart_network, train_heart
from training.chest_xray.heart_batches import HeartCase, HeartSource
from training.chest_xray.phantoms import phantom_cases
from training.datasets.case import Case, CaseImage
from training.datasets.radiograph_phantoms import radiograph_cases
from training.errors import BrokenDataError
from training.evaluate.cardiothoracic import agreement, told_of_cardiomegaly
from training.evaluate.chest_xray import _read
from training.loop import BEST, CHECKPOINT, Batch


def box(rows: tuple[int, int], columns: tuple[int, int]) -> np.ndarray:
    mask = np.zeros((200, 200), bool)
    mask[rows[0] : rows[1], columns[0] : columns[1]] = True
    return mask


RIGHT, LEFT, TRUE = box((20, 160), (15, 85)), box((20, 160), (115, 185)), box((90, 150), (70, 140))


def radiograph(patient: str, view: str = "PA", cardiomegaly: float = 0.0) -> Case:
    """A white heart between two black lungs."""
    pixels = np.where(TRUE, 220, np.where(RIGHT | LEFT, 40, 160)).astype(np.uint8)
    return Case(
        patient,
        patient,
        lambda: CaseImage(pixels, "grey"),
        lambda: {"right lung": RIGHT, "left lung": LEFT, "heart": TRUE},
        labels={"cardiomegaly": cardiomegaly},
        notes={"view": view},
    )


def reading(drawn: np.ndarray | None, ratio: float = 0.0) -> Reading:
    model = Model("m", "1", "ab")
    if drawn is None:
        return Reading("chest-xray", "1", (model,))
    measured = Measurement("r", RATIO, ratio, "{ratio}", "1", (Axis((0.0, 0.0, 0.0), (1.0, 0.0, 0.0)),))
    heart = Segment("Heart", HEART, mask=Mask((0, 0, 0), drawn[None]))
    return Reading("chest-xray", "1", (model,), segments=(heart,), measurements=(measured,))


@pytest.fixture(scope="module")
def learned() -> list[HeartCase]:
    return heart_cases([radiograph("p")])


def test_phantoms_tell_where_their_hearts_are(tmp_path: Path) -> None:
    (case,) = heart_cases(phantom_cases(1, 3, tmp_path))
    assert 0.03 < case.heart.mean() < 0.3
    left, top, right, bottom = case.close
    rows, columns = np.argwhere(case.heart).mean(0)
    assert top < rows < bottom and left < columns < right


def test_the_heart_stays_where_it_is_seen_however_it_is_shown(learned: list[HeartCase]) -> None:
    brighter, sizes = [], []
    source = HeartSource(learned, 1)
    for step in range(4):
        for picture, heart in zip(*(part.numpy()[:, 0] for part in source(step)), strict=True):
            assert picture.shape == heart.shape == (HEART_SIZE, HEART_SIZE)
            inside = heart > 0.5
            sizes.append(inside.mean())
            brighter.append(picture[inside].mean() - picture[~inside].mean())
    assert np.mean(np.array(brighter) > 0.3) > 0.9
    assert np.std(sizes) > 0.01


def test_batches_are_told_by_their_number_alone(learned: list[HeartCase]) -> None:
    one, other = HeartSource(learned, 1), HeartSource(learned, 1)
    one(0)
    assert all((a == b).all() for a, b in zip(one(3), other(3), strict=True))
    assert not (one(3)[0] == one(4)[0]).all()


def test_a_tenth_of_the_phantoms_choose_the_heart_and_are_not_learned_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[HeartSource, Batch | None]] = []

    def trained(_: nn.Module, source: HeartSource, *__: Any, held_out: Batch | None, **___: Any) -> None:
        given.append((source, held_out))

    monkeypatch.setattr(outlines, "train_segmenter", trained)
    train_heart(heart_cases([radiograph(f"p{k}") for k in range(24)]), tmp_path / "many")
    train_heart(heart_cases([radiograph("p")]), tmp_path / "one")
    (many, held_out), (one, none) = given
    assert {case.patient for case in many.cases} == {f"p{k}" for k in range(24)} - {"p1", "p18"}
    assert held_out is not None
    assert [part.shape for part in held_out] == [(2, 1, HEART_SIZE, HEART_SIZE)] * 2
    assert len(one.cases) == 1 and none is None


def test_a_run_that_learned_from_who_is_now_held_out_does_not_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outlines, "train_segmenter", lambda *_, **__: None)
    cases = heart_cases([radiograph(f"p{k}") for k in range(24)])
    with monkeypatch.context() as earlier:
        earlier.setattr(training_of_heart, "parted", lambda cases: (cases, ()))
        train_heart(cases, tmp_path)
        (tmp_path / CHECKPOINT).touch()
        train_heart(cases, tmp_path)
    with pytest.raises(BrokenDataError, match=r"of a run with another data: .*--fresh"):
        train_heart(cases, tmp_path)


def test_a_heart_is_gone_on_from_where_there_is_one(tmp_path: Path) -> None:
    weights = heart_network().state_dict()
    (tmp_path / "run/heart").mkdir(parents=True)
    torch.save(weights, tmp_path / "run/heart" / BEST)
    start = recipe._start_of_heart(tmp_path / "run")
    assert start is not None and all((start[name] == weights[name]).all() for name in weights)
    (tmp_path / "older").mkdir()
    assert recipe._start_of_heart(tmp_path / "older") is None
    assert recipe._start_of_heart(None) is None


def test_the_card_says_that_no_real_heart_was_seen_and_on_which_views_a_ratio_errs() -> None:
    card = heart_card(2, 800, "nih")
    assert card["training_data"][0]["kind"] == "phantom" and card["training_data"][0]["cases"] == 800
    assert card["training_command"] == "overread train chest-xray --data DIR --layout nih"
    told = " ".join(card["limits"])
    assert "no real heart" in told and "AP views" in told and "Not a medical device" in told


def test_hearts_and_their_ratios_are_held_to_what_was_outlined() -> None:
    true = 70 / 170
    cases = [radiograph(f"p{k}") for k in range(4)]
    found = agreement(
        cases,
        [reading(TRUE, true + 0.04), reading(np.roll(TRUE, 35, 1), true - 0.02), reading(None), None],
    )
    assert (found["hearts"], found["no_heart"], found["ratios"]) == (2, 1, 2)
    assert found["dice_heart"] == pytest.approx(0.75)
    assert found["ratio_mean_absolute_error"] == pytest.approx(0.03)
    assert found["ratio_bias"] == pytest.approx(0.01)
    low, high = found["ratio_limits_of_agreement"]
    assert (high - low) / 2 == pytest.approx(1.96 * 0.06 / np.sqrt(2))
    assert agreement(cases[:1], [reading(None)]) == {"hearts": 0, "no_heart": 1}


def test_what_the_ratio_alone_tells_of_cardiomegaly_is_told_by_view() -> None:
    cases = [radiograph(f"p{k}", "AP" if k % 2 else "PA", float(k < 6)) for k in range(14)]
    ratios = [0.6 - 0.01 * k for k in range(12)]
    readings = [*(reading(TRUE, ratio) for ratio in ratios), reading(None), None]
    found = told_of_cardiomegaly(cases, readings)
    assert (found["ratio_measured"], found["ratio_not_measured"]) == (12, 1)
    assert found["auroc_ratio"] == found["auroc_ratio_within_AP"] == found["auroc_ratio_within_PA"] == 1
    assert found["auroc_ratio_within_PA_positives"] == 3
    assert "auroc_ratio" not in told_of_cardiomegaly(cases[6:8], readings[6:8])


@pytest.mark.skipif(MODEL not in Catalogue().names, reason="no weights of chest-xray-heart")
def test_the_reader_draws_a_heart_and_measures_it_but_not_beside_a_white_lung() -> None:
    """A patient of a seed that no training drew, then with the left lung as white as what lies beside it."""
    catalogue = Catalogue()
    engine = EmbeddedEngine(catalogue)
    (case,) = radiograph_cases([70_000])
    found = _read(case, engine, catalogue)
    assert found is not None and [one.code for one in found.measurements] == [RATIO]
    told = agreement([case], [found])
    assert told["dice_heart"] > 0.93 and told["ratio_mean_absolute_error"] < 0.03
    assert case.load_masks is not None
    pixels, left = case.load().pixels.copy(), case.load_masks()["left lung"]
    pixels[left] = np.percentile(pixels, 85) + 0.1 * (pixels[left] - pixels[left].mean())
    white = _read(replace(case, load=lambda: CaseImage(pixels, "grey")), engine, catalogue)
    assert white is None or (not white.measurements and len(white.segments) == 2)
