"""Published thresholds and their edges: Fleischner, Lung-RADS 2022, NELSON and BTS."""

import pytest

from inference.growth import fleischner, lung_rads, nelson


@pytest.mark.parametrize(
    ("prior", "current", "grown"), [(6, 7, False), (6, 8, True), (6, 9, True), (8, 6, False)]
)
def test_fleischner_calls_2_mm_growth(prior, current, grown):
    assert fleischner.has_grown(prior, current) is grown


@pytest.mark.parametrize(
    ("long", "short", "rounded", "size"),
    [
        (6, 4.8, 5, "< 6 mm"),
        (6, 5, 6, "6-8 mm"),
        (9, 7.9, 8, "6-8 mm"),
        (9, 8, 9, "> 8 mm"),
        (31, 29, 30, "> 8 mm"),
        (32, 29, 31, "> 30 mm"),
    ],
)
def test_fleischner_rounds_the_mean_of_both_axes(long, short, rounded, size):
    assert fleischner.rounded_diameter_mm(long, short) == rounded
    assert fleischner.size_class(rounded) == size


@pytest.mark.parametrize(
    ("size", "multiple", "management"),
    [
        ("< 6 mm", False, "no routine follow-up at low risk, optional CT at 12 months at high risk"),
        ("< 6 mm", True, "no routine follow-up at low risk, optional CT at 12 months at high risk"),
        ("6-8 mm", False, "CT at 6 to 12 months; then consider CT at 18 to 24 months at low risk"),
        ("6-8 mm", True, "CT at 3 to 6 months; then consider CT at 18 to 24 months at low risk"),
        ("> 8 mm", False, "consider CT at 3 months, PET/CT or tissue sampling"),
        ("> 8 mm", True, "CT at 3 to 6 months; then consider CT at 18 to 24 months at low risk"),
    ],
)
def test_fleischner_management_of_solid_nodules(size, multiple, management):
    assert fleischner.solid_management(size, multiple=multiple).startswith(management)


@pytest.mark.parametrize(
    ("mm", "solid", "multiple", "management"),
    [
        (5, None, False, "no routine follow-up."),
        (5, 3, False, "no routine follow-up."),
        (6, None, False, "CT at 6 to 12 months; if it persists, CT every 2 years until 5 years."),
        (6, 5, False, "CT at 3 to 6 months; if unchanged, CT every year for 5 years."),
        (9, 6, False, "CT at 3 to 6 months; if it persists, highly suspicious by its solid part."),
        (5, None, True, "CT at 3 to 6 months; if stable, consider CT at 2 and 4 years."),
        (6, 6, True, "CT at 3 to 6 months; then as the most suspicious nodule asks for."),
    ],
)
def test_fleischner_management_of_subsolid_nodules(mm, solid, multiple, management):
    assert fleischner.subsolid_management(mm, solid, multiple=multiple) == management


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


@pytest.mark.parametrize("kind", ["solid", "calcified"])
@pytest.mark.parametrize(
    ("mm", "course", "solid", "of_solid", "category"),
    [
        (4.0, "stable", 4.0, "new", "4B"),
        (12.0, "stable", 12.0, "growing", "4B"),
        (12.0, "stable", 12.0, "growing slowly", "4B"),
        (12.0, "stable", 12.0, "growing over unknown time", "4B"),
        (7.0, "growing", 7.0, "growing", "4B"),
        (7.0, "growing", 7.0, "stable", "4A"),
        (3.9, "stable over unknown time", 3.9, "new", "2"),
        (12.0, "stable over unknown time", 12.0, "stable", "4A"),
    ],
)
def test_lung_rads_judges_a_whole_that_was_subsolid_as_a_solid_part(
    kind, mm, course, solid, of_solid, category
):
    assert lung_rads.category(kind, mm, course, solid, of_solid) == category


@pytest.mark.parametrize(
    ("course", "prior", "current", "words"),
    [
        ("stable", 6.0, 4.4, "decreased"),
        ("stable", 6.0, 4.5, "stable"),
        ("stable over unknown time", 6.0, 4.4, "decreased"),
        ("stable over unknown time", 6.0, 6.0, "stable over unknown time"),
        ("growing", 4.4, 6.0, "growing"),
    ],
)
def test_a_nodule_that_is_smaller_by_more_than_1_5_mm_has_decreased(course, prior, current, words):
    assert lung_rads.in_words(course, prior, current) == words


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
    [("3", 168, "2"), ("3", 167, "3"), ("4A", 77, "3"), ("4A", 76, "4A"), ("4B", 400, "4B")],
)
def test_lung_rads_steps_a_stable_nodule_down(earlier, days, now):
    assert lung_rads.stepped_down(earlier, days) == now


@pytest.mark.parametrize(
    ("earlier", "then", "size", "days", "now"),
    [
        ("4A", "4A", "4A", 76, "4A"),
        ("4A", "4A", "4A", 77, "3"),
        ("3", "4A", "4A", 167, "3"),
        ("3", "4A", "4A", 168, "2"),
        ("2", "4A", "4A", 365, "2"),
        ("4A", "3", "3", 30, "4A"),
        ("4A", "3", "3", 90, "3"),
        ("4B", "2", "2", 365, "4B"),
        ("2", "2", "3", 365, "3"),
        ("3", "3", "4A", 180, "4A"),
        ("4A", "3", "2", 90, "3"),
        ("4B", "2", "3", 365, "4B"),
        ("4A", "4A", "4A", 0, "4A"),
    ],
)
def test_lung_rads_steps_down_from_what_it_was_unless_a_threshold_of_size_is_crossed(
    earlier, then, size, days, now
):
    assert lung_rads.at_follow_up(earlier, then, size, days) == now


@pytest.mark.parametrize(
    ("nodules", "resolved", "whole"),
    [
        ([], [], "1"),
        (["1"], [], "1"),
        (["2", "4A", "3"], [], "4A"),
        (["4A", "4B"], [], "4B"),
        ([], ["2"], "1"),
        ([], ["3"], "2"),
        ([], ["4A"], "2"),
        (["3"], ["4A"], "3"),
    ],
)
def test_lung_rads_of_an_examination_is_that_of_its_most_suspicious_nodule(nodules, resolved, whole):
    assert lung_rads.of_exam(nodules, resolved) == whole


@pytest.mark.parametrize(
    ("category", "solid", "management"),
    [
        ("1", 0.0, "CT at low dose in 12 months."),
        ("2", 9.0, "CT at low dose in 12 months."),
        ("3", 9.0, "CT at low dose in 6 months."),
        ("4A", 7.9, "CT at low dose in 3 months."),
        ("4A", 8.0, "CT at low dose in 3 months; PET/CT may be considered."),
        ("4B", 7.9, "referral for further evaluation: diagnostic chest CT, tissue sampling."),
        ("4B", 8.0, "referral for further evaluation: diagnostic chest CT, PET/CT, tissue sampling."),
    ],
)
def test_lung_rads_management(category, solid, management):
    assert lung_rads.management(category, solid) == management


@pytest.mark.parametrize(
    ("mm3", "result"),
    [(49.9, "negative"), (50, "indeterminate"), (500, "indeterminate"), (500.1, "positive")],
)
def test_nelson_sizes(mm3, result):
    assert nelson.size_result(mm3) == result


@pytest.mark.parametrize(
    ("mm3", "size", "management"),
    [
        (79.9, "< 80 mm3", "No follow-up"),
        (80, "80-300 mm3", "CT at 3 months"),
        (299.9, "80-300 mm3", "CT at 3 months"),
        (300, ">= 300 mm3", "Risk by the Brock model"),
    ],
)
def test_bts_sizes_of_solid_nodules(mm3, size, management):
    assert nelson.bts_size(mm3) == size
    assert nelson.BTS_MANAGEMENT[size].startswith(management)


@pytest.mark.parametrize(
    ("mm", "size", "management"),
    [(4.9, "< 5 mm", "No follow-up"), (5, ">= 5 mm", "Thin-section CT at 3 months")],
)
def test_bts_sizes_of_subsolid_nodules(mm, size, management):
    assert nelson.bts_subsolid_size(mm) == size
    assert nelson.BTS_MANAGEMENT[size].startswith(management)


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
    assert nelson.BTS_GROWTH_MANAGEMENT[bts]
