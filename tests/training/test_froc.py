"""FROC and CPM as LUNA16 scores them."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_curve

from training.metrics.froc import RATES, Mark, Nodule, Outcome, froc, outcomes


def nodule(x: float, diameter: float = 10.0, scan: str = "a") -> Nodule:
    return Nodule(scan, (x, 0.0, 0.0), diameter)


def mark(x: float, score: float, scan: str = "a") -> Mark:
    return Mark(scan, (x, 0.0, 0.0), score)


def test_a_mark_hits_only_strictly_within_the_radius() -> None:
    assert nodule(0).holds(mark(4.99, 1))
    assert not nodule(0).holds(mark(5.0, 1))


def test_a_nodule_without_size_counts_as_ten_millimetres() -> None:
    assert nodule(0, -1).holds(mark(4.9, 1))


def test_a_second_mark_on_a_nodule_counts_as_neither() -> None:
    (scan,) = outcomes(["a"], [nodule(0)], [], [mark(1, 0.3), mark(-1, 0.8), mark(50, 0.4)])
    assert scan == Outcome((0.8,), (0.4,)) or (scan.nodules, scan.false) == ((0.8,), (0.4,))


def test_a_mark_on_an_excluded_finding_is_ignored() -> None:
    (scan,) = outcomes(["a"], [], [nodule(50)], [mark(51, 0.4), mark(90, 0.2)])
    assert scan.false == (0.2,)


def test_scans_without_nodules_or_marks_lower_the_false_positive_rate() -> None:
    marks = [mark(0, 0.9), mark(90, 0.95)]
    alone = froc(outcomes(["a"], [nodule(0)], [], marks), resamples=10)
    among_many = froc(outcomes(list("abcdefgh"), [nodule(0)], [], marks), resamples=10)
    assert alone.at_rates[RATES.index(1.0)] == 1.0
    assert alone.at_rates[0] == 0.0
    assert among_many.at_rates[0] == 1.0


def test_a_missed_nodule_stays_in_the_denominator() -> None:
    curve = froc(outcomes(["a"], [nodule(0), nodule(90)], [], [mark(0, 0.9)]), resamples=10)
    assert curve.cpm == pytest.approx(0.5)


def test_without_a_nodule_there_is_no_sensitivity() -> None:
    curve = froc([Outcome((), (0.9,)), Outcome((), ())], resamples=10)
    assert np.isnan([curve.cpm, *curve.at_rates, curve.at(1.0), curve.low]).all()


def test_the_curve_is_that_of_the_official_script() -> None:
    """The script runs scikit-learn's ROC over all candidates and rescales its axes."""
    rng = np.random.default_rng(3)
    scans = [
        Outcome(
            tuple(float(s) if rng.random() < 0.8 else None for s in rng.normal(1, 1, 2)),
            tuple(rng.normal(0, 1, 5).tolist()),
        )
        for _ in range(30)
    ]
    hits = [s for scan in scans for s in scan.nodules if s is not None]
    false = [s for scan in scans for s in scan.false]
    fpr, tpr, _ = roc_curve([1] * len(hits) + [0] * len(false), hits + false, drop_intermediate=False)
    rate, sensitivity = fpr * len(false) / 30, tpr * len(hits) / 60
    expected = np.interp(RATES, rate, sensitivity)
    found = froc(scans, resamples=50)
    assert found.at_rates == pytest.approx(expected, abs=1e-9)
    assert found.low <= found.cpm <= found.high
