"""Free-response ROC as the LUNA16 challenge scores it (noduleCADEvaluationLUNA16.py)."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""False positives per scan whose mean sensitivity is the CPM."""

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
_UNSIZED_DIAMETER_MM = 10.0
_BAND_POINTS = 10_000


@dataclass(frozen=True)
class Nodule:
    """An annotated nodule, or a finding that is to be ignored. A diameter below 0 counts as 10 mm."""

    scan: str
    center_mm: tuple[float, float, float]
    diameter_mm: float

    @property
    def radius_mm(self) -> float:
        return (self.diameter_mm if self.diameter_mm >= 0 else _UNSIZED_DIAMETER_MM) / 2

    def holds(self, mark: Mark) -> bool:
        """Whether a mark lies strictly within the radius."""
        return bool(_hits([self], [mark])[0, 0])


@dataclass(frozen=True)
class Mark:
    """A place a reader marked, and how sure it was."""

    scan: str
    center_mm: tuple[float, float, float]
    score: float


@dataclass(frozen=True)
class Outcome:
    """One scan: the score of each nodule's best mark (None where it was missed), and of each false mark.
    Further marks on a nodule are double detections and count as neither."""

    nodules: tuple[float | None, ...]
    false: tuple[float, ...]
    double: int = 0
    ignored: int = 0


@dataclass(frozen=True, eq=False)
class Band:
    """Sensitivity over resampled scans, 95 % of them between ``low`` and ``high``, at 10 000 rates of false
    positives from the lowest to the highest of the curve's ``rates``."""

    false_per_scan: Floats
    mean: Floats
    low: Floats
    high: Floats

    def limits(self, rate: float) -> tuple[float, float]:
        return (
            float(np.interp(rate, self.false_per_scan, self.low)),
            float(np.interp(rate, self.false_per_scan, self.high)),
        )


@dataclass(frozen=True, eq=False)
class Froc:
    """Sensitivity against false positives per scan. ``at_rates``: at each of ``rates``; their mean is
    ``cpm``. ``low``, ``high``: 95 % limits of the CPM over resampled scans."""

    false_per_scan: Floats
    sensitivity: Floats
    rates: tuple[float, ...]
    at_rates: tuple[float, ...]
    cpm: float
    low: float
    high: float
    band: Band | None = None

    def at(self, rate: float) -> float:
        """Sensitivity at a rate of false positives per scan, by linear interpolation."""
        return float(np.interp(rate, self.false_per_scan, self.sensitivity))


def outcomes(
    scans: Iterable[str], nodules: Iterable[Nodule], excluded: Iterable[Nodule], marks: Iterable[Mark]
) -> list[Outcome]:
    """Match marks to nodules, scan by scan; scans without nodules or marks count too."""
    wanted, ignored, given = defaultdict(list), defaultdict(list), defaultdict(list)
    for nodule in nodules:
        wanted[nodule.scan].append(nodule)
    for nodule in excluded:
        ignored[nodule.scan].append(nodule)
    for mark in marks:
        given[mark.scan].append(mark)
    return [_outcome(wanted[scan], ignored[scan], given[scan]) for scan in scans]


def _outcome(nodules: Sequence[Nodule], excluded: Sequence[Nodule], marks: Sequence[Mark]) -> Outcome:
    hits, on_excluded = _hits(nodules, marks), _hits(excluded, marks).any(0)
    on_nodule = hits.any(0)
    scores = [mark.score for mark in marks]
    return Outcome(
        nodules=tuple(max((scores[k] for k in np.flatnonzero(row)), default=None) for row in hits),
        false=tuple(scores[k] for k in np.flatnonzero(~on_nodule & ~on_excluded)),
        double=int(np.maximum(hits.sum(1) - 1, 0).sum()),
        ignored=int((on_excluded & ~on_nodule).sum()),
    )


def _hits(nodules: Sequence[Nodule], marks: Sequence[Mark]) -> npt.NDArray[np.bool_]:
    """(nodules, marks): whether the squared distance is strictly below the squared radius."""
    centers = np.array([n.center_mm for n in nodules], np.float64).reshape(-1, 1, 3)
    places = np.array([m.center_mm for m in marks], np.float64).reshape(1, -1, 3)
    radii = np.array([n.radius_mm for n in nodules], np.float64).reshape(-1, 1)
    near: npt.NDArray[np.bool_] = ((centers - places) ** 2).sum(-1) < radii**2
    return near


def froc(
    scans: Sequence[Outcome], *, rates: Sequence[float] = RATES, resamples: int = 1000, seed: int = 0
) -> Froc:
    """The curve over all scans, its mean sensitivity at ``rates``, and limits by resampling scans. Without a
    single nodule every sensitivity is NaN."""
    scores = _Scores.of(scans)
    false, sensitivity = scores.curve(np.ones(len(scans), np.int64))
    at_rates = tuple(float(v) for v in np.interp(rates, false, sensitivity))
    band, low, high = _resampled(scores, rates, resamples, seed)
    return Froc(false, sensitivity, tuple(rates), at_rates, float(np.mean(at_rates)), low, high, band)


def _resampled(
    scores: _Scores, rates: Sequence[float], resamples: int, seed: int
) -> tuple[Band | None, float, float]:
    """The band, and the limits of the mean sensitivity at ``rates``."""
    rng = np.random.default_rng(seed)
    count = len(scores.nodules)
    grid = np.linspace(min(rates), max(rates), _BAND_POINTS)
    curves, means = [], []
    for _ in range(resamples):
        drawn = np.bincount(rng.integers(count, size=count), minlength=count)
        if drawn @ scores.nodules:
            false, sensitivity = scores.curve(drawn)
            curves.append(np.interp(grid, false, sensitivity).astype(np.float32))
            means.append(float(np.interp(rates, false, sensitivity).mean()))
    if not means:
        return None, math.nan, math.nan
    lowest, highest = math.floor(0.025 * len(means)), math.floor(0.975 * len(means))
    ordered = np.partition(np.array(curves), (lowest, highest), axis=0).astype(np.float64)
    means.sort()
    band = Band(grid, ordered.mean(0), ordered[lowest], ordered[highest])
    return band, means[lowest], means[highest]


@dataclass(frozen=True, eq=False)
class _Scores:
    """All scores of all scans, highest first. ``scan``, ``hit``: of each; ``last``: the place of the last of
    each run of equal scores; ``nodules``: how many each scan has."""

    scan: Ints
    hit: npt.NDArray[np.bool_]
    last: Ints
    nodules: Ints

    @classmethod
    def of(cls, scans: Sequence[Outcome]) -> _Scores:
        found = [[score for score in scan.nodules if score is not None] for scan in scans]
        values = np.array([s for hits, scan in zip(found, scans, strict=True) for s in (*hits, *scan.false)])
        sizes = [(len(hits), len(scan.false)) for hits, scan in zip(found, scans, strict=True)]
        scan = np.repeat(np.arange(len(scans)), [a + b for a, b in sizes])
        hit = np.repeat(np.tile([True, False], len(scans)), np.ravel(sizes).astype(int))
        order = np.argsort(-values, kind="stable")
        last = np.flatnonzero(np.append(np.diff(values[order]) != 0, True)) if len(values) else order
        return cls(scan[order], hit[order], last, np.array([len(s.nodules) for s in scans], np.int64))

    def curve(self, drawn: Ints) -> tuple[Floats, Floats]:
        """False positives per scan and sensitivity at every threshold, from (0, 0) on, with each scan taken
        ``drawn`` times. A missed nodule has no threshold at which it is found, but is in the denominator;
        where that is 0, the sensitivity is NaN."""
        weight = drawn[self.scan]
        found = np.cumsum(weight * self.hit)[self.last]
        wrong = np.cumsum(weight)[self.last] - found
        false = np.concatenate([[0.0], wrong / max(int(drawn.sum()), 1)])
        if not (nodules := int(drawn @ self.nodules)):
            return false, np.full(len(false), np.nan)
        return false, np.concatenate([[0.0], found / nodules])
