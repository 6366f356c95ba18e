"""Free-response ROC as the LUNA16 challenge scores it (noduleCADEvaluationLUNA16.py)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""False positives per scan whose mean sensitivity is the CPM."""

Floats = npt.NDArray[np.float64]
_UNSIZED_DIAMETER_MM = 10.0


@dataclass(frozen=True)
class Nodule:
    """An annotated nodule, or a finding that is to be ignored. A diameter below 0 counts as 10 mm."""

    scan: str
    center_mm: tuple[float, float, float]
    diameter_mm: float

    def holds(self, mark: Mark) -> bool:
        """Whether a mark lies strictly within the radius."""
        diameter = self.diameter_mm if self.diameter_mm >= 0 else _UNSIZED_DIAMETER_MM
        offset = np.subtract(mark.center_mm, self.center_mm)
        return float(offset @ offset) < (diameter / 2) ** 2


@dataclass(frozen=True)
class Mark:
    """A place a reader marked, and how sure it was."""

    scan: str
    center_mm: tuple[float, float, float]
    score: float


@dataclass(frozen=True, eq=False)
class Outcome:
    """One scan: the score of each nodule's best mark (None where it was missed), and of each false mark.
    Further marks on a nodule are double detections and count as neither."""

    nodules: tuple[float | None, ...]
    false: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Froc:
    """Sensitivity against false positives per scan. ``at_rates``: at each of ``RATES``; their mean is
    ``cpm``. ``low``, ``high``: 95 % limits of the CPM over resampled scans."""

    false_per_scan: Floats
    sensitivity: Floats
    at_rates: tuple[float, ...]
    cpm: float
    low: float
    high: float


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
    best: list[float | None] = []
    used: set[int] = set()
    for nodule in nodules:
        hits = [number for number, mark in enumerate(marks) if nodule.holds(mark)]
        best.append(max((marks[number].score for number in hits), default=None))
        used.update(hits)
    for nodule in excluded:
        used.update(number for number, mark in enumerate(marks) if nodule.holds(mark))
    return Outcome(tuple(best), tuple(m.score for number, m in enumerate(marks) if number not in used))


def froc(scans: Sequence[Outcome], *, resamples: int = 1000, seed: int = 0) -> Froc:
    """The curve over all scans, its CPM, and the CPM's limits by resampling scans."""
    false, sensitivity = _curve(scans)
    rates = tuple(float(v) for v in np.interp(RATES, false, sensitivity))
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(resamples):
        chosen = [scans[i] for i in rng.integers(len(scans), size=len(scans))]
        if any(scan.nodules for scan in chosen):
            drawn.append(float(np.interp(RATES, *_curve(chosen)).mean()))
    low, high = np.percentile(drawn, [2.5, 97.5]) if drawn else (np.nan, np.nan)
    return Froc(false, sensitivity, rates, float(np.mean(rates)), float(low), float(high))


def _curve(scans: Sequence[Outcome]) -> tuple[Floats, Floats]:
    """False positives per scan and sensitivity at every threshold, from (0, 0) on. A missed nodule has no
    threshold at which it is found, but stays in the denominator."""
    hits = [score for scan in scans for score in scan.nodules if score is not None]
    false = [score for scan in scans for score in scan.false]
    total = sum(len(scan.nodules) for scan in scans)
    thresholds = np.unique([*hits, *false])[::-1]
    found = np.searchsorted(np.sort(np.negative(hits)), -thresholds, side="right")
    wrong = np.searchsorted(np.sort(np.negative(false)), -thresholds, side="right")
    return (
        np.concatenate([[0.0], wrong / max(len(scans), 1)]),
        np.concatenate([[0.0], found / max(total, 1)]),
    )
