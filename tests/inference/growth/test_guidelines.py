"""Published thresholds and their edges: Fleischner, Lung-RADS 2022, NELSON and BTS."""

import pytest

from inference.findings import Change
from inference.growth import fleischner, lung_rads, nelson
from inference.growth.assess import assess
from tests.inference.growth.chest import finding


@pytest.mark.parametrize(
    ("prior", "current", "grown"), [(6, 7, False), (6, 8, True), (6, 9, True), (8, 6, False)]
)
def test_fleischner_calls_2_mm_growth(prior, current, grown):
    assert fleischner.has_grown(prior, current) is grown


@pytest.mark.parametrize(
    ("long", "short", "rounded", "size"),
    [(6, 4.8, 5, "< 6 mm"), (6, 5, 6, "6-8 mm"), (9, 7.9, 8, "6-8 mm"), (9, 8, 9, "> 8 mm")],
)
def test_fleischner_rounds_the_mean_of_both_axes(long, short, rounded, size):
    assert fleischner.rounded_diameter_mm(long, short) == rounded
    assert fleischner.size_class(rounded) == size


@pytest.mark.parametrize(
    ("prior", "current", "days", "course"),
    [
        (6.0, 7.5, 365, "stable"),
        (6.0, 7.6, 365, "growing"),
        (6.0, 7.6, 366, "growing"),
        (6.0, 7.6, 390, "growing"),
        (6.0, 7.6, 391, "growing slowly"),
        (12.0, 34.0, 400, "growing"),
        (6.0, 9.0, 732, "growing slowly"),
        (6.0, 9.1, 732, "growing"),
        (6.0, 7.5, 800, "stable"),
        (6.0, 7.6, 0, "growing over unknown time"),
        (6.0, 7.6, None, "growing over unknown time"),
        (7.6, 7.6, 0, "stable over unknown time"),
        (7.6, 7.6, None, "stable over unknown time"),
        (7.6, 6.0, 100, "stable"),
    ],
)
def test_lung_rads_growth_is_more_than_1_5_mm_within_a_year(prior, current, days, course):
    assert lung_rads.course(prior, current, days) == course


def test_lung_rads_diameters_have_one_decimal():
    assert lung_rads.mean_diameter_mm(6.3, 5.8) == 6.1
    assert lung_rads.mean_diameter_mm(6.0, 5.84) == 5.9


@pytest.mark.parametrize(
    ("kind", "mm", "course", "solid", "category"),
    [
        ("solid", 5.9, "baseline", 0, "2"),
        ("solid", 6.0, "baseline", 0, "3"),
        ("solid", 7.9, "baseline", 0, "3"),
        ("solid", 8.0, "baseline", 0, "4A"),
        ("solid", 14.9, "baseline", 0, "4A"),
        ("solid", 15.0, "baseline", 0, "4B"),
        ("solid", 3.9, "new", 0, "2"),
        ("solid", 4.0, "new", 0, "3"),
        ("solid", 6.0, "new", 0, "4A"),
        ("solid", 8.0, "new", 0, "4B"),
        ("solid", 7.9, "growing", 0, "4A"),
        ("solid", 8.0, "growing", 0, "4B"),
        ("solid", 7.0, "growing slowly", 0, "4B"),
        ("solid", 7.0, "stable", 0, "3"),
        ("part-solid", 5.9, "baseline", 3, "2"),
        ("part-solid", 6.0, "baseline", 5.9, "3"),
        ("part-solid", 9.0, "baseline", 6.0, "4A"),
        ("part-solid", 12.0, "baseline", 8.0, "4B"),
        ("part-solid", 5.9, "new", 2, "3"),
        ("part-solid", 6.0, "new", 3.9, "4A"),
        ("part-solid", 5.0, "growing", 3.9, "4A"),
        ("part-solid", 9.0, "growing", 4.0, "4B"),
        ("ground-glass", 29.9, "new", 0, "2"),
        ("ground-glass", 30.0, "baseline", 0, "3"),
        ("ground-glass", 30.0, "stable", 0, "2"),
        ("ground-glass", 30.0, "growing slowly", 0, "2"),
        ("ground-glass", 34.0, "growing", 0, "3"),
        ("ground-glass", 30.0, "growing over unknown time", 0, "3"),
        ("ground-glass", 30.0, "stable over unknown time", 0, "3"),
        ("solid", 7.0, "growing over unknown time", 0, "4B"),
        ("solid", 7.0, "stable over unknown time", 0, "3"),
        ("part-solid", 7.0, "growing over unknown time", 0, "4B"),
        ("calcified", 12.0, "stable", 0, "1"),
        ("calcified", 12.0, "stable over unknown time", 0, "4A"),
        ("calcified", 12.0, "baseline", 0, "4A"),
        ("calcified", 12.0, "new", 0, "4B"),
        ("calcified", 12.0, "growing", 0, "4B"),
        ("calcified", 7.0, "growing slowly", 0, "4B"),
    ],
)
def test_lung_rads_categories(kind, mm, course, solid, category):
    assert lung_rads.category(kind, mm, course, solid) == category


@pytest.mark.parametrize(
    ("earlier", "days", "now"),
    [("3", 180, "2"), ("3", 179, "3"), ("4A", 90, "3"), ("4A", 89, "4A"), ("4B", 400, "4B")],
)
def test_lung_rads_steps_a_stable_nodule_down(earlier, days, now):
    assert lung_rads.stepped_down(earlier, days) == now


@pytest.mark.parametrize(
    ("mm3", "result"),
    [(49.9, "negative"), (50, "indeterminate"), (500, "indeterminate"), (500.1, "positive")],
)
def test_nelson_sizes(mm3, result):
    assert nelson.size_result(mm3) == result


@pytest.mark.parametrize(
    ("percent", "days", "result", "bts"),
    [
        (24.9, 100, "negative", "no growth"),
        (25, 399, "positive", "VDT up to 400 days"),
        (25, 400, "indeterminate", "VDT up to 400 days"),
        (25, 401, "indeterminate", "VDT 400 to 600 days"),
        (25, 600, "indeterminate", "VDT 400 to 600 days"),
        (25, 601, "negative", "VDT over 600 days"),
        (24.9, None, "negative", "no growth"),
        (25, None, "indeterminate", "indeterminate"),
        (100, None, "indeterminate", "indeterminate"),
    ],
)
def test_nelson_and_bts_growth(percent, days, result, bts):
    assert nelson.growth_result(percent, days) == result
    assert nelson.bts_growth(percent, days) == bts


def _changed(percent: float, days: int, *, significant: bool) -> Change:
    category = "increased" if significant else "stable"
    return Change(
        "1.9", "20240101", days, category, percent, None, significant, 1.0,
        prior_long_axis_mm=10.0, prior_short_axis_mm=10.0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("days", "significant", "reason"), [(80, True, "short or unknown a time"), (80, False, "repeated scans")]
)
def test_growth_without_a_doubling_time_is_never_called_negative(days, significant, reason):
    said = assess("lung-nodules", finding((0, 0, 0), 11.7), _changed(60.0, days, significant=significant))
    volumetric = [each for each in said if each.guideline in ("BTS 2015", "NELSON")]
    assert [each.result for each in volumetric] == ["indeterminate", "indeterminate"]
    assert all(reason in each.statement for each in volumetric)
