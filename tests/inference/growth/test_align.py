"""Two scans come into one frame, or are refused with a reason."""

from dataclasses import replace

import numpy as np
import pytest

from inference.growth.align import Quality, align, judge_quality
from tests.inference.growth.chest import lung_points, moved_by, scan

SHIFT = (12.0, -9.0, 18.0)


@pytest.fixture(scope="module")
def breathing():
    """A prior 30 mm further in, elsewhere on the table, stored feet first and prone."""
    return align(scan(noise=1), scan(30.0, SHIFT, noise=2, reverse=(0, 1)))


def test_points_are_found_across_a_breath_of_30_mm(breathing):
    assert breathing.sound, breathing.reason
    truth = moved_by(lung_points(), 30.0, SHIFT)
    error = np.linalg.norm(breathing.to_prior(lung_points()) - truth, axis=1)
    assert np.median(np.linalg.norm(lung_points() + SHIFT - truth, axis=1)) > 10
    assert np.median(error) < 2.0
    assert np.percentile(error, 95) < 6.0


def test_the_way_there_and_back_ends_where_it_began(breathing):
    back = breathing.to_current(breathing.to_prior(lung_points()))
    assert np.abs(back - lung_points()).max() < 0.1


def test_its_quality_is_measured(breathing):
    quality = breathing.quality
    assert quality.detail > 0.6
    assert quality.body_dice > 0.95
    assert quality.lung_dice > 0.95
    assert quality.folded < 0.01
    assert 0.02 < quality.uneven < 0.3
    assert 1.1 < quality.mutual_information < 2


def test_a_scan_of_the_upper_half_alone_is_aligned_where_both_reach():
    half = align(scan(noise=1), scan(10.0, SHIFT, noise=2, slices=slice(34, None)))
    assert half.sound, half.reason
    shown = half.prior_reaches(lung_points())
    assert shown.any() and not shown.all()
    truth = moved_by(lung_points(), 10.0, SHIFT)
    error = np.linalg.norm(half.to_prior(lung_points()) - truth, axis=1)[shown]
    assert np.median(error) < 2.5


def test_another_patient_is_refused(breathing):
    other = align(scan(noise=1), scan(10.0, seed=4, noise=2))
    assert other.quality.mutual_information < breathing.quality.mutual_information
    assert not other.sound
    assert "same patient" in other.reason


def test_the_same_patient_mirrored_is_refused():
    prior = scan(noise=2)
    mirrored = replace(prior, voxels=np.ascontiguousarray(prior.voxels[:, :, ::-1]))
    other = align(scan(noise=1), mirrored)
    assert not other.sound
    assert other.quality.uneven > 0.35


def test_another_body_region_is_refused():
    other = align(scan(noise=1), scan(seed=4, lungs=False, noise=2))
    assert not other.sound


def test_a_single_slice_is_refused_before_any_work():
    refused = align(scan(), scan(slices=slice(30, 31)))
    assert not refused.sound
    assert "1 slices" in refused.reason
    assert not refused.prior_reaches([(0.0, 0.0, 0.0)]).any()


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"body_dice": 0.84}, "outlines"),
        ({"lung_dice": 0.84}, "lungs"),
        ({"detail": 0.49}, "inside"),
        ({"folded": 0.02}, "folds"),
        ({"uneven": 0.36, "detail": 0.74}, "mirrored"),
    ],
)
def test_each_measure_of_quality_can_refuse(changed, word):
    good = {
        "correlation": 0.9,
        "mutual_information": 1.2,
        "detail": 0.76,
        "body_dice": 0.97,
        "lung_dice": 0.96,
        "folded": 0.0,
        "uneven": 0.2,
        "overlap_mm": 250,
    }
    assert judge_quality(Quality(**good))[0]
    assert judge_quality(Quality(**good | {"uneven": 0.45}))[0]
    assert judge_quality(Quality(**good | {"detail": 0.51}))[0]
    sound, reason = judge_quality(Quality(**good | changed))
    assert not sound
    assert word in reason
