"""Classes and their probabilities: AUROC with its interval, rates at a threshold, confusion."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import roc_curve

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Interval:
    """A figure and its 95 % limits over resampled cases; NaN where there are none."""

    value: float
    low: float
    high: float

    def told(self, name: str) -> dict[str, Any]:
        """As it stands in JSON: ``name``, and ``name_ci`` with both limits."""
        return {name: self.value, f"{name}_ci": [self.low, self.high]}


@dataclass(frozen=True)
class Rates:
    """Counts at one threshold, and what follows from them; NaN where a denominator is 0."""

    true_positive: int
    false_positive: int
    true_negative: int
    false_negative: int

    @property
    def sensitivity(self) -> float:
        return _share(self.true_positive, self.true_positive + self.false_negative)

    @property
    def specificity(self) -> float:
        return _share(self.true_negative, self.true_negative + self.false_positive)

    @property
    def precision(self) -> float:
        return _share(self.true_positive, self.true_positive + self.false_positive)

    @property
    def accuracy(self) -> float:
        right = self.true_positive + self.true_negative
        return _share(right, right + self.false_positive + self.false_negative)


def rates(truth: npt.ArrayLike, score: npt.ArrayLike, threshold: float) -> Rates:
    """Counts when a score of at least ``threshold`` is called positive."""
    positive, called = np.asarray(truth, bool), np.asarray(score) >= threshold
    return Rates(
        int((positive & called).sum()),
        int((~positive & called).sum()),
        int((~positive & ~called).sum()),
        int((positive & ~called).sum()),
    )


def confusion(truth: Sequence[str], called: Sequence[str], classes: Sequence[str]) -> Ints:
    """(true class, called class): how many cases, in the order of ``classes``."""
    place = {name: number for number, name in enumerate(classes)}
    matrix = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(matrix, ([place[t] for t in truth], [place[c] for c in called]), 1)
    return matrix


def accuracy(matrix: Ints) -> float:
    """The share of cases on the diagonal of a confusion matrix."""
    return _share(int(np.trace(matrix)), int(matrix.sum()))


def roc(truth: npt.ArrayLike, score: npt.ArrayLike) -> tuple[Floats, Floats]:
    """1 - specificity and sensitivity at every threshold."""
    false, true, _ = roc_curve(np.asarray(truth, bool), np.asarray(score, np.float64))
    return false, true


def auroc(truth: npt.ArrayLike, score: npt.ArrayLike) -> float:
    """Area under the ROC curve, ties counted half; NaN with one class alone."""
    ranked = _Ranked.of(np.asarray(truth, bool), np.asarray(score, np.float64))
    return ranked.area(np.ones(len(ranked.order), np.int64))


@dataclass(frozen=True)
class Aurocs:
    """AUROC of each class and their mean, each with its interval."""

    classes: tuple[Interval, ...]
    mean: Interval


def aurocs(
    truth: npt.ArrayLike,
    score: npt.ArrayLike,
    groups: Sequence[str] | None = None,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> Aurocs:
    """AUROC by class.

    Args:
        truth: (cases, classes), 1 or 0, NaN where it is not known: the case is left out for that class.
        score: (cases, classes), any monotone scale.
        groups: what a case belongs to, such as its patient; whole groups are resampled.
    """
    known, given = np.asarray(truth, np.float64), np.asarray(score, np.float64)
    names, group = np.unique(np.arange(len(known)) if groups is None else groups, return_inverse=True)
    ranked = [
        _Ranked.of(known[:, k] > 0.5, given[:, k], ~np.isnan(known[:, k])) for k in range(known.shape[1])
    ]
    values = [r.area(np.ones(len(known), np.int64)) for r in ranked]
    rng = np.random.default_rng(seed)
    drawn = np.full((resamples, len(ranked)), np.nan)
    for row in drawn:
        taken = np.bincount(rng.integers(len(names), size=len(names)), minlength=len(names))[group]
        row[:] = [r.area(taken) for r in ranked]
    return Aurocs(
        tuple(Interval(v, *limits(drawn[:, k])) for k, v in enumerate(values)),
        Interval(_mean(np.array(values)), *limits(np.array([_mean(row) for row in drawn]))),
    )


def mean_interval(
    values: npt.ArrayLike, groups: Sequence[str] | None = None, *, resamples: int = 1000, seed: int = 0
) -> Interval:
    """The mean of one figure per case, with limits by resampling cases.

    groups: what a case belongs to, such as its patient; whole groups are resampled.
    """
    given = np.asarray(values, np.float64)
    if not len(given):
        return Interval(np.nan, np.nan, np.nan)
    names, group = np.unique(np.arange(len(given)) if groups is None else groups, return_inverse=True)
    sums, sizes = np.bincount(group, given), np.bincount(group)
    rng = np.random.default_rng(seed)
    rows = (rng.integers(len(names), size=len(names)) for _ in range(resamples))
    drawn = [sums[taken].sum() / sizes[taken].sum() for taken in rows]
    return Interval(float(given.mean()), *limits(np.array(drawn)))


def paired_interval(
    figure: Callable[[Any, Any], float],
    one: npt.ArrayLike,
    other: npt.ArrayLike,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """A figure of two values of each case, such as ``auroc`` or ``ratio``, with limits by resampling cases,
    both values of a case together."""
    first, second = np.asarray(one), np.asarray(other)
    if not len(first):
        return Interval(np.nan, np.nan, np.nan)
    rng = np.random.default_rng(seed)
    draws = (rng.integers(len(first), size=len(first)) for _ in range(resamples))
    drawn = np.array([figure(first[taken], second[taken]) for taken in draws], np.float64)
    return Interval(figure(first, second), *limits(drawn))


def ratio(one: Floats, other: Floats) -> float:
    """Of the means of two figures of the same cases; NaN where the second is 0."""
    return float(one.mean() / other.mean()) if other.mean() else float("nan")


def limits(drawn: Floats) -> tuple[float, float]:
    """The 2.5th and 97.5th percentile of what is not NaN."""
    kept = drawn[~np.isnan(drawn)]
    if not len(kept):
        return np.nan, np.nan
    low, high = np.percentile(kept, [2.5, 97.5])
    return float(low), float(high)


@dataclass(frozen=True, eq=False)
class _Ranked:
    """Cases of one class by falling score; ``last``: the place of the last of each run of equal scores."""

    order: Ints
    positive: npt.NDArray[np.bool_]
    last: Ints

    @classmethod
    def of(
        cls, positive: npt.NDArray[np.bool_], score: Floats, known: npt.NDArray[np.bool_] | None = None
    ) -> _Ranked:
        cases = np.arange(len(score)) if known is None else np.flatnonzero(known)
        order = cases[np.argsort(-score[cases], kind="stable")]
        last = np.flatnonzero(np.append(np.diff(score[order]) != 0, True)) if len(order) else order
        return cls(order, positive[order], last)

    def area(self, taken: Ints) -> float:
        """AUROC with case k taken ``taken[k]`` times."""
        weight = taken[self.order]
        true = np.append(0, np.cumsum(weight * self.positive)[self.last])
        false = np.append(0, np.cumsum(weight * ~self.positive)[self.last])
        if not true[-1] or not false[-1]:
            return float("nan")
        return float(np.trapezoid(true, false) / (true[-1] * false[-1]))


def _mean(values: Floats) -> float:
    kept = values[~np.isnan(values)]
    return float(kept.mean()) if len(kept) else float("nan")


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
