"""The forecaster answers as it was made to, better than its baselines, and only where it may."""

import math
import shutil

import pytest

from inference.catalogue import Catalogue
from inference.engine.embedded import EmbeddedEngine
from inference.growth.forecast import (
    MODEL,
    MOST_POINTS,
    Point,
    features,
    forecast,
    in_words,
    logit_linear,
    one_a_day,
    probability,
)
from inference.parity import check
from training.evaluate.forecast import evaluate_simulated

CATALOGUE = Catalogue()


@pytest.fixture(scope="module")
def engine():
    return EmbeddedEngine(CATALOGUE, threads=1)


def _doubling(every: float, days: list[float]) -> list[Point]:
    return [Point(day, 300 * 2 ** (day / every)) for day in days]


def _suspected(*suspicions: float | None) -> list[Point]:
    """Of one size, every 120 days."""
    return [Point(120.0 * k, 500.0, malignancy=said) for k, said in enumerate(suspicions)]


def test_it_answers_as_when_it_was_made(engine):
    rows = check(CATALOGUE.find(MODEL), engine)
    assert [row.tensor for row in rows] == ["log_change", "course", "malignancy_change"]
    assert all(row.passed for row in rows)


def test_steady_growth_is_read_ahead_with_an_interval(engine):
    ahead = forecast(_doubling(180, [0, 180, 360, 540]), engine, CATALOGUE)
    assert ahead["course"] == "growing"
    assert ahead["last_value_mm3"] == pytest.approx(2400)
    assert ahead["log_linear_mm3"] == pytest.approx(4800, rel=1e-6)
    assert ahead["low_mm3"] < ahead["volume_mm3"] < ahead["high_mm3"]
    assert 3000 < ahead["volume_mm3"] < 7000
    assert [row[0] for row in ahead["curve"]] == [90, 180, 365]


def test_what_stays_and_what_shrinks_is_told_apart(engine):
    assert forecast([Point(d, 500) for d in (0, 200, 400, 600)], engine, CATALOGUE)["course"] == "stable"
    assert forecast(_doubling(-150, [0, 150, 300, 450]), engine, CATALOGUE)["course"] == "shrinking"


def test_two_dates_are_not_enough(engine):
    two = _doubling(100, [0, 100])
    assert forecast(two, engine, CATALOGUE) is None
    assert forecast([*two, Point(100, 700)], engine, CATALOGUE) is None
    assert forecast([*two, Point(200, 0.0)], engine, CATALOGUE) is None


def test_a_catalogue_without_the_model_gives_no_forecast(engine, tmp_path):
    assert forecast(_doubling(100, [0, 100, 200]), engine, Catalogue(tmp_path)) is None


@pytest.mark.parametrize(("split", "within"), [("held-out", 0.85), ("shifted", 0.92)])
def test_it_beats_its_baselines_on_lesions_it_never_saw(split, within):
    told = evaluate_simulated(None, split, None, CATALOGUE, lesions=400)
    assert told["mae_ratio_to_log_linear"] < within
    assert told["mae_ratio_to_last_value"] < within
    assert told["course_accuracy"] > told["course_accuracy_rule"]
    assert told["malignancy_mae_ratio_to_last_value"] < 1
    assert 0.75 < told["inside_90_percent"] < 0.97
    assert 0.75 < told["malignancy_inside_90_percent"] < 0.97


def test_a_suspicion_that_stays_is_forecast_to_stay(engine):
    ahead = forecast(_suspected(0.4, 0.4, 0.4, 0.4), engine, CATALOGUE)["malignancy"]
    assert 0.3 < ahead["probability"] < 0.5
    assert ahead["low"] < ahead["probability"] < ahead["high"]
    assert (ahead["last_value"], ahead["logit_linear"]) == pytest.approx((0.4, 0.4))
    assert ahead["points"] == 4
    assert [row[0] for row in ahead["curve"]] == [90, 180, 365]


def test_one_suspicion_apart_from_all_others_is_not_believed(engine):
    high, low = (
        forecast(_suspected(*said), engine, CATALOGUE)["malignancy"]
        for said in ((0.3, 0.3, 0.3, 0.3, 0.6), (0.6, 0.6, 0.6, 0.6, 0.3))
    )
    assert high["probability"] < 0.55
    assert low["probability"] > 0.35


def test_suspicions_of_growing_lesions_are_forecast_higher_than_of_those_that_stay(engine):
    days = [0, 120, 240, 360]
    grows, stays = (
        [Point(day, 300 * 2 ** (day / every), malignancy=0.4) for day in days] for every in (90, 1e9)
    )
    ahead = [forecast(points, engine, CATALOGUE)["malignancy"]["probability"] for points in (grows, stays)]
    assert ahead[0] > ahead[1]


def test_fewer_than_three_suspicions_give_none_and_leave_the_volume(engine):
    for said in ((None, None, None), (None, 0.4, 0.5)):
        ahead = forecast(_suspected(*said), engine, CATALOGUE)
        assert ahead["malignancy"] is None
        assert ahead["volume_mm3"] > 0
    assert forecast(_suspected(0.4, 0.5, None, 0.5), engine, CATALOGUE)["malignancy"]["points"] == 3


def test_in_words_it_is_no_measurement_with_a_suspicion_or_without(engine):
    said = in_words(forecast(_suspected(0.4, 0.4, 0.4), engine, CATALOGUE))
    assert said.startswith("Forecast from 3 dates, not measured: in 180 days ")
    assert "90 % interval" in said.split("suspicion of malignancy")[1]
    before = forecast(_suspected(None, None, None), engine, CATALOGUE)
    del before["malignancy"]
    assert "suspicion" not in in_words(before)


def test_a_line_through_logits_is_read_ahead_and_held():
    rises = [Point(d, 100.0, malignancy=float(probability(-1 + d / 100))) for d in (0, 100, 200)]
    assert logit_linear(rises, 100) == pytest.approx(2)
    assert probability(logit_linear(rises, 10_000)) == pytest.approx(0.99)
    assert logit_linear([*rises, Point(300, 100.0)], 100) == pytest.approx(3)


def test_features_are_relative_to_the_last_point_and_leave_earlier_rows_empty():
    rows = features(_doubling(365, [0, 365, 730]))
    assert rows.shape == (MOST_POINTS, 8)
    assert not rows[:-3].any()
    assert rows[-3:, 0].tolist() == [1, 1, 1]
    assert rows[-3:, 1] == pytest.approx([-2 * math.log(2), -math.log(2), 0])
    assert rows[-3:, 2].tolist() == [2, 1, 0]
    assert not rows[:, 5:].any()


def test_a_point_without_a_suspicion_is_flagged():
    rows = features(_suspected(0.5, None, 0.8, None))
    assert rows[-4:, 5].tolist() == [1, 0, 1, 0]
    assert rows[-4:, 6] == pytest.approx([-math.log(4), 0, 0, 0])
    assert rows[-4:, 7] == pytest.approx([math.log(4)] * 4)


def test_of_one_day_the_last_measurement_counts():
    kept = one_a_day([Point(5, 2.0), Point(0, 1.0), Point(5, 3.0)])
    assert [(p.days, p.volume_mm3) for p in kept] == [(0, 1.0), (5, 3.0)]


def test_a_forecaster_of_other_features_is_passed_over(tmp_path):
    folder = tmp_path / MODEL
    shutil.copytree(CATALOGUE.root / MODEL, folder)
    shutil.copy(CATALOGUE.root / "model.schema.json", tmp_path)
    card = folder / "model.yaml"
    text = card.read_text()
    assert text.count("- 8\n    - 8\n") == 3 and text.count("- 8\n  - 8\n") == 1
    card.write_text(text.replace("- 8\n    - 8\n", "- 8\n    - 5\n").replace("- 8\n  - 8\n", "- 8\n  - 5\n"))
    assert forecast(_doubling(180, [0, 180, 360, 540]), None, Catalogue(tmp_path)) is None
