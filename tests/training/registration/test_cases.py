"""The cases of an evaluation: true to their images, and registered as the reader registers a study."""

from __future__ import annotations

import numpy as np
import pytest

from inference.catalogue import Catalogue
from training.evaluate.registration import _summary, measured
from training.registration.cases import Case, cases


@pytest.fixture(scope="module")
def case() -> Case:
    return next(cases([4000], 1, breathing=True, shifted=False))


def test_landmarks_lie_in_both_scans(case: Case) -> None:
    assert len(case.landmarks_mm) > 150
    for volume, points in ((case.ct, case.landmarks_mm), (case.pet, case.motion.to_scan(case.landmarks_mm))):
        index = volume.to_index(points)
        assert ((index >= -0.5) & (index <= np.array(volume.shape) - 0.5)).all()


def test_a_case_far_apart_is_brought_together(case: Case) -> None:
    figures = _summary("breathing", measured([case], Catalogue()))
    assert figures["breathing_tre_before_mm"] > 15
    assert figures["breathing_tre_mm"] < 8
    assert figures["breathing_dice_body"] > 0.95
    assert figures["breathing_folded"] == 0
    assert figures["breathing_refused"] == 0
    limited = ("tre_before_mm", "tre_mm", "tre_rigid_part_mm", "dice_body", "folded", "sd_log_jacobian")
    assert all(len(figures[f"breathing_{name}_ci"]) == 2 for name in limited)
