"""Published thresholds and their edges: Fleischner, Lung-RADS 2022, NELSON and BTS."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from inference.findings import Assessment, Change, SolidPart
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


@pytest.mark.parametrize(
    ("newest", "earlier", "current", "course"),
    [
        ("stable", [(365, 8.4), (730, 7.0)], 9.8, "growing slowly"),
        ("stable", [(730, 7.0), (365, 8.4)], 9.8, "growing slowly"),
        ("stable", [(365, 7.8), (730, 7.0)], 8.5, "stable"),
        ("stable", [(180, 5.6), (400, 4.4), (400, 4.4)], 6.2, "growing slowly"),
        ("stable", [(180, 5.6), (180, 5.8), (400, 4.4)], 6.2, "growing slowly"),
        ("stable", [(365, 7.8), (730, 7.0)], 8.6, "growing slowly"),
        ("stable", [(365, 9.0), (730, 7.4)], 9.0, "stable"),
        ("stable", [(365, 9.0), (547, 7.0)], 9.1, "stable"),
        ("stable", [(365, 8.6), (730, 8.4)], 7.0, "stable"),
        ("stable", [(90, 7.5), (366, 7.0)], 8.6, "growing"),
        ("stable", [(90, 7.5), (366, 7.0)], 8.5, "stable"),
        ("stable", [(365, 8.4)], 9.8, "stable"),
        ("growing", [(365, 8.4), (730, 7.0)], 10.0, "growing"),
        ("stable over unknown time", [(365, 8.4), (730, 7.0)], 9.8, "stable over unknown time"),
    ],
)
def test_lung_rads_growth_over_several_screens(newest, earlier, current, course):
    assert lung_rads.over_screens(newest, earlier, current) == course


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
    ("mm", "course", "solid", "of_solid", "category"),
    [
        (12.0, "stable", 3.9, "growing", "4A"),
        (12.0, "stable", 4.0, "growing", "4B"),
        (12.0, "stable", 3.9, "new", "4A"),
        (12.0, "stable", 4.0, "new", "4B"),
        (5.9, "stable", 4.0, "growing", "4B"),
        (12.0, "stable", 3.0, "growing slowly", "4B"),
        (12.0, "stable", 3.0, "growing over unknown time", "4B"),
        (12.0, "stable", 5.9, "stable", "3"),
        (12.0, "stable", 6.0, None, "4A"),
        (12.0, "growing", 4.0, "stable", "4B"),
    ],
)
def test_lung_rads_judges_the_solid_part_by_its_own_course(mm, course, solid, of_solid, category):
    assert lung_rads.category("part-solid", mm, course, solid, of_solid) == category


@pytest.mark.parametrize(
    ("prior", "current", "days", "course"),
    [
        (0.0, 0.5, 180, "new"),
        (0.0, 4.0, 0, "new"),
        (2.0, 3.5, 180, "stable"),
        (2.0, 3.6, 180, "growing"),
        (2.0, 3.6, 800, "growing slowly"),
        (2.0, 3.6, None, "growing over unknown time"),
        (0.0, 0.0, 180, "stable"),
    ],
)
def test_lung_rads_course_of_a_solid_part(prior, current, days, course):
    assert lung_rads.solid_course(prior, current, days) == course


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


@pytest.mark.parametrize(
    ("before", "prior_mm", "now_mm", "days", "category", "words"),
    [
        ("part-solid", 2.0, 7.0, 180, "4B", "(solid part 2.0 mm, now 7.0 mm: growing), stable"),
        ("part-solid", 2.0, 3.9, 180, "4A", "now 3.9 mm: growing"),
        ("part-solid", 2.5, 4.0, 180, "2", "now 4.0 mm: stable"),
        ("ground-glass", 0.0, 5.97, 180, "4B", "(solid part 0.0 mm, now 6.0 mm: new)"),
        ("ground-glass", 0.0, 3.0, 180, "4A", "now 3.0 mm: new"),
        ("part-solid", 5.0, 5.94, 179, "3", "now 5.9 mm: stable"),
        ("part-solid", 5.0, 5.97, 89, "4A", "now 6.0 mm: stable"),
        ("part-solid", 5.0, 5.97, 90, "3", "now 6.0 mm: stable"),
        ("part-solid", None, 5.0, 400, "3", "(solid part 5.0 mm), stable"),
        ("ground-glass", 5.0, 5.0, 400, "3", "now 5.0 mm: stable"),
        ("solid", None, 5.0, 400, "3", "(solid part 5.0 mm), stable"),
    ],
)
def test_a_nodule_of_which_only_the_solid_part_grows_is_not_stable(
    before, prior_mm, now_mm, days, category, words
):
    """And is a step lower for its stability only where it is known to be of one kind with a stable part."""
    nodule = replace(finding((0, 0, 0), 12), kind="part-solid")
    change = replace(
        _changed(2.0, days, significant=False),
        prior_long_axis_mm=12.0,
        prior_short_axis_mm=12.0,
        solid=SolidPart(now_mm, 0.0),
        prior_solid=None if prior_mm is None else SolidPart(prior_mm, 0.0),
        prior_kind=before,
    )
    said = _said("Lung-RADS 2022", assess("lung-nodules", nodule, change))
    assert said.result == category
    assert words in said.statement


def _said(guideline: str, assessments: Sequence[Assessment]) -> Assessment:
    return next(each for each in assessments if each.guideline == guideline)
