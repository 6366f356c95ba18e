"""A displacement that folds or stretches is told from one that only widens."""

import numpy as np
import pytest

from inference.registration.folding import folded_share, unevenness

STEP_MM = 3.0
X = np.indices((12, 12, 12))[2] * STEP_MM
EVERYWHERE = np.ones(X.shape, bool)


def _along_x(mm):
    vectors = np.zeros((*X.shape, 3), np.float32)
    vectors[..., 0] = mm
    return vectors


def test_what_widens_alike_everywhere_is_even():
    widened = _along_x(0.3 * X)
    assert unevenness(widened, STEP_MM, EVERYWHERE) == pytest.approx(0, abs=1e-5)
    assert folded_share(widened, STEP_MM, EVERYWHERE) == 0


def test_what_widens_in_one_half_alone_is_uneven():
    half = _along_x(np.maximum(X - X.max() / 2, 0) * 1.0)
    assert unevenness(half, STEP_MM, EVERYWHERE) == pytest.approx(np.log(2) / 2, abs=0.03)


def test_what_turns_back_is_folded():
    assert folded_share(_along_x(-1.5 * X), STEP_MM, EVERYWHERE) == 1


def test_nothing_is_neither():
    nowhere = np.zeros(X.shape, bool)
    assert (folded_share(_along_x(X), STEP_MM, nowhere), unevenness(_along_x(X), STEP_MM, nowhere)) == (0, 0)
