"""RECIST 1.1 at its edges."""

from dataclasses import replace

import pytest

from inference.growth.recist import (
    Earlier,
    Lesion,
    choose_targets,
    evaluate,
    is_measurable,
    overall_response,
    target_response,
)


def lesion(uid: str, mm: float, organ: str = "lung", node: bool = False) -> Lesion:
    return Lesion(uid, organ, mm * 1.4 if node else mm, mm if node else mm * 0.8, node)


@pytest.mark.parametrize(
    ("mm", "node", "slice_mm", "measurable"),
    [
        (9.9, False, 1, False),
        (10.0, False, 5, True),
        (10.0, False, 6, False),
        (12.0, False, 6, True),
        (14.9, True, 1, False),
        (15.0, True, 1, True),
    ],
)
def test_measurable(mm, node, slice_mm, measurable):
    assert is_measurable(lesion("a", mm, node=node), slice_mm) is measurable


def test_targets_are_the_largest_five_and_two_in_an_organ():
    lung = [lesion(f"lung{n}", 30 - n) for n in range(4)]
    liver = [lesion(f"liver{n}", 20 - n, "liver") for n in range(3)]
    nodes = [lesion(f"node{n}", 40 - n, f"station {n}", node=True) for n in range(3)]
    chosen = choose_targets([*lung, *liver, *nodes])
    assert [one.uid for one in chosen] == ["node0", "node1", "lung0", "lung1", "liver0"]


@pytest.mark.parametrize(
    ("baseline", "nadir", "current", "expected"),
    [
        (100, 100, 70.1, "SD"),
        (100, 100, 70.0, "PR"),
        (100, 50, 59.9, "PR"),
        (100, 50, 60.0, "PD"),
        (20, 20, 24.9, "SD"),
        (20, 20, 25.0, "PD"),
        (100, 80, 95.9, "SD"),
        (100, 80, 96.0, "PD"),
        (100, 0, 6.0, "PD"),
    ],
)
def test_response_by_the_sum_of_diameters(baseline, nadir, current, expected):
    assert target_response(baseline, nadir, current) == expected


@pytest.mark.parametrize(
    ("target", "gone", "new_lesions", "overall"),
    [
        ("CR", True, False, "CR"),
        ("CR", False, False, "PR"),
        ("PR", False, False, "PR"),
        ("SD", False, False, "SD"),
        ("PD", False, False, "PD"),
        ("CR", True, True, "PD"),
        ("PR", False, True, "PD"),
        ("SD", False, True, "PD"),
    ],
)
def test_table_1_makes_the_overall_response_of_the_targets_and_the_rest(target, gone, new_lesions, overall):
    assert overall_response(target, gone=gone, new_lesions=new_lesions) == overall


def test_a_new_lesion_is_no_progression_of_the_targets():
    course = evaluate([[lesion("a", 20)], [lesion("a", 20), lesion("b", 15)]], new={"b"})
    assert (course.target, course.response) == ("SD", "PD")
    shrunk = evaluate([[lesion("a", 20)], [lesion("a", 12), lesion("b", 15)]], new={"b"})
    assert (shrunk.target, shrunk.response) == ("PR", "PD")


def test_targets_that_are_gone_respond_completely_whatever_else_stays():
    course = evaluate([[lesion("a", 20), lesion("b", 6)], [lesion("a", 0), lesion("b", 6)]])
    assert (course.target, course.response) == ("CR", "PR")


def test_a_course_over_four_time_points_is_judged_against_its_nadir():
    points = [[lesion("a", mm), lesion("small", 6)] for mm in (40, 20, 16, 22)]
    course = evaluate(points)
    assert course is not None
    assert course.targets == ("a",)
    assert (course.baseline_mm, course.nadir_mm, course.response) == (40, 16, "PD")
    assert evaluate(points[:3]).response == "PR"


@pytest.mark.parametrize(
    ("b", "response"),
    [
        ([lesion("b", 20)], "PD"),
        ([lesion("b", 8)], "PD"),
        ([], "PD"),
        ([lesion("b", 0)], "PR"),
    ],
)
def test_a_lesion_new_since_the_baseline_is_progression_until_it_is_gone(b, response):
    points = [[lesion("a", 30)], [lesion("a", 30), lesion("b", 20)], [lesion("a", 20), *b]]
    assert evaluate(points, new={"b"}).response == response


@pytest.mark.parametrize(
    ("then", "last", "response"),
    [
        ([lesion("a", 0)], [lesion("a", 4)], "PD"),
        ([lesion("a", 0)], [lesion("a", 0)], "CR"),
        ([lesion("a", 0), lesion("b", 0)], [lesion("a", 0), lesion("b", 3)], "PD"),
        ([lesion("a", 0), lesion("b", 6)], [lesion("a", 4), lesion("b", 6)], "PR"),
        ([lesion("a", 0), lesion("b", 6)], [lesion("a", 6), lesion("b", 6)], "PD"),
    ],
)
def test_what_is_back_after_a_complete_response_is_progression(then, last, response):
    """After a partial one it is added to the sum and judged with it."""
    baseline = [lesion("a", 30), *[lesion("b", 6) for each in then if each.uid == "b"]]
    course = evaluate([baseline, then, last])
    assert course.response == response
    assert evaluate([baseline, then, then, last]).response == response


def test_a_node_that_was_normal_and_grows_is_judged_by_its_sum():
    points = [[lesion("n", mm, node=True)] for mm in (18, 9, 11)]
    assert evaluate(points).response == "PR"


SUMS = (100, 50, 52, 55, 58, 61)


@pytest.mark.parametrize("start", range(1, 5))
def test_a_course_that_began_before_its_time_points_has_its_baseline_and_nadir(start):
    points = [[lesion("a", mm), lesion("b", mm)] for mm in SUMS]
    whole = evaluate(points)
    assert (whole.response, whole.baseline_mm, whole.nadir_mm) == ("PD", 200, 100)
    before = evaluate(points[: start + 1])
    earlier = Earlier(before.targets, (before.baseline_mm, before.nadir_mm, before.sums_mm[-1]))
    follows = evaluate(points[start:], earlier=earlier)
    assert (follows.response, follows.baseline_mm, follows.nadir_mm) == ("PD", 200, 100)
    assert evaluate(points[2:]).response == "SD"


def test_a_course_that_began_before_asks_for_all_of_its_lesions():
    gone = [lesion("a", 0)]
    earlier = Earlier(("a",), (30, 30, 10), others=frozenset({"b"}))
    assert evaluate([[lesion("a", 10)], gone], earlier=earlier).response == "PR"
    assert evaluate([[lesion("a", 10)], [*gone, lesion("b", 0)]], earlier=earlier).response == "CR"
    complete = Earlier(("a",), (30, 30, 0), complete=True)
    assert evaluate([gone, [lesion("a", 4)]], earlier=complete).response == "PD"


def test_a_target_gone_beside_a_lesion_that_stays_is_no_complete_response():
    before, gone = [lesion("a", 20), lesion("b", 6)], lesion("a", 0)
    assert evaluate([before, [gone, lesion("b", 6)]]).response == "PR"
    assert evaluate([before, [gone, lesion("b", 0)]]).response == "CR"
    assert evaluate([before, [gone]]).response == "PR"


def test_what_is_cut_is_no_target_and_makes_one_not_evaluable():
    cut = replace(lesion("a", 30), cut=True)
    assert [one.uid for one in choose_targets([cut, lesion("b", 12)])] == ["b"]
    assert evaluate([[lesion("a", 30)], [cut]]) is None


def test_a_follow_up_that_cuts_a_target_is_passed_over():
    cut = [replace(lesion("a", 5), cut=True), lesion("b", 12)]
    before, after = [lesion("a", 30), lesion("b", 12)], [lesion("a", 40), lesion("b", 12)]
    course = evaluate([before, cut, after])
    assert (course.response, course.sums_mm, course.nadir_mm) == ("PD", (42, 52), 42)
    assert evaluate([before, after, cut]) is None


def test_a_target_that_was_not_seen_is_not_evaluable():
    baseline = [lesion("a", 30), lesion("b", 20)]
    assert evaluate([baseline, []]) is None
    assert evaluate([baseline, [lesion("x", 30), lesion("y", 20)]]) is None
    assert evaluate([baseline, [lesion("a", 30)], baseline]) is None
    assert evaluate([[lesion("", 30)], [lesion("", 20)]]) is None


def test_the_parts_of_a_lesion_that_split_are_summed():
    assert evaluate([[lesion("a", 30)], [lesion("a", 18), lesion("a", 11)]]).sums_mm == (30, 29)


def test_nodes_below_10_mm_are_normal():
    assert evaluate([[lesion("n", 18, node=True)], [lesion("n", 9.9, node=True)]]).response == "CR"
    assert evaluate([[lesion("n", 18, node=True)], [lesion("n", 10.0, node=True)]]).response == "PR"


def test_no_target_no_response():
    assert evaluate([[lesion("a", 20)]]) is None
    assert evaluate([[lesion("a", 9)], [lesion("a", 12)]]) is None
    new_alone = evaluate([[], [lesion("a", 12)]], new={"a"})
    assert (new_alone.target, new_alone.response) == (None, "PD")
