"""Whether a difference is a change, and how fast it goes."""

from dataclasses import replace

import pytest

from inference.growth.judge import (
    Measurement,
    doubling_time_days,
    judge,
    volume_change_percent,
)

TEN_MM = Measurement(volume_mm3=523.6, long_axis_mm=10.5, short_axis_mm=9.5, slice_mm=1.0, mean_hu=20.0)


def _times(factor: float, **other: object) -> Measurement:
    return replace(TEN_MM, volume_mm3=TEN_MM.volume_mm3 * factor, **other)


@pytest.mark.parametrize(
    ("factor", "category"),
    [
        (1.0, "stable"),
        (1.24, "stable"),
        (1.40, "stable"),
        (1.60, "increased"),
        (2.42, "increased"),
        (0.80, "stable"),
        (0.55, "decreased"),
    ],
)
def test_a_change_within_repeatability_is_no_change(factor, category):
    judged = judge(TEN_MM, _times(factor), days=182)
    assert judged.category == category
    assert judged.significant == (category != "stable")
    assert judged.volume_change_percent == pytest.approx(100 * (factor - 1))
    assert judged.significant == (abs(judged.volume_change_percent) >= judged.limit_percent)


def test_the_same_difference_on_thick_slices_is_not_significant():
    assert judge(TEN_MM, _times(1.6), days=182).significant
    assert not judge(replace(TEN_MM, slice_mm=5.0), _times(1.6, slice_mm=5.0), days=182).significant


def test_doubling_time_is_given_for_real_growth_over_time_enough():
    assert judge(TEN_MM, _times(2.0), days=182).doubling_time_days == pytest.approx(182)
    assert judge(TEN_MM, _times(2.42), days=182).doubling_time_days == pytest.approx(142.7, abs=0.1)
    assert judge(TEN_MM, _times(2.0), days=90).doubling_time_days == pytest.approx(90)
    assert judge(TEN_MM, _times(2.0), days=89).doubling_time_days is None
    assert judge(TEN_MM, _times(1.2), days=365).doubling_time_days is None
    assert judge(TEN_MM, _times(0.4), days=365).doubling_time_days is None


def test_density_and_axes_are_compared_too():
    judged = judge(TEN_MM, _times(1.0, mean_hu=70.0, long_axis_mm=12.0, short_axis_mm=9.0), days=30)
    assert judged.mean_hu_change == 50
    assert judged.long_axis_change_mm == pytest.approx(1.5)
    assert judged.short_axis_change_mm == pytest.approx(-0.5)
    assert judge(TEN_MM, _times(1.0, mean_hu=None), days=30).mean_hu_change is None


@pytest.mark.parametrize(
    ("prior", "current", "days", "expected"),
    [
        (100, 200, 100, 100),
        (100, 400, 100, 50),
        (200, 100, 100, -100),
        (100, 100, 100, None),
        (100, 200, 0, None),
    ],
)
def test_doubling_time(prior, current, days, expected):
    assert doubling_time_days(prior, current, days) == (None if expected is None else pytest.approx(expected))


def test_a_diameter_a_quarter_larger_is_a_volume_doubled():
    assert volume_change_percent(10**3, 12.6**3) == pytest.approx(100, abs=0.1)


def test_no_volume_no_change():
    with pytest.raises(ValueError, match="above 0"):
        judge(TEN_MM, _times(0.0), days=10)
