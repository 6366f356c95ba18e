"""Lesions that one of two scans was read without are looked for where the other has them."""

from dataclasses import replace

import numpy as np
import pytest

from inference import reading_json
from inference.findings import Code
from inference.growth.compare import compare
from inference.growth.look import look_of
from tests.inference.growth.chest import finding
from tests.inference.growth.pair import COMES, CURRENT, EARLIER, GOES, PRIOR, PRIOR_VOLUME, VOLUME, in_prior

pytestmark = pytest.mark.usefixtures("each_pair_aligned_once")


def test_a_lesion_that_was_missed_is_looked_for_at_its_aligned_place():
    asked = []

    def look(volume, center_mm, diameter_mm):
        asked.append((volume, center_mm, diameter_mm))
        if volume is VOLUME:
            return finding(tuple(np.add(center_mm, (1, 0, 0))), 11.5)
        return finding(center_mm, 11.2)

    found = compare(CURRENT, VOLUME, [PRIOR], date="20240701", look=look)
    here, there = ([each for each in asked if each[0] is v] for v in (VOLUME, PRIOR_VOLUME))
    assert np.linalg.norm(np.subtract(here[0][1], GOES)) < 3
    assert here[0][2] == pytest.approx(12)
    assert np.linalg.norm(np.subtract(there[0][1], in_prior(COMES))) < 3
    assert found.reading.resolved == ()
    assert [f.tracking_uid for f in found.reading.findings] == ["A", "B", "c", "D"]
    assert [f.change.category for f in found.reading.findings] == ["stable", "increased", "stable", "stable"]
    assert [f.tracking_uid for f in found.seen_again["1.9"]] == ["c"]


def test_what_a_look_finds_has_the_side_and_site_of_the_lesion_it_looked_for_and_no_certainty():
    left = {"side": "left", "site": Code("SCT", "44714003", "Left upper lobe of lung"), "kind": "solid"}
    there, here = (
        replace(each, findings=tuple(replace(f, **left) for f in each.findings))
        for each in (EARLIER, CURRENT)
    )

    def look(volume, center_mm, diameter_mm):
        return replace(finding(center_mm, 11.2 if volume is PRIOR_VOLUME else 11.5), score=0.99)

    found = compare(here, VOLUME, [replace(PRIOR, reading=there)], date="20240701", look=look)
    *searched, again = found.reading.findings
    assert [each.by_look for each in searched] == [False] * 3
    for seen in (again, *found.seen_again["1.9"]):
        assert {name: getattr(seen, name) for name in left} == left
        assert (seen.by_look, seen.score, seen.certainty) == (True, 0.99, None)
        assert "Found at its place in the prior" in seen.caveat
    assert searched[0].certainty == searched[0].score and not searched[0].caveat
    assert reading_json.from_json(reading_json.to_json(found.reading)).findings[3].by_look


@pytest.mark.parametrize(
    ("seen", "score", "why"),
    [
        (lambda place: finding(place, 5, mean_hu=-716), 0.6, "a faint vessel where a solid lesion was"),
        (lambda place: finding(np.add(place, (0, 0, 9)), 12), 0.6, "something beside the aligned place"),
        (lambda place: finding(np.add(place, (0, 0, 30)), 36), 1.0, "something else, however sure the look"),
    ],
)
def test_what_a_look_finds_must_be_like_the_lesion_it_looked_for(seen, score, why):
    look = lambda _, place, __: replace(seen(place), score=score)  # noqa: E731
    prior = replace(PRIOR, reading=_scored(EARLIER, 0.6))
    found = compare(_scored(CURRENT, 0.6), VOLUME, [prior], date="20240701", look=look)
    assert [f.tracking_uid for f in found.reading.resolved] == ["D"], why
    assert found.reading.findings[2].change.category == "new", why
    assert not found.seen_again


def test_a_vessel_left_where_a_lesion_was_is_not_the_lesion():
    def resolved(score):
        look = lambda _, place, __: replace(finding(place, 11), score=score)  # noqa: E731
        return compare(CURRENT, VOLUME, [PRIOR], date="20240701", look=look).reading.resolved

    assert [f.tracking_uid for f in resolved(0.8)] == ["D"], "the lesion itself scored 0.9"
    assert resolved(0.88) == ()


def test_what_only_a_look_had_found_is_found_again_however_sure_that_look_was():
    *others, goes = EARLIER.findings
    look = lambda _, place, __: replace(finding(place, 11), score=0.6)  # noqa: E731
    for score in (0.0, 0.9, 1.0):
        there = replace(EARLIER, findings=(*others, replace(goes, by_look=True, score=score)))
        prior = replace(PRIOR, reading=there)
        found = compare(CURRENT, VOLUME, [prior], date="20240701", look=look).reading
        assert found.resolved == ()
        assert "D" in [each.tracking_uid for each in found.findings]


def _scored(of, score):
    return replace(of, findings=tuple(replace(each, score=score) for each in of.findings))


def test_a_lesion_that_was_smaller_is_looked_for_at_half_its_size_too():
    def look(volume, center_mm, diameter_mm):
        return finding(center_mm, 5.5) if volume is PRIOR_VOLUME and diameter_mm < 6 else None

    comes = compare(CURRENT, VOLUME, [PRIOR], date="20240701", look=look).reading.findings[2]
    assert (comes.change.category, comes.change.prior_center_mm) == (
        "increased",
        pytest.approx(in_prior(COMES), abs=3),
    )


def test_a_look_that_finds_a_lesion_already_listed_adds_nothing():
    found = compare(
        CURRENT,
        VOLUME,
        [PRIOR],
        date="20240701",
        look=lambda volume, *_: CURRENT.findings[0] if volume is VOLUME else None,
    )
    assert len(found.reading.findings) == 3
    assert len(found.reading.resolved) == 1


def test_a_reader_without_a_closer_look_has_none():
    assert look_of("chest-xray", None, None) is None
    assert look_of("lung-nodules", None, None) is None
