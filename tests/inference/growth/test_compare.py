"""A reading set against its priors, on a small chest with lesions whose course is known."""

from dataclasses import replace

import numpy as np
import pytest

from inference import reading_json
from inference.catalogue import Catalogue
from inference.engine.embedded import EmbeddedEngine
from inference.findings import Caveat
from inference.growth.assess import assessed
from inference.growth.changes import Prior, days_between
from inference.growth.compare import chain, compare
from inference.growth.past import lung_rads_category
from tests.inference.growth.chest import drawn_on, finding, reading, scan
from tests.inference.growth.pair import (
    COMES,
    CURRENT,
    EARLIER,
    GOES,
    GROWS,
    PRIOR,
    PRIOR_VOLUME,
    STAYS,
    VOLUME,
    in_prior,
)

pytestmark = pytest.mark.usefixtures("each_pair_aligned_once")


@pytest.fixture(scope="module")
def compared(each_pair_aligned_once):
    return compare(CURRENT, VOLUME, [PRIOR], date="20240701")


def test_each_lesion_keeps_its_tracking_uid_and_gets_its_change(compared):
    stays, grows, comes = compared.reading.findings
    assert (stays.tracking_uid, grows.tracking_uid, comes.tracking_uid) == ("A", "B", "c")
    assert (stays.change.category, grows.change.category, comes.change.category) == (
        "stable",
        "increased",
        "new",
    )
    change = grows.change
    assert (change.prior_study_uid, change.prior_date, change.days) == ("1.9", "20240101", 182)
    assert change.volume_change_percent == pytest.approx(174.4, abs=0.1)
    assert change.doubling_time_days == pytest.approx(125, abs=0.1)
    assert change.significant and change.match_confidence > 0.95
    assert change.prior_image_uid == "image of B"
    assert np.linalg.norm(np.subtract(change.aligned_center_mm, GROWS)) < 3


def test_what_is_gone_is_listed_as_resolved_where_it_was(compared):
    (gone,) = compared.reading.resolved
    assert gone.tracking_uid == "D"
    assert gone.change.category == "resolved"
    assert gone.center_mm == pytest.approx(in_prior(GOES))


def test_where_the_newest_prior_does_not_reach_the_next_says_what_is_new_and_resolved():
    low, high, gone = (-55.0, 10.0, 0.0), (50.0, 0.0, 50.0), (-50.0, 0.0, 55.0)
    part = Prior("1.2", "20240601", reading(finding(low, 12, "L")), lambda: scan(slices=slice(0, 34)))
    whole = Prior("1.1", "20240101", reading(finding(low, 12, "L"), finding(gone, 14, "G")), lambda: VOLUME)
    now = reading(finding(low, 12, "l"), finding(high, 14, "n"))
    found = compare(now, VOLUME, [part, whole], date="20240701").reading
    stays, comes = found.findings
    assert (stays.change.category, stays.change.prior_study_uid) == ("stable", "1.2")
    assert (comes.change.category, comes.change.prior_study_uid) == ("new", "1.1")
    assert [(each.tracking_uid, each.change.prior_study_uid) for each in found.resolved] == [("G", "1.1")]


def test_what_an_older_prior_shows_gone_is_not_resolved_anew_against_one_before_it():
    low, gone = finding((-55.0, 10.0, 0.0), 12, "L"), finding((-50.0, 0.0, 55.0), 14, "G")
    part = Prior("1.3", "20240601", reading(low), lambda: scan(slices=slice(0, 34)))
    whole = Prior("1.2", "20240101", reading(low), lambda: VOLUME)
    oldest = Prior("1.1", "20230101", reading(low, gone), lambda: VOLUME)
    assert compare(reading(low), VOLUME, [part, whole, oldest], date="20240701").reading.resolved == ()


def test_no_older_prior_is_opened_where_the_newest_shows_all_and_every_finding_has_its_partner():
    def unopened():
        raise AssertionError("an older prior was opened")

    there = finding(GROWS, 8, "B")  # no target of RECIST, to which the baseline matters
    newest = Prior("1.2", "20240101", reading(there), lambda: VOLUME)
    older = Prior("1.1", "20230101", reading(there, finding(GOES, 8, "X")), unopened)
    found = compare(reading(there), VOLUME, [newest, older], date="20240701").reading
    assert found.findings[0].change.category == "stable"


def test_what_was_gone_at_the_newest_prior_already_is_not_resolved_anew():
    older = replace(PRIOR, study_uid="1.8", date="20230101")
    newest = replace(PRIOR, reading=reading(*EARLIER.findings[:2]))
    assert compare(CURRENT, VOLUME, [newest, older], date="20240701").reading.resolved == ()


def test_what_lies_in_a_part_that_was_not_read_is_not_resolved():
    """The newest scan ends above the lesion that the prior shows: its images further down were left out."""
    first = next(n for n in range(VOLUME.shape[0]) if VOLUME.to_patient((n, 0, 0))[2] > GOES[2] + 9)
    cut = scan(noise=1, slices=slice(first, None))
    unread = Caveat("unread", "some images were not read", first)
    current = replace(reading(*CURRENT.findings[::2]), caveats=(unread,))
    found = compare(current, cut, [PRIOR], date="20240701").reading
    assert found.resolved == ()
    assert {each.tracking_uid for each in found.findings} == {"A", "c"}
    assert "2 of the prior's where this scan has none" in " ".join(found.comparison_notes)
    assert found.caveats == (unread,)


def test_the_guidelines_and_recist_have_their_say(compared):
    grows = {each.guideline: each.result for each in compared.reading.findings[1].assessments}
    assert grows == {
        "Fleischner 2017": "growth",
        "Lung-RADS 2022": "4B",
        "BTS 2015": "VDT up to 400 days",
        "NELSON": "positive",
    }
    response = compared.reading.response
    assert (response.guideline, response.result) == ("RECIST 1.1", "PD")
    assert response.targets == ("D", "B")
    assert (response.baseline_mm, response.current_mm) == pytest.approx((22, 14))


def test_the_slices_of_the_baseline_decide_what_its_targets_are():
    def response(baseline):
        seen = reading(finding(GROWS, 14, "B"))
        oldest = Prior("1.1", "20230101", seen, lambda: baseline)
        newest = Prior("1.9", "20240101", seen, lambda: VOLUME)
        now = reading(finding(GROWS, 22, "b"))
        return compare(now, VOLUME, [newest, oldest], date="20240701").reading.response

    assert response(VOLUME).result == "PD"
    assert response(replace(VOLUME, thickness_mm=8.0)) is None


def test_targets_the_current_study_does_not_share_are_not_evaluable():
    oldest = Prior(
        "1.8", "20230101", reading(finding((0, 0, 0), 30, "x"), finding((9, 9, 9), 20, "y")), lambda: VOLUME
    )
    found = compare(reading(*CURRENT.findings[:2]), VOLUME, [oldest, PRIOR], date="20240701")
    assert found.reference is PRIOR
    assert found.reading.response is None


@pytest.mark.parametrize(("oldest_mm", "category"), [(7.0, "4B"), (8.4, "3")])
def test_a_nodule_that_grows_a_little_from_screen_to_screen_is_held_to_the_oldest_too(oldest_mm, category):
    def study(number, date, mm):
        return Prior(f"1.{number}", date, reading(finding(STAYS, mm, "A")), lambda: VOLUME)

    priors = [study(2, "20230701", 8.4), study(1, "20220701", oldest_mm)]
    found = compare(reading(finding(STAYS, 9.8, "a")), VOLUME, priors, date="20240701").reading.findings[0]
    assert found.change.prior_study_uid == "1.2"
    assert {each.guideline: each.result for each in found.assessments}["Lung-RADS 2022"] == category


def test_a_nodule_that_stays_as_it_is_steps_down_from_study_to_study():
    dates = ("20230101", "20230405", "20231010")
    studies = [
        Prior(f"1.{date}", date, reading(finding(STAYS, 9, uid)), lambda: VOLUME)
        for date, uid in zip(dates, "abc", strict=True)
    ]
    seen = [comparison.reading for comparison in chain(studies)]
    assert [lung_rads_category(one.findings[0]) for one in seen] == ["4A", "3", "2"]
    assert [one.assessments[0].result for one in seen] == ["4A", "3", "2"]
    assert "category 3 before" in seen[2].findings[0].assessments[1].statement


def test_a_nodule_seen_more_often_than_follow_ups_are_due_steps_down():
    dates = ("20230101", "20230225", "20230420")
    studies = [
        Prior(f"1.{date}", date, reading(finding(STAYS, 9, uid)), lambda: VOLUME)
        for date, uid in zip(dates, "abc", strict=True)
    ]
    seen = [comparison.reading for comparison in chain(studies)]
    assert [lung_rads_category(one.findings[0]) for one in seen] == ["4A", "4A", "3"]


def _painted(volume, mask, hu):
    voxels = volume.voxels.copy()
    box = tuple(slice(o, o + n) for o, n in zip(mask.origin, mask.voxels.shape, strict=True))
    voxels[box][mask.voxels] = hu
    return replace(volume, voxels=voxels)


def test_a_solid_part_that_came_into_ground_glass_is_new_and_category_4b():
    glass, whole, core = (
        drawn_on(volume, center, mm)
        for volume, center, mm in (
            (PRIOR_VOLUME, in_prior(STAYS), 14),
            (VOLUME, STAYS, 14),
            (VOLUME, STAYS, 9),
        )
    )
    then = replace(finding(in_prior(STAYS), 14, "A"), kind="ground-glass", mask=glass)
    now = replace(finding(STAYS, 14, "a"), kind="part-solid", mask=whole)
    volume = _painted(_painted(VOLUME, whole, -600), core, 30)
    prior = Prior("1.9", "20240101", reading(then), lambda: _painted(PRIOR_VOLUME, glass, -600))
    found = compare(reading(now), volume, [prior], date="20240701").reading.findings[0]
    change = found.change
    assert (change.category, change.prior_kind, change.prior_solid.diameter_mm) == (
        "stable",
        "ground-glass",
        0.0,
    )
    assert found.solid.diameter_mm > 4
    assert {each.guideline: each.result for each in found.assessments}["Lung-RADS 2022"] == "4B"


def test_a_part_solid_nodule_that_is_solid_now_is_category_4b_and_has_no_growth_by_volume():
    whole, core, now = (
        drawn_on(volume, center, mm)
        for volume, center, mm in (
            (PRIOR_VOLUME, in_prior(STAYS), 14),
            (PRIOR_VOLUME, in_prior(STAYS), 7),
            (VOLUME, STAYS, 14),
        )
    )
    then = replace(finding(in_prior(STAYS), 14, "A"), kind="part-solid", mask=whole)
    mixed = _painted(_painted(PRIOR_VOLUME, whole, -600), core, 30)
    prior = Prior("1.9", "20240101", reading(then), lambda: mixed)
    solid = replace(finding(STAYS, 14, "a"), mask=now)
    found = compare(reading(solid), _painted(VOLUME, now, 30), [prior], date="20240701").reading.findings[0]
    assert (found.kind, found.change.category, found.change.prior_kind) == ("solid", "stable", "part-solid")
    assert 0 < found.change.prior_solid.diameter_mm < 10
    told = {each.guideline: each.result for each in found.assessments}
    assert told == {"Fleischner 2017": "growth", "Lung-RADS 2022": "4B"}


def test_the_parts_of_a_target_that_split_count_together():
    x, y, z = STAYS
    halves = finding((x - 8, y, z), 13, "p"), finding((x + 8, y, z), 12, "q")
    before = Prior("1.9", "20240101", reading(finding(in_prior(STAYS), 30, "A")), lambda: PRIOR_VOLUME)
    response = compare(reading(*halves), VOLUME, [before], date="20240701").reading.response
    assert (response.result, response.current_mm) == ("SD", pytest.approx(25))


def test_an_undated_prior_is_no_baseline():
    undated = replace(PRIOR, date="")
    assert compare(CURRENT, VOLUME, [undated], date="20240701").reading.response is None


def test_thick_slices_that_overlap_ask_for_more_change_than_thin_ones(compared):
    thick = replace(PRIOR, volume=lambda: replace(PRIOR_VOLUME, thickness_mm=6.0))
    stays = compare(CURRENT, VOLUME, [thick], date="20240701").reading.findings[0]
    assert stays.change.limit_percent > compared.reading.findings[0].change.limit_percent + 5


@pytest.mark.parametrize(
    ("mm", "thickness_mm", "told", "opened"),
    [
        (8.5, 1.0, "No follow-up, being stable by volume for 1 year", 0),
        (8.0, 1.0, "By +42 % in 366 days since the first scan: Further CT, as planned.", 0),
        (6.0, 1.0, "By +238 % in 366 days since the first scan: Further work-up", 1),
        (6.0, 20.0, "By +238 % in 366 days since the first scan: Further CT, as planned.", 1),
    ],
)
def test_growth_since_the_first_scan_is_judged_as_any_change_is(mm, thickness_mm, told, opened):
    asked = []

    def volume():
        asked.append(thickness_mm)
        return replace(PRIOR_VOLUME, thickness_mm=thickness_mm)

    first = Prior("1.8", "20230701", reading(finding(in_prior(STAYS), mm, "A")), volume)
    now = reading(finding(STAYS, 9, "a"))
    then = replace(PRIOR, reading=reading(finding(in_prior(STAYS), 9.2, "A")))
    (found,) = compare(now, VOLUME, [then, first], date="20240701").reading.findings
    assert (found.change.prior_study_uid, found.change.category) == ("1.9", "stable")
    advice = {each.guideline: each.recommendation for each in found.assessments}["BTS 2015"]
    assert (advice[: len(told)], len(asked)) == (told, opened)


def test_a_prior_enters_the_forecast_with_its_own_slices(monkeypatch):
    points = []
    monkeypatch.setattr("inference.growth.compare.forecast", lambda known, *_: points.append(known))
    engine, catalogue = object(), Catalogue()
    look = lambda *_: None  # noqa: E731
    compare(CURRENT, VOLUME, [PRIOR], engine, catalogue, date="20240701", look=look)
    assert [(point.slice_mm, point.kind) for point in points[0]] == [(3.0, "solid"), (3.0, "solid")]


def test_suspicions_enter_the_forecast_where_the_same_networks_read(monkeypatch):
    points = []
    monkeypatch.setattr("inference.growth.compare.forecast", lambda known, *_: points.append(known))
    engine, catalogue = object(), Catalogue()
    now = replace(CURRENT, findings=tuple(replace(f, malignancy=0.6) for f in CURRENT.findings))
    then = replace(PRIOR.reading, findings=tuple(replace(f, malignancy=0.3) for f in PRIOR.reading.findings))
    by_other = replace(then, models=(replace(then.model, sha256="cd" * 32),))
    for earlier in (then, by_other):
        prior = replace(PRIOR, reading=earlier)
        compare(now, VOLUME, [prior], engine, catalogue, date="20240701", look=lambda *_: None)
    said = [[point.malignancy for point in known] for known in points if len(known) == 2]
    half = len(said) // 2
    assert half and said[:half] == [[0.3, 0.6]] * half and said[half:] == [[None, 0.6]] * half


def test_a_comparison_survives_being_written_down(compared, tmp_path):
    reading_json.save(compared.reading, tmp_path)
    assert reading_json.load(tmp_path) == compared.reading


def test_a_prior_of_someone_else_changes_nothing_and_says_so():
    stranger = replace(PRIOR, volume=lambda: scan(seed=4, noise=2))
    found = compare(CURRENT, VOLUME, [stranger], date="20240701")
    assert found.reading.findings == assessed(CURRENT, VOLUME).findings
    assert found.reference is None
    assert "same patient" in " ".join(found.reading.comparison_notes)
    older = replace(PRIOR, study_uid="1.8", date="20230101")
    found = compare(CURRENT, VOLUME, [stranger, older], date="20240701")
    assert found.reference is older
    assert found.reading.findings[0].change.prior_study_uid == "1.8"


@pytest.mark.parametrize(
    ("date", "prior_date", "days", "doubling"),
    [
        ("20240701", "", 0, False),
        ("", "20240101", 0, False),
        ("99999999", "20240101", 0, False),
    ],
)
def test_without_sound_dates_lesions_are_linked_but_nothing_has_a_time(date, prior_date, days, doubling):
    found = compare(CURRENT, VOLUME, [replace(PRIOR, date=prior_date)], date=date)
    change = found.reading.findings[1].change
    assert change.category == "increased"
    assert change.days == days
    assert (change.doubling_time_days is not None) is doubling


def test_another_scan_of_the_same_day_names_lesions_and_hides_no_growth(compared):
    again = reading(finding(STAYS, 9, "A"), finding(GROWS, 14, "B"), finding(COMES, 11, "X"))
    same = Prior("1.10", "20240701", again, lambda: scan(noise=3))
    beside = compare(CURRENT, VOLUME, [same, PRIOR], date="20240701")
    assert beside.reference is PRIOR
    assert [each.tracking_uid for each in beside.reading.findings] == ["A", "B", "X"]
    assert [each.change for each in beside.reading.findings] == [
        each.change for each in compared.reading.findings
    ]
    assert beside.reading.resolved == compared.reading.resolved
    told, without = beside.reading.response, compared.reading.response
    assert (told.result, told.studies, told.current_mm) == (without.result, 2, without.current_mm)

    alone = compare(CURRENT, VOLUME, [same], date="20240701")
    assert [(each.tracking_uid, each.change) for each in alone.reading.findings] == [
        ("A", None),
        ("B", None),
        ("X", None),
    ]
    assert (alone.reference, alone.reading.resolved, alone.reading.response) == (None, (), None)
    assert "same day tells no change" in " ".join(alone.reading.comparison_notes)


def test_a_study_of_a_later_date_is_no_prior():
    found = compare(CURRENT, VOLUME, [replace(PRIOR, date="20250101")], date="20240701")
    assert found.reading.findings == assessed(CURRENT, VOLUME).findings
    assert "study of 2025-01-01 is later" in found.reading.comparison_notes[0]


def test_priors_that_are_not_needed_are_not_opened():
    def never():
        raise AssertionError("opened for nothing")

    small = reading(EARLIER.findings[0])
    both = [replace(PRIOR, study_uid="1.1", date="20200101", reading=small, volume=never), PRIOR]
    assert compare(reading(CURRENT.findings[0]), VOLUME, both, date="20240701").reference is PRIOR


@pytest.mark.parametrize("uids", [("1.1", "1.9"), ("1.9", "1.1")])
def test_of_two_priors_of_one_day_the_first_given_is_the_newest(uids):
    newer, older = (replace(PRIOR, study_uid=uid) for uid in uids)
    assert compare(CURRENT, VOLUME, [newer, older], date="20240701").reference is newer
    undated = [replace(each, date="") for each in (newer, older)]
    assert compare(CURRENT, VOLUME, undated, date="20240701").reference is undated[0]


@pytest.mark.parametrize("uids", [("1.1", "1.9"), ("1.9", "1.1")])
def test_a_chain_takes_studies_of_one_day_in_their_order(uids):
    newer, older = (
        Prior(uid, "20240101", reading(finding(STAYS, mm, uid)), lambda: VOLUME)
        for uid, mm in zip(uids, (10, 9), strict=True)
    )
    current = Prior("1.5", "20240701", reading(finding(STAYS, 10, "now")), lambda: VOLUME)
    first, second, third = chain([current, newer, older])
    assert first.reading.findings[0].tracking_uid == older.study_uid
    assert second.reference is None
    assert second.reading.findings[0].tracking_uid == older.study_uid
    assert third.reference.study_uid == newer.study_uid


def test_no_prior_no_change():
    found = compare(CURRENT, VOLUME, [], date="20240701")
    assert found.reading.findings == assessed(CURRENT, VOLUME).findings
    assert "compare" in found.reading.seconds


def test_a_lesion_is_followed_through_three_studies_and_forecast():
    def study(number, date, diameter):
        lesion = finding(GROWS, diameter, f"{number}")
        volume = scan(noise=number)
        return Prior(f"1.{number}", date, reading(lesion), lambda: volume)

    catalogue = Catalogue()
    engine = EmbeddedEngine(catalogue, threads=1)
    studies = [study(3, "20240701", 14.0), study(1, "20230701", 9.0), study(2, "20240101", 11.3)]
    first, second, third = (
        c.reading.findings[0] for c in chain(studies, engine, catalogue, look=lambda *_: None)
    )
    assert first.change is None
    assert {first.tracking_uid, second.tracking_uid, third.tracking_uid} == {"1"}
    assert second.change.forecast is None
    ahead = third.change.forecast
    assert (ahead["points"], ahead["course"]) == (3, "growing")
    assert ahead["low_mm3"] < ahead["volume_mm3"] < ahead["high_mm3"]
    assert ahead["volume_mm3"] > third.volume_mm3 == ahead["last_value_mm3"]
    assert third.change.prior_study_uid == "1.2"


@pytest.mark.parametrize(
    ("earlier", "later", "days"),
    [
        ("20240101", "20240701", 182),
        ("20240701", "20240101", -182),
        ("", "20240101", None),
        ("2024013", "x", None),
        ("19000101", "20240101", None),
    ],
)
def test_days_between_dates(earlier, later, days):
    assert days_between(earlier, later) == days


def test_the_limit_is_the_networks_own_where_it_measured_both_scans():
    catalogue = Catalogue()
    measured = catalogue.find("lung-nodules-characteriser")
    now = replace(reading(finding(GROWS, 9.4, "b")), models=(measured.identity,))
    then = replace(reading(finding(in_prior(GROWS), 8, "B")), models=(measured.identity,))
    by_other = replace(then, models=(replace(measured.identity, sha256="0" * 64),))

    def judged(prior):
        compared = compare(now, VOLUME, [replace(PRIOR, reading=prior)], catalogue=catalogue, date="20240701")
        return compared.reading.findings[0].change

    assert judged(then).volume_change_percent == pytest.approx(62.2, abs=0.1)
    assert judged(then).limit_percent < 55 < judged(by_other).limit_percent
    assert (judged(then).category, judged(by_other).category) == ("increased", "stable")
