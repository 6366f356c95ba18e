"""Which lesion is which."""

from dataclasses import replace

import numpy as np
import pytest

from inference.anatomy import Anatomy
from inference.growth.align import Alignment
from inference.growth.link import Links, link
from inference.volume import Volume
from tests.inference.growth.chest import finding


def _affine(step_mm=3.0):
    affine = np.eye(4)
    affine[:3, :3] = np.fliplr(np.eye(3)) * 3.0
    affine[2, 0] = step_mm
    return affine


def _alignment(shift=(0.0, 0.0, 0.0)) -> Alignment:
    """No displacement but a shift."""
    all_of_it = np.ones((60, 60, 60), bool)
    anatomy = Anatomy(np.zeros(all_of_it.shape, np.float32), all_of_it, all_of_it, all_of_it, _affine())
    rigid = np.eye(4)
    rigid[:3, 3] = shift
    vectors = np.zeros((*all_of_it.shape, 3), np.float32)
    return Alignment(anatomy, anatomy, rigid, vectors, None, sound=True, reason="")


def _volume(slices=60, missing=(), step_mm=3.0) -> Volume:
    """From the origin upwards; the slices of the numbers ``missing`` were not sent."""
    images = tuple(None if n in missing else (f"1.2.{n}", None) for n in range(slices))
    return Volume(np.zeros((slices, 60, 60), np.int16), _affine(step_mm), "1.2", "1.3", images)


SAME = _alignment()
WHOLE = _volume()


def _linked(current, prior, alignment=SAME, current_volume=WHOLE, prior_volume=WHOLE) -> Links:
    return link(current, prior, alignment, current_volume, prior_volume)


PLACES = [(30.0, 30.0, 30.0), (60.0, 90.0, 60.0), (120.0, 40.0, 100.0)]


def test_lesions_are_linked_to_themselves_in_any_order():
    prior = [finding(place, 8 + n) for n, place in enumerate(PLACES)]
    for order in ([0, 1, 2], [2, 0, 1], [1, 2, 0]):
        links = _linked([prior[n] for n in order], prior).links
        assert {each.current: each.prior for each in links} == dict(enumerate(order))
        assert all(each.confidence > 0.99 for each in links)


def test_the_prior_is_brought_into_the_current_frame_first():
    moved = _alignment(shift=(25.0, 0.0, -10.0))
    prior = [finding(tuple(np.add(place, (25, 0, -10))), 8) for place in PLACES]
    found = _linked([finding(place, 8) for place in PLACES], prior, moved)
    assert len(found.links) == 3
    assert max(each.distance_mm for each in found.links) < 1e-6


def test_what_is_alone_is_new_or_resolved():
    found = _linked(
        [finding(PLACES[0], 8), finding(PLACES[1], 8)],
        [finding(PLACES[0], 8), finding(PLACES[2], 8)],
    )
    assert (found.new, found.resolved) == ((1,), (1,))


def test_beyond_the_gate_nothing_is_linked():
    near = _linked([finding(PLACES[0], 8)], [finding((36.0, 30.0, 30.0), 8)])
    far = _linked([finding(PLACES[0], 8)], [finding((44.0, 30.0, 30.0), 8)])
    assert len(near.links) == 1
    assert far.links == () and far.new == (0,) and far.resolved == (0,)


def test_a_lesion_may_grow_tenfold_and_stay_itself():
    assert len(_linked([finding(PLACES[0], 22)], [finding(PLACES[0], 7)]).links) == 1


def test_of_two_neighbours_size_and_density_decide():
    left, right = (60.0, 60.0, 60.0), (66.0, 60.0, 60.0)
    middle = (63.0, 60.0, 60.0)
    prior = [finding(left, 6, mean_hu=-500.0), finding(right, 12, mean_hu=40.0)]
    found = _linked([finding(middle, 12, mean_hu=40.0)], prior)
    assert [(each.current, each.prior) for each in found.links] == [(0, 1)]


def test_confidence_falls_where_another_link_is_as_likely():
    prior = [finding((60.0, 60.0, 60.0), 8), finding((66.0, 60.0, 60.0), 8)]
    doubtful = _linked([finding((63.0, 60.0, 60.0), 8)], prior)
    assert len(doubtful.links) == 1
    assert doubtful.links[0].confidence == pytest.approx(0.5, abs=0.05)


def test_what_the_other_scan_does_not_show_is_neither_new_nor_resolved():
    low = _volume(20)
    found = _linked([finding((30.0, 30.0, 90.0), 8)], [finding((90.0, 30.0, 120.0), 8)], SAME, low, low)
    assert (found.new, found.resolved) == ((), ())
    assert (found.unseen_current, found.unseen_prior) == ((0,), (0,))


def test_a_slice_that_was_not_sent_shows_nothing():
    gap = _volume(36, missing=(17, 18), step_mm=5.0)
    alone = [finding((30.0, 30.0, 87.5), 6)]
    assert _linked(alone, [], prior_volume=gap).unseen_current == (0,)
    assert _linked([], alone, current_volume=gap).unseen_prior == (0,)
    assert _linked(alone, [], current_volume=gap).new == (0,)


@pytest.mark.parametrize(("diameter_mm", "unseen"), [(3, (0,)), (8, ())])
def test_what_is_larger_than_the_slices_that_were_not_sent_would_be_seen_around_them(diameter_mm, unseen):
    gap = _volume(180, missing=(60, 61), step_mm=1.0)
    found = _linked([finding((30.0, 30.0, 60.5), diameter_mm)], [], prior_volume=gap)
    assert found.unseen_current == unseen


def test_a_lesion_that_fell_into_two_has_split():
    found = _linked(
        [finding((58.0, 60.0, 60.0), 9), finding((69.0, 60.0, 60.0), 7)],
        [finding((62.0, 60.0, 60.0), 18)],
    )
    assert len(found.links) == 1
    assert found.split == ((0, 1 - found.links[0].current),)
    assert found.new == ()


def test_two_lesions_that_grew_together_have_merged():
    prior = [finding((57.0, 60.0, 60.0), 9), finding((69.0, 60.0, 60.0), 8)]
    found = _linked([finding((62.0, 60.0, 60.0), 22)], prior)
    assert len(found.links) == 1
    assert found.merged == ((1 - found.links[0].prior, 0),)
    assert found.resolved == ()


def test_an_alignment_that_is_not_sound_links_nothing():
    with pytest.raises(ValueError, match="not sound"):
        _linked(
            [finding(PLACES[0], 8)],
            [finding(PLACES[0], 8)],
            replace(SAME, sound=False, reason="other patient"),
        )


def test_without_findings_there_are_no_links():
    assert _linked([], []).links == ()
    assert _linked([], [finding(PLACES[0], 8)]).resolved == (0,)
    assert _linked([finding(PLACES[0], 8)], []).new == (0,)
