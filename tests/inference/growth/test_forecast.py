"""The forecaster answers as it was made to, better than its baselines, and only where it may."""

import math

import numpy as np
import pytest

from inference.catalogue import Catalogue
from inference.engine.embedded import EmbeddedEngine
from inference.growth.forecast import MODEL, MOST_POINTS, Point, features, forecast, log_linear, one_a_day
from inference.parity import check
from training.growth.series import draw_series, tabulate

CATALOGUE = Catalogue()


@pytest.fixture(scope="module")
def engine():
    return EmbeddedEngine(CATALOGUE, threads=1)


def _doubling(every: float, days: list[float]) -> list[Point]:
    return [Point(day, 300 * 2 ** (day / every)) for day in days]


def test_it_answers_as_when_it_was_made(engine):
    rows = check(CATALOGUE.find(MODEL), engine)
    assert [row.tensor for row in rows] == ["log_change", "course"]
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


def test_it_beats_both_baselines_on_series_it_never_saw(engine):
    rng = np.random.default_rng(99)
    series = [draw_series(rng) for _ in range(600)]
    table = tabulate(series)
    outputs = engine.infer(MODEL, {"history": table.history, "horizon": table.horizon})
    wrong = np.abs(outputs["log_change"][:, 1] - table.log_change).mean()
    fitted = [math.log(log_linear(s.points, s.horizon_days) / s.points[-1].volume_mm3) for s in series]
    assert wrong < 0.85 * np.abs(np.array(fitted) - table.log_change).mean()
    assert wrong < 0.85 * np.abs(table.log_change).mean()
    inside = (table.log_change >= outputs["log_change"][:, 0]) & (
        table.log_change <= outputs["log_change"][:, 2]
    )
    assert 0.85 < inside.mean() < 0.95


def test_features_are_relative_to_the_last_point_and_leave_earlier_rows_empty():
    rows = features(_doubling(365, [0, 365, 730]))
    assert rows.shape == (MOST_POINTS, 5)
    assert not rows[:-3].any()
    assert rows[-3:, 0].tolist() == [1, 1, 1]
    assert rows[-3:, 1] == pytest.approx([-2 * math.log(2), -math.log(2), 0])
    assert rows[-3:, 2].tolist() == [2, 1, 0]


def test_of_one_day_the_last_measurement_counts():
    kept = one_a_day([Point(5, 2.0), Point(0, 1.0), Point(5, 3.0)])
    assert [(p.days, p.volume_mm3) for p in kept] == [(0, 1.0), (5, 3.0)]
