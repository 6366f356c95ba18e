"""What guidelines make of nodules, at first sight and at follow-up, and of the whole examination."""

from dataclasses import replace

import numpy as np
import pytest

from inference.findings import Assessment, Caveat, Change, Mask, SolidPart
from inference.growth.assess import GUIDELINES, assess, assessed, by_guidelines
from inference.growth.judge import Measurement, judge
from inference.growth.past import UNKNOWN, Past, Seen, lung_rads_category
from inference.growth.repeatability import sphere_diameter_mm
from inference.growth.solid import solid_part
from inference.volume import Volume
from tests.inference.growth.chest import finding, reading

AFFINE = np.diag([0.5, 0.5, 2.0, 1.0])[:, [2, 1, 0, 3]]


def nodule(kind, solid_hu):
    """A cube of 4 x 8 x 8 voxels of ground glass, its first slice at ``solid_hu``."""
    voxels = np.full((8, 16, 16), -850, np.int16)
    voxels[2:6, 4:12, 4:12] = -600
    voxels[2, 4:12, 4:12] = solid_hu
    volume = Volume(voxels, AFFINE, "1.2", "1.3", tuple((f"1.4.{n}", None) for n in range(8)))
    mask = Mask((2, 4, 4), np.ones((4, 8, 8), bool))
    return replace(finding((0, 0, 0), 8, "a"), kind=kind, mask=mask), volume


def test_the_solid_part_is_what_is_denser_than_ground_glass():
    part = solid_part(*nodule("part-solid", 35))
    assert part.diameter_mm == pytest.approx(sphere_diameter_mm(64 * 0.5))
    assert part.mean_hu == 35


def test_a_part_solid_lesion_that_shows_nothing_solid_has_a_part_of_0_mm():
    part = solid_part(*nodule("part-solid", -500))
    assert (part.diameter_mm, part.mean_hu) == (0, None)


def test_other_lesions_have_no_solid_part():
    assert solid_part(*nodule("solid", 35)) is None


def test_ground_glass_is_measured_for_what_is_solid_in_it_and_has_nothing_solid_without_a_mask():
    glass, volume = nodule("ground-glass", 35)
    assert solid_part(glass, volume).diameter_mm == pytest.approx(sphere_diameter_mm(64 * 0.5))
    assert solid_part(replace(glass, mask=None), volume).diameter_mm == 0
    assert solid_part(replace(glass, mask=None, kind="part-solid"), volume) is None


def nodule_of(mm, kind="solid", solid_mm=None, change=None):
    part = None if solid_mm is None else SolidPart(solid_mm, 0.0)
    return replace(finding((0, 0, 0), mm, "a"), kind=kind, solid=part, change=change)


def followed(mm, days=180, kind="solid", percent=2.0, significant=False, prior_solid=None):
    """A change since the nodule was ``mm`` in diameter."""
    category = "increased" if significant else "stable"
    return Change(
        "1.9", "20240101", days, category, percent, None, significant, 1.0,
        prior_long_axis_mm=mm, prior_short_axis_mm=mm, prior_kind=kind,
        prior_solid=None if prior_solid is None else SolidPart(prior_solid, 0.0),
    )  # fmt: skip


def results(assessments):
    return {each.guideline: each.result for each in assessments}


def of(guideline, assessments):
    return next(each for each in assessments if each.guideline == guideline)


def test_what_is_said_of_growth_names_the_day_it_is_since():
    said = assess(nodule_of(12, change=followed(12)))
    assert "now 12 mm: no growth since 2024-01-01" in of("Fleischner 2017", said).statement
    assert of("BTS 2015", said).statement == "Volume +2 % since 2024-01-01: no growth."
    assert of("NELSON", said).statement == "Volume +2 % since 2024-01-01: negative."
    undated = assess(nodule_of(12, change=replace(followed(12), prior_date="")))
    assert of("BTS 2015", undated).statement == "Volume +2 %: no growth."


@pytest.mark.parametrize(
    ("days", "older", "told"),
    [
        (90, (), "CT at 1 year after the first; no follow-up if there is no growth then."),
        (350, (), "CT at 1 year after the first; no follow-up if there is no growth then."),
        (351, (), "No follow-up, being stable by volume for 1 year (by diameter alone: for 2 years)."),
        (368, (), "No follow-up, being stable by volume for 1 year (by diameter alone: for 2 years)."),
        (0, (), "CT at 1 year after the first; no follow-up if there is no growth then."),
        (275, ((366, 1.1, "solid"),), "No follow-up, being stable by volume for 1 year"),
        (275, ((366, 1.1, "part-solid"),), "CT at 1 year after the first"),
        (
            275,
            ((200, 1.1, "solid"), (366, 0.7, "solid")),
            "By +43 % in 366 days since the first scan: Further CT, as planned.",
        ),
        (90, ((180, 0.7, "solid"),), "By +43 % in 180 days since the first scan: Further CT, as planned."),
        (90, ((180, 0.45, "solid"),), "By +122 % in 180 days since the first scan: Further work-up"),
        (90, ((400, 0.45, "solid"),), "By +122 % in 400 days since the first scan: Further work-up"),
        (90, ((600, 0.45, "solid"),), "By +122 % in 600 days since the first scan: Biopsy, or further CT."),
        (40, ((89, 0.45, "solid"),), "By +122 % in 89 days since the first scan: Further CT, as planned."),
    ],
)
def test_what_bts_asks_for_without_growth_goes_by_the_days_and_the_growth_since_the_first_scan(
    days, older, told
):
    now = nodule_of(8, change=followed(8, days=days))
    seen = (_judged_since(now, ago, share, kind) for ago, share, kind in older)
    assert of("BTS 2015", assess(now, Past(older=tuple(seen)))).recommendation.startswith(told)


def _judged_since(now, days, share, kind):
    """A nodule of a ``share`` of today's volume, on thin slices."""
    then = replace(now, volume_mm3=share * now.volume_mm3)
    judged = judge(Measurement.of(then, 1.0), Measurement.of(now, 1.0), days)
    return replace(Seen.of(then, days), kind=kind, judged=judged)


@pytest.mark.parametrize(
    ("first", "told"),
    [
        (nodule_of(5), ("< 6 mm", "2", "< 80 mm3", "indeterminate")),
        (nodule_of(4), ("< 6 mm", "2", "< 80 mm3", "negative")),
        (nodule_of(7), ("6-8 mm", "3", "80-300 mm3", "indeterminate")),
        (nodule_of(9), ("> 8 mm", "4A", ">= 300 mm3", "indeterminate")),
        (nodule_of(15), ("> 8 mm", "4B", ">= 300 mm3", "positive")),
        (nodule_of(9, "calcified"), ("> 8 mm", "4A")),
        (nodule_of(9, "part-solid", 5), ("> 8 mm", "3", ">= 5 mm")),
        (nodule_of(9, "part-solid", 8), ("> 8 mm", "4B", ">= 5 mm")),
        (nodule_of(9, "ground-glass"), ("> 8 mm", "2", ">= 5 mm")),
        (nodule_of(30, "ground-glass"), ("> 8 mm", "3", ">= 5 mm")),
        (nodule_of(4.9, "ground-glass"), ("< 6 mm", "2", "< 5 mm")),
    ],
)
def test_a_nodule_of_a_first_scan_has_a_category_by_each_guideline_and_a_recommendation(first, told):
    names = ("Fleischner 2017", "Lung-RADS 2022", "BTS 2015", "NELSON")[: len(told)]
    said = assess(first)
    assert results(said) == dict(zip(names, told, strict=True))
    assert all(each.recommendation for each in said)


def test_a_mass_gets_no_follow_up_of_nodules_from_the_fleischner_society():
    said = of("Fleischner 2017", assess(nodule_of(67)))
    assert said.result == "> 30 mm"
    assert "suspected cancer" in said.recommendation and "CT at" not in said.recommendation


def test_what_the_fleischner_society_asks_for_names_whom_it_is_for_and_both_risks():
    recommended = of("Fleischner 2017", assess(nodule_of(7))).recommendation
    assert recommended == (
        "If found by chance at 35 years or more, without known cancer or immunosuppression: CT at 6 to 12 "
        "months; then consider CT at 18 to 24 months at low risk, CT at 18 to 24 months at high risk."
    )


def test_nodules_are_multiple_where_others_are_solid_or_subsolid_as_they_are():
    scan = reading(nodule_of(7), nodule_of(7), nodule_of(9, "ground-glass"))
    asked = [of("Fleischner 2017", each.assessments).recommendation for each in _assessed(scan).findings]
    assert ["CT at 3 to 6 months" in each for each in asked] == [True, True, False]


@pytest.mark.parametrize(
    ("others", "multiple"),
    [
        ([(7, "calcified")], False),
        ([(7, "calcified"), (7, "calcified")], False),
        ([(4, "ground-glass"), (4, "part-solid")], False),
        ([(4, "solid")], True),
        ([(4, None)], True),
    ],
)
def test_calcified_nodules_are_no_company_and_have_none(others, multiple):
    scan = reading(nodule_of(12), *(nodule_of(mm, kind) for mm, kind in others))
    first, *rest = (of("Fleischner 2017", each.assessments) for each in _assessed(scan).findings)
    assert ("CT at 3 to 6 months" in first.recommendation) is multiple
    assert ("PET/CT or tissue sampling" in first.recommendation) is not multiple
    calcified = [
        said.recommendation for said, (_, kind) in zip(rest, others, strict=True) if kind == "calcified"
    ]
    assert all("3 to 6" not in each for each in calcified)


def test_a_nodule_that_is_new_is_managed_by_its_size_and_not_by_its_volume():
    new = Change("1.9", "20240101", 180, "new", None, None, True, 1.0)
    said = assess(nodule_of(7, change=new))
    assert results(said) == {"Fleischner 2017": "6-8 mm", "Lung-RADS 2022": "4A"}
    assert "not seen before" in of("Fleischner 2017", said).statement


@pytest.mark.parametrize(
    ("days", "significant", "reason"), [(80, True, "short or unknown a time"), (80, False, "repeated scans")]
)
def test_growth_without_a_doubling_time_is_never_called_negative(days, significant, reason):
    said = assess(nodule_of(11.7, change=followed(10, days, percent=60.0, significant=significant)))
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
        ("part-solid", 5.0, 5.94, 167, "3", "now 5.9 mm: stable"),
        ("part-solid", 5.0, 5.97, 180, "4A", "now 6.0 mm: stable"),
        ("part-solid", 6.0, 5.97, 76, "4A", "now 6.0 mm: stable"),
        ("part-solid", 6.0, 5.97, 77, "3", "now 6.0 mm: stable"),
        ("part-solid", 7.6, 6.0, 90, "3", "(solid part 7.6 mm, now 6.0 mm: decreased), stable"),
        ("part-solid", None, 5.0, 400, "3", "(solid part 5.0 mm), stable"),
        ("ground-glass", 5.0, 5.0, 400, "3", "now 5.0 mm: stable"),
        ("solid", None, 5.0, 400, "3", "(solid part 5.0 mm), stable"),
    ],
)
def test_a_nodule_of_which_only_the_solid_part_grows_is_not_stable(
    before, prior_mm, now_mm, days, category, words
):
    """And is a step lower for its stability only where it is known to be of one kind with a stable part."""
    change = followed(12, days, before, prior_solid=prior_mm)
    said = of("Lung-RADS 2022", assess(nodule_of(12, "part-solid", now_mm, change)))
    assert said.result == category
    assert words in said.statement


@pytest.mark.parametrize(
    ("before", "prior_mm", "mm", "told", "category", "words"),
    [
        ("part-solid", 4.0, 12, "3", "4B", "(solid part 4.0 mm, now the whole, 12.0 mm: growing), stable"),
        ("part-solid", 10.4, 12, "3", "4B", "now the whole, 12.0 mm: growing"),
        ("part-solid", 10.5, 12, "3", "4A", "now the whole, 12.0 mm: stable"),
        ("part-solid", 10.5, 12, "4B", "4B", "until it is proven benign"),
        ("part-solid", None, 12, "3", "4B", "(part-solid before, now solid: growing)"),
        ("ground-glass", 0.0, 12, "2", "4B", "(solid part 0.0 mm, now the whole, 12.0 mm: new)"),
        ("ground-glass", 0.0, 4, "2", "4B", "4.0 mm: new"),
        ("ground-glass", 0.0, 3.9, "2", "2", "3.9 mm: new"),
        ("solid", None, 12, "3", "2", "Solid, 12.0 mm, stable, category 3 before"),
    ],
)
@pytest.mark.parametrize("kind", ["solid", None])
def test_a_subsolid_nodule_that_is_solid_now_is_a_solid_part_that_is_new_or_grows(
    kind, before, prior_mm, mm, told, category, words
):
    change = followed(mm, 180, before, prior_solid=prior_mm)
    said = of("Lung-RADS 2022", assess(nodule_of(mm, kind, change=change), Past(told)))
    assert said.result == category
    assert words in said.statement


def test_a_subsolid_nodule_that_is_calcified_now_is_not_benign():
    change = followed(12, 180, "part-solid", prior_solid=4.0)
    assert lung_rads_category(_told(nodule_of(12, "calcified", change=change), Past("3"))) == "4B"


@pytest.mark.parametrize(
    ("before", "now", "volumetric"),
    [
        ("solid", "solid", True),
        (None, "solid", True),
        ("solid", None, True),
        ("part-solid", "solid", False),
        ("ground-glass", None, False),
        ("calcified", "solid", False),
        ("solid", "calcified", False),
        ("solid", "part-solid", False),
    ],
)
def test_growth_goes_by_volume_where_a_nodule_is_solid_at_both_scans(before, now, volumetric):
    said = results(assess(nodule_of(12, now, change=followed(12, 180, before))))
    assert ({"BTS 2015", "NELSON"} <= said.keys()) is volumetric
    assert ({"BTS 2015", "NELSON"} & said.keys() != set()) is volumetric


@pytest.mark.parametrize(
    ("before", "prior_mm", "now", "now_mm", "result", "words"),
    [
        ("part-solid", 4.0, "solid", None, "growth", "its solid part 4 mm, now 12 mm: growth"),
        ("part-solid", None, "solid", None, "growth", "solid only now"),
        ("part-solid", 4.0, "part-solid", 6.0, "growth", "its solid part 4 mm, now 6 mm: growth"),
        ("part-solid", 4.0, "part-solid", 5.0, "no growth", "now 12 mm: no growth"),
        ("solid", None, "solid", None, "no growth", "now 12 mm: no growth"),
    ],
)
def test_fleischner_calls_growth_of_the_solid_part_growth(before, prior_mm, now, now_mm, result, words):
    change = followed(12, 180, before, prior_solid=prior_mm)
    said = of("Fleischner 2017", assess(nodule_of(12, now, now_mm, change)))
    assert said.result == result
    assert words in said.statement


@pytest.mark.parametrize(
    ("told", "then_mm", "now_mm", "days", "category"),
    [
        (None, 9, 9, 76, "4A"),
        (None, 9, 9, 77, "3"),
        ("4A", 9, 9, 89, "3"),
        ("3", 9, 9, 167, "3"),
        ("3", 9, 9, 168, "2"),
        ("2", 9, 9, 365, "2"),
        ("4A", 7, 7, 60, "4A"),
        ("4B", 9, 6, 365, "4B"),
        ("2", 5.5, 6.5, 365, "3"),
        ("3", 9, 9, 0, "3"),
        ("4A", 9, 9, 0, "4A"),
    ],
)
def test_a_stable_nodule_is_a_step_lower_than_it_was_told_to_be(told, then_mm, now_mm, days, category):
    said = assess(nodule_of(now_mm, change=followed(then_mm, days)), Past(told))
    assert of("Lung-RADS 2022", said).result == category


def seen(days, mm, category, kind="solid", solid_mm=None):
    return Seen(days, mm, category, kind, None if solid_mm is None else SolidPart(solid_mm, 0.0))


@pytest.mark.parametrize(
    ("told", "days", "older", "category"),
    [
        ("4A", 60, [], "4A"),
        ("4A", 60, [seen(120, 9, "4A")], "3"),
        ("3", 120, [seen(240, 9, "3")], "2"),
        ("3", 60, [seen(180, 9, "3"), seen(120, 9, "3")], "2"),
        ("3", 60, [seen(180, 9, "3"), seen(120, 9, "4A")], "3"),
        ("3", 120, [seen(240, 9, None)], "3"),
        (None, 60, [seen(120, 9, "4A")], "4A"),
        ("3", 120, [seen(240, 9, "4A"), seen(240, 9, "3")], "3"),
        ("3", 120, [seen(240, 9, "3"), seen(240, 9, "4A")], "2"),
        ("3", 120, [seen(240, 9, "3", "part-solid", 9)], "3"),
        ("3", 120, [seen(240, 9, "3", None)], "2"),
        ("4B", 120, [seen(800, 9, "4B")], "4B"),
    ],
)
def test_follow_ups_too_close_to_each_other_count_together(told, days, older, category):
    said = assess(nodule_of(9, change=followed(9, days)), Past(told, tuple(older)))
    assert of("Lung-RADS 2022", said).result == category


@pytest.mark.parametrize(
    ("older", "category"),
    [
        (seen(120, 12, "4A", "part-solid", 3.7), "3"),
        (seen(120, 12, "4A", "part-solid", 2.0), "4A"),
        (seen(120, 12, "4A", "part-solid"), "4A"),
        (seen(120, 12, "4A", "ground-glass", 0.0), "4A"),
    ],
)
def test_the_time_counts_from_where_the_solid_part_had_grown(older, category):
    change = followed(12, 60, "part-solid", prior_solid=3.7)
    said = assess(nodule_of(12, "part-solid", 3.7, change), Past("4A", (older,)))
    assert of("Lung-RADS 2022", said).result == category


@pytest.mark.parametrize(
    ("mm", "apart", "categories"),
    [
        (9, 84, ["4A", "3", "3", "2", "2"]),
        (9, 60, ["4A", "4A", "3", "3", "3"]),
        (7, 120, ["3", "3", "2", "2", "2"]),
    ],
)
def test_a_stable_nodule_goes_down_however_often_it_is_seen(mm, apart, categories):
    scans = [Seen.of(_told(nodule_of(mm)), 0)]
    for _ in categories[1:]:
        newest, *older = (replace(each, days=each.days + apart) for each in scans)
        now = _told(nodule_of(mm, change=followed(mm, apart)), Past(newest.category, tuple(older)))
        scans = [Seen.of(now, 0), newest, *older]
    assert [each.category for each in reversed(scans)] == categories


@pytest.mark.parametrize(
    ("told", "then_mm", "now_mm", "days", "statement"),
    [
        ("4B", 20, 4, 90, "4.0 mm, decreased, category 4B before: category 4B, until it is proven benign."),
        ("4B", 9, 9, 90, "9.0 mm, stable, category 4B before: category 4B, until it is proven benign."),
        ("4B", 20, 18.4, 90, "18.4 mm, decreased, category 4B before: category 4B."),
        ("4B", 20, 18.5, 90, "18.5 mm, stable, category 4B before: category 4B."),
        ("4A", 12, 9, 0, "9.0 mm, decreased, category 4A before: category 4A."),
        ("3", 7, 3, 100, "3.0 mm, decreased, category 3 before: category 3."),
    ],
)
def test_what_has_shrunk_is_said_to_have_decreased(told, then_mm, now_mm, days, statement):
    said = assess(nodule_of(now_mm, change=followed(then_mm, days)), Past(told))
    assert of("Lung-RADS 2022", said).statement == f"Solid, {statement}"


def test_a_nodule_whose_type_is_another_now_is_not_lower_than_it_was():
    change = followed(9, 365, "solid")
    said = assess(nodule_of(9, "ground-glass", change=change), Past("4A"))
    assert of("Lung-RADS 2022", said).result == "4A"


def test_the_examination_has_the_category_of_its_most_suspicious_nodule():
    whole = _assessed(reading(nodule_of(7), nodule_of(9), nodule_of(4))).assessments
    assert [(each.guideline, each.result) for each in whole] == [("Lung-RADS 2022", "4A")]
    assert "the most suspicious of 3 nodules" in whole[0].statement
    assert whole[0].recommendation == "In screening: CT at low dose in 3 months; PET/CT may be considered."


def test_the_examination_is_managed_by_the_largest_solid_part_of_its_category():
    nodules = [nodule_of(7, "part-solid", 6.5), nodule_of(14), nodule_of(9)]
    for scan in (nodules, nodules[::-1]):
        told = replace(reading(*scan), findings=tuple(map(_told, scan)))
        assert {lung_rads_category(each) for each in told.findings} == {"4A"}
        (whole,) = _assessed(told).assessments
        assert whole.recommendation.endswith("CT at low dose in 3 months; PET/CT may be considered.")


def test_an_examination_without_nodule_is_category_1_and_2_where_one_has_resolved():
    assert _assessed(reading()).assessments[0].result == "1"
    gone = replace(nodule_of(9), assessments=assess(nodule_of(9)))
    after = _assessed(replace(reading(), resolved=(gone,)))
    assert after.assessments[0].result == "2"
    assert results(after.resolved[0].assessments) == {"Lung-RADS 2022": "2"}
    small = replace(nodule_of(4), assessments=assess(nodule_of(4)))
    without = _assessed(replace(reading(), resolved=(small,)))
    assert (without.assessments[0].result, without.resolved[0].assessments) == ("1", ())


UNREAD = Caveat("unread", "28 images were not read, 6 to 46 mm below the slices that were.", 28)


@pytest.mark.parametrize("nodules", [(), (4,)], ids=["none", "a small one"])
def test_an_examination_of_which_a_part_was_not_read_is_category_0_where_nothing_calls_for_more(nodules):
    found = reading(*map(nodule_of, nodules))
    assert _assessed(found).assessments[0].result in ("1", "2")
    (whole,) = _assessed(replace(found, caveats=(UNREAD,))).assessments
    assert (whole.result, whole.statement) == ("0", f"Category 0, incomplete: {UNREAD.statement}")
    assert "12 months" not in whole.recommendation


def test_what_was_found_in_the_part_that_was_read_is_at_least_that():
    (whole,) = _assessed(replace(reading(nodule_of(16)), caveats=(UNREAD,))).assessments
    assert whole.result == "4B"
    assert whole.statement == f"Category 4B, one nodule. At least that: {UNREAD.statement}"


def test_slices_that_were_interpolated_leave_the_examination_its_category():
    told = replace(reading(), caveats=(Caveat("interpolated", "1 missing slice interpolated.", 1),))
    assert _assessed(told).assessments[0].result == "1"


def test_the_solid_part_of_a_part_solid_nodule_is_measured_at_first_sight():
    first, volume = nodule("part-solid", 35)
    found = assessed(reading(first), volume).findings[0]
    assert found.solid == solid_part(first, volume)
    assert f"solid part {found.solid.diameter_mm:.1f} mm" in of("Lung-RADS 2022", found.assessments).statement


def test_a_site_has_nodules_classed_by_the_guidelines_it_names_alone():
    whole = _assessed(reading(nodule_of(9)))
    told = by_guidelines(whole, ["fleischner"])
    assert results(told.findings[0].assessments) == {"Fleischner 2017": "> 8 mm"}
    assert told.assessments == ()
    assert by_guidelines(whole, GUIDELINES) is whole
    assert by_guidelines(reading(nodule_of(9)), []) == reading(nodule_of(9))


def test_what_no_guideline_says_of_a_lesion_stays_whichever_a_site_names():
    typed = Assessment(
        "Type of cancer", "adenocarcinoma", "Adenocarcinoma is the likeliest of 4 types (62 %)."
    )
    told = reading(replace(nodule_of(9), assessments=(typed,)))
    assert by_guidelines(told, []) is told


def test_only_nodules_of_the_lung_are_assessed():
    other = replace(reading(nodule_of(9)), reader="ct-lesions")
    assert _assessed(other) is other


def _told(finding, past=UNKNOWN):
    return replace(finding, assessments=assess(finding, past))


def _assessed(found):
    return assessed(found, nodule("solid", 35)[1])
