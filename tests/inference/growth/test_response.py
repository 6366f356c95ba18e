"""RECIST over several studies, and over those that a node still has."""

from dataclasses import replace

import pytest

from inference import reading_json
from inference.findings import Change
from inference.growth.response import respond
from tests.inference.growth.chest import finding, reading


def at(*lesions, resolved=(), response=None):
    """A reading of lesions, (UID, mm) or (UID, mm, category)."""

    def made(uid, mm, category="stable"):
        change = Change("1.1", "20240101", 60, category, None, None, True, 1.0)
        return replace(finding((0, 0, 0), mm, uid), change=change)

    found = reading(*(made(*each) for each in lesions))
    return replace(found, resolved=tuple(made(uid, 20) for uid in resolved), response=response)


@pytest.mark.parametrize(
    ("course", "result"),
    [
        ([at(("a", 30)), at(("a", 30), ("b", 20, "new"))], "PD"),
        ([at(("a", 30)), at(("a", 30), ("b", 20, "new")), at(("a", 20), ("b", 20))], "PD"),
        ([at(("a", 30)), at(("a", 30), ("b", 20, "new")), at(("a", 20), ("b", 8))], "PD"),
        ([at(("a", 30)), at(("a", 30), ("b", 20, "new")), at(("a", 20), resolved=("b",))], "PR"),
        ([at(("a", 30)), at(("a", 30), ("b", 8, "new"))], "SD"),
        ([at(("a", 30)), at(("a", 30), ("b", 8, "new")), at(("a", 30), ("b", 12))], "PD"),
        ([at(("a", 30), ("b", 12, "new")), at(("a", 30), ("b", 12))], "SD"),
        ([at(("a", 30)), at(resolved=("a",)), at(("a", 4))], "PD"),
    ],
)
def test_a_new_lesion_is_progression_for_as_long_as_it_is_there_and_may_be_measured(course, result):
    assert thin(course).result == result


def thin(course, **known):
    """By scans of 1 mm."""
    return respond(course, [1.0] * len(course), **known)


def _as_a_node_sees_them(course, at_most=3):
    """Each reading judged with as many before it as are kept, and written down."""
    judged = []
    for point in course:
        response = thin([*judged[-at_most:], point]) if judged else None
        kept = replace(point, response=response)
        judged.append(reading_json.from_json(reading_json.to_json(kept)))
    return judged


SMALL_NEW = at(("a", 30), ("n", 8, "new"))


@pytest.mark.parametrize(
    "course",
    [
        [at(("a", mm), ("b", mm)) for mm in (100, 50, 52, 55, 58, 61)],
        [at(("a", 30)), at(("a", 30), ("n", 20, "new")), *[at(("a", 20), ("n", 20))] * 5],
        [at(("a", 30)), SMALL_NEW, *[at(("a", 30), ("n", 8))] * 4, at(("a", 30), ("n", 9))],
        [at(("a", 30)), SMALL_NEW, *[at(("a", 30), ("n", 8))] * 4, at(("a", 9), ("n", 12))],
        [at(("a", 30), ("b", 20)), at(("a", 20), resolved=("b",)), *[at(("a", 20))] * 5],
        [at(("a", 30)), at(resolved=("a",)), *[at()] * 4, at(("a", 4))],
        [at(("a", 30), ("s", 6)), at(resolved=("a",)), *[at()] * 5],
    ],
)  # fmt: skip
def test_a_node_that_sees_only_the_last_priors_judges_by_the_baseline_all_the_same(course):
    whole = thin(course)
    known = _as_a_node_sees_them(course)[-1].response
    assert (known.result, known.baseline_mm, known.nadir_mm) == (
        whole.result,
        whole.baseline_mm,
        whole.nadir_mm,
    )
    assert (known.targets, known.studies) == (whole.targets, len(course))
    assert f"the first of {len(course)} studies compared" in known.statement


def test_the_parts_of_a_target_that_split_count_together_at_every_later_study():
    whole, halves = at(("a", 36)), at(("a", 18), ("q", 18))
    split = replace(halves, response=thin([whole, halves], parts={"q": "a"}))
    kept = reading_json.from_json(reading_json.to_json(split))
    again = replace(halves, response=thin([whole, kept, halves]))
    for course in ([whole, kept, halves], [kept, halves], [whole, kept, again, halves], [again, halves]):
        later = thin(course)
        assert (later.result, later.baseline_mm, later.current_mm) == ("SD", 36, 36)
    in_three = thin([again, at(("a", 18), ("q", 9), ("r", 9))], parts={"r": "q"})
    assert (in_three.result, in_three.parts) == ("SD", {"q": "a", "r": "a"})
    for left in (at(("a", 18), resolved=("q",)), at(("q", 18), resolved=("a",))):
        assert thin([again, left]).result == "PR"


def test_what_can_be_measured_goes_by_the_slices_of_the_scan_that_it_is_measured_on():
    grows = [at(("a", 14)), at(("a", 22))]
    assert [respond(grows, slices) is None for slices in ([1, 8], [8, 1])] == [False, True]
    comes = [at(("a", 30)), at(("a", 30), ("n", 14, "new")), at(("a", 30), ("n", 14))]
    found = [respond(comes, slices).result for slices in ([1, 8, 8], [8, 8, 8], [8, 1, 8])]
    assert found == ["SD", "SD", "PD"]


def test_what_is_called_the_overall_response_was_judged_by_more_than_the_targets():
    def told(*points):
        said = thin(points)
        return said.is_overall, said.statement.split(",")[0], "of 2 target lesions" in said.statement

    alone, overall = "Response of the target lesions", "Overall response"
    both = at(("a", 20), ("b", 15))
    assert told(both, both) == (False, alone, True)
    assert told(at(("a", 20), ("b", 6)), at(("a", 20), ("b", 30))) == (False, alone, False)
    assert told(both, at(("a", 20), ("b", 15), ("n", 14, "new"))) == (True, overall, True)
    assert told(both, at(resolved=("a", "b"))) == (True, overall, True)
    assert told(at(("a", 20), ("b", 6)), at(("b", 6), resolved=("a",))) == (True, overall, False)


def test_without_the_response_of_the_oldest_prior_the_words_speak_of_the_studies_compared_alone():
    last = [at(("a", mm)) for mm in (52, 55, 58, 61)]
    assert thin(last).statement == (
        "Response of the target lesions, if under treatment for cancer: "
        "stable disease; sum of diameters of 1 target lesion 61 mm, "
        "at the first of 4 studies compared 52 mm, at its smallest 52 mm."
    )
    unsaid = replace(thin([at(("a", 100)), at(("a", 52))]), studies=0)
    assert thin([replace(last[0], response=unsaid), *last[1:]]).baseline_mm == pytest.approx(52)
