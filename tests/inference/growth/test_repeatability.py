"""How much a volume may differ without a change."""

import pytest

from inference.growth.repeatability import (
    Repeats,
    change_limit_mm3,
    change_limit_percent,
    sphere_diameter_mm,
    volume_cv,
)


@pytest.mark.parametrize(
    ("diameter_mm", "published"),
    [(6, 0.29), (7, 0.23), (8, 0.19), (9, 0.16), (10, 0.14), (11, 0.12), (12, 0.11)],
)
def test_small_nodules_repeat_as_the_qiba_profile_says(diameter_mm, published):
    assert volume_cv(diameter_mm) == pytest.approx(published)


@pytest.mark.parametrize(
    ("diameter_mm", "limit_percent"),
    [(13, 39), (20, 39), (34.9, 39), (35, 29), (49.9, 29), (50, 24), (100, 24), (150, 24)],
)
def test_large_lesions_repeat_as_the_qiba_profile_says(diameter_mm, limit_percent):
    assert 100 * 1.96 * 2**0.5 * volume_cv(diameter_mm) == pytest.approx(limit_percent)


def test_between_12_and_13_mm_the_profiles_are_joined():
    assert volume_cv(12) < volume_cv(12.5) < volume_cv(13) == volume_cv(34.9)


def test_a_smaller_lesion_a_thicker_slice_or_a_subsolid_margin_repeats_worse():
    cvs = [volume_cv(d) for d in (3, 4, 5, 6, 8, 12)]
    assert cvs == sorted(cvs, reverse=True)
    assert volume_cv(30) > volume_cv(40) > volume_cv(60)
    assert volume_cv(8, 1.25) == volume_cv(8, 0.6)
    assert volume_cv(8, 5.0) > volume_cv(8, 2.5) > volume_cv(8, 1.25)
    assert volume_cv(8, kind="ground-glass") > volume_cv(8, kind="solid") == volume_cv(8)


def test_the_limit_is_qibas_formula_and_never_below_25_percent():
    assert change_limit_mm3(100, 0.1, 200, 0.2) == pytest.approx(1.96 * (10**2 + 40**2) ** 0.5)
    assert change_limit_percent(100, 0.2, 100, 0.2) == pytest.approx(1.96 * 20 * 2**0.5)
    assert change_limit_percent(100, 0.01, 100, 0.01) == 25.0


def test_a_sphere_of_10_mm_has_524_mm3():
    assert sphere_diameter_mm(523.6) == pytest.approx(10, abs=1e-3)


OWN = Repeats.of({"volume_cv_5_mm": 0.12, "volume_cv_15_mm": 0.04, "least_long_axis_mm": 3.0})
COFFEE_BREAK = 0.25 / (1.96 * 2**0.5)


def test_a_network_whose_repeatability_was_measured_is_held_to_it_and_to_what_patients_add():
    assert volume_cv(5, own=OWN) == pytest.approx((0.12**2 + COFFEE_BREAK**2) ** 0.5)
    assert volume_cv(10, own=OWN) == pytest.approx((0.08**2 + COFFEE_BREAK**2) ** 0.5)
    assert volume_cv(8, 5.0, own=OWN) > volume_cv(8, own=OWN) < volume_cv(8, kind="ground-glass", own=OWN)


def test_below_the_smallest_size_that_was_measured_a_lesion_repeats_as_much_worse_as_is_published():
    cvs = [volume_cv(d, own=OWN) for d in (2, 3, 4, 4.9, 5)]
    assert cvs == sorted(cvs, reverse=True)
    assert volume_cv(3, own=OWN) / volume_cv(5, own=OWN) == pytest.approx(volume_cv(3) / volume_cv(5))
    assert volume_cv(5 - 1e-6, own=OWN) == pytest.approx(volume_cv(5, own=OWN), rel=1e-5)


def test_beyond_the_sizes_that_were_measured_nothing_better_is_claimed():
    assert volume_cv(20, own=OWN) == volume_cv(15, own=OWN)
    assert volume_cv(60, own=OWN) == volume_cv(60)


def test_a_network_that_was_not_measured_has_no_repeatability_of_its_own():
    assert Repeats.of({"least_long_axis_mm": 3.0}) is None
