"""AUROC with limits, rates at a threshold, confusion, calibration."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from training.metrics.calibration import reliability
from training.metrics.classification import (
    accuracy,
    auroc,
    aurocs,
    confusion,
    mean_interval,
    paired_interval,
    rates,
    ratio,
)


@pytest.mark.parametrize(
    ("truth", "score", "area"),
    [
        ([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], 0.75),
        ([0, 1], [0.5, 0.5], 0.5),
        ([0, 0, 1], [0.2, 0.7, 0.7], 0.75),
        ([1, 0], [0.1, 0.9], 0.0),
        ([1, 1], [0.1, 0.9], math.nan),
    ],
)
def test_auroc_by_hand(truth: list[int], score: list[float], area: float) -> None:
    assert auroc(truth, score) == pytest.approx(area, nan_ok=True)


def test_auroc_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(2)
    truth, score = rng.random(300) < 0.3, rng.integers(0, 20, 300)
    assert auroc(truth, score) == pytest.approx(roc_auc_score(truth, score))


def test_unknown_labels_are_left_out_of_their_class_alone() -> None:
    truth = np.array([[0, 1], [1, np.nan], [1, 0], [0, 0]])
    score = np.array([[0.1, 0.9], [0.9, 0.0], [0.8, 0.2], [0.3, 0.1]])
    found = aurocs(truth, score, resamples=50)
    assert [c.value for c in found.classes] == [1.0, 1.0]
    assert found.mean.value == 1.0


def test_resampling_patients_widens_the_limits_of_repeated_images() -> None:
    rng = np.random.default_rng(5)
    truth = np.repeat(rng.random(40) < 0.5, 10)[:, None]
    score = truth + np.repeat(rng.normal(0, 1.5, 40), 10)[:, None]
    patients = [str(k // 10) for k in range(400)]
    alone, grouped = aurocs(truth, score, resamples=200), aurocs(truth, score, patients, resamples=200)
    assert grouped.mean.high - grouped.mean.low > 2 * (alone.mean.high - alone.mean.low)
    assert grouped.mean.low < grouped.mean.value < grouped.mean.high


def test_rates_at_a_threshold() -> None:
    found = rates([1, 1, 1, 0, 0], [0.9, 0.5, 0.1, 0.6, 0.2], 0.5)
    assert (found.true_positive, found.false_positive, found.true_negative, found.false_negative) == (
        2,
        1,
        1,
        1,
    )
    assert found.sensitivity == found.precision == pytest.approx(2 / 3)
    assert found.specificity == 0.5
    assert found.accuracy == pytest.approx(0.6)


def test_precision_of_nothing_called_is_no_number() -> None:
    assert math.isnan(rates([1, 0], [0.1, 0.1], 0.5).precision)


def test_confusion_counts_true_classes_in_rows() -> None:
    matrix = confusion(["a", "a", "b"], ["a", "b", "b"], ["a", "b"])
    assert matrix.tolist() == [[1, 1], [0, 1]]
    assert accuracy(matrix) == pytest.approx(2 / 3)


def test_the_mean_of_equal_values_has_no_width() -> None:
    found = mean_interval([0.5] * 8, resamples=20)
    assert (found.value, found.low, found.high) == (0.5, 0.5, 0.5)


def test_the_limits_of_a_mean_count_patients_where_their_pictures_are_alike() -> None:
    patients = np.random.default_rng(4).random(30)
    values, groups = np.repeat(patients, 20), [str(k // 20) for k in range(600)]
    grouped, one_each = mean_interval(values, groups, resamples=200), mean_interval(patients, resamples=200)
    assert grouped.value == pytest.approx(one_each.value)
    assert grouped.high - grouped.low == pytest.approx(one_each.high - one_each.low, rel=0.25)
    alone = mean_interval(values, resamples=200)
    assert grouped.high - grouped.low > 3 * (alone.high - alone.low)


def test_a_patient_of_many_pictures_weighs_as_many_in_the_mean() -> None:
    found = mean_interval([0.0, 0.0, 0.0, 1.0], ["a", "a", "a", "b"], resamples=50)
    assert (found.value, found.low, found.high) == (0.25, 0.0, 1.0)


def test_calibration_by_hand() -> None:
    """Bin 0.1-0.2: mean 0.15 against 0.5; bin 0.9-1: mean 0.95 against 1. Two cases each."""
    found = reliability([0, 1, 1, 1], [0.1, 0.19999, 0.9, 1.0])
    assert found.probability == pytest.approx([0.15, 0.95], abs=1e-4)
    assert found.frequency.tolist() == [0.5, 1.0]
    assert found.ece == pytest.approx((0.35 + 0.05) / 2, abs=1e-4)
    assert found.brier == pytest.approx((0.01 + 0.64 + 0.01) / 4, abs=1e-4)


def test_calibration_refuses_what_is_no_probability() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        reliability([1], [1.5])


def test_both_figures_of_a_case_are_resampled_together() -> None:
    other = np.random.default_rng(3).exponential(size=300)
    found = paired_interval(ratio, 0.5 * other, other)
    assert (found.value, found.low, found.high) == pytest.approx((0.5,) * 3)
    apart = paired_interval(ratio, 0.5 * other[::-1], other)
    assert apart.low < 0.48 < 0.52 < apart.high
    assert math.isnan(paired_interval(ratio, [], []).value)
    assert math.isnan(paired_interval(ratio, [1.0], [0.0]).value)
