"""One phantom patient through ``inference.growth``: every pair of scans in a row set against what is true."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from inference.findings import Change, Finding, Point
from inference.growth.changes import Prior
from inference.growth.compare import Comparison, compare
from inference.growth.judge import Measurement, judge
from training.growth.patients import Backdrop, Truth, Visit, visits
from training.growth.readings import Reads
from training.phantoms.nodules import Nodule

ZERO_GROWTH = 0.02
"""A lesion whose diameter truly differs by less, as a share, did not grow: only the two scans differ."""
_NEAR_MM = 5.0
_BESIDE_MM = 3.0


@dataclass(frozen=True)
class Pair:
    """A lesion that two scans in a row show.

    read: whether the reader found it by itself, before and now. error_mm: between its centre of before, as it
    was aligned, and its true one. ``measured_mm3`` to ``limit_percent`` are of a lesion linked to itself in
    the earlier of both scans, and ``category_of_truth`` is what the rule makes of its true volumes.
    """

    where: str
    kind: str
    slices_mm: tuple[float, float]
    true_mm: tuple[float, float]
    true_mm3: tuple[float, float]
    read: tuple[bool, bool]
    error_mm: float
    linked: bool
    category_of_truth: str
    measured_mm3: tuple[float, float] | None = None
    category: str | None = None
    limit_percent: float | None = None

    @property
    def true_change_percent(self) -> float:
        return 100 * (self.true_mm3[1] / self.true_mm3[0] - 1)

    @property
    def change_percent(self) -> float | None:
        """As it was measured."""
        return None if self.measured_mm3 is None else 100 * (self.measured_mm3[1] / self.measured_mm3[0] - 1)

    @property
    def did_not_grow(self) -> bool:
        return abs(self.true_mm[1] / self.true_mm[0] - 1) < ZERO_GROWTH


@dataclass(frozen=True)
class Alone:
    """A lesion that is new or resolved, in a place both scans show; one that is there and cut by the border
    of a scan is neither. ``read``: whether the reader found it in the scan that shows it."""

    where: str
    fate: str
    mm: float
    read: bool
    right: bool


@dataclass(frozen=True)
class Followed:
    """One patient. ``wrong``: what was linked to something else, in words. ``strange``: findings of no lesion
    that were called new. ``refused``: why scans of one patient were not compared."""

    seed: int
    visits: int
    pairs: tuple[Pair, ...] = ()
    alone: tuple[Alone, ...] = ()
    links: int = 0
    wrong: tuple[str, ...] = ()
    strange: int = 0
    refused: tuple[str, ...] = ()
    details: tuple[float, ...] = ()
    cpu_seconds: tuple[float, ...] = ()

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Self:
        """What ``dataclasses.asdict`` made of it, through ``strict_json``: an error or a correlation that is
        null was none."""
        pairs = tuple(Pair(**(_with_tuples(pair) | _error(pair))) for pair in kept["pairs"])
        alone = tuple(Alone(**one) for one in kept["alone"])
        details = tuple(np.nan if detail is None else detail for detail in kept["details"])
        return cls(**(_with_tuples(kept) | {"pairs": pairs, "alone": alone, "details": details}))


def follow(seed: int, backdrop: Backdrop, reads: Reads) -> Followed:
    """One patient of 2 to 5 visits, each compared with all before it."""
    rng = np.random.default_rng([seed, 71])
    count = int(rng.choice([2, 3, 4, 5], p=[0.6, 0.25, 0.1, 0.05]))
    seen = list(visits(seed, backdrop, count))
    look = reads.look(seen, rng)
    done: list[Prior] = []
    names: list[dict[str, int]] = []
    told: list[Followed] = []
    for number, visit in enumerate(seen):
        reading = reads.read(visit, rng)
        alone = {_number(finding, visit.truths) for finding in reading.findings}
        started = time.process_time()
        comparison = compare(
            reading, visit.volume, done, catalogue=reads.catalogue, date=visit.date, look=look
        )
        seconds = time.process_time() - started
        if number:
            told.append(
                told_of(seed, seen[: number + 1], names, comparison, alone, f"{seed}.{number}", seconds)
            )
        known = {
            finding.tracking_uid: _number(finding, visit.truths) for finding in comparison.reading.findings
        }
        names.append(known)
        done.append(Prior(visit.volume.series_uid, visit.date, comparison.reading, lambda v=visit: v.volume))  # type: ignore[misc]
    return Followed(
        seed,
        count,
        pairs=tuple(pair for one in told for pair in one.pairs),
        alone=tuple(each for one in told for each in one.alone),
        links=sum(one.links for one in told),
        wrong=tuple(each for one in told for each in one.wrong),
        strange=sum(one.strange for one in told),
        refused=tuple(each for one in told for each in one.refused),
        details=tuple(each for one in told for each in one.details),
        cpu_seconds=tuple(each for one in told for each in one.cpu_seconds),
    )


def told_of(
    seed: int,
    seen: Sequence[Visit],
    names: Sequence[Mapping[str, int]],
    comparison: Comparison,
    read: set[int],
    where: str,
    seconds: float,
) -> Followed:
    """The comparison of the last visit that was ``seen`` beside what is true. ``names``: which lesion each
    tracking UID meant at each visit before; ``read``: which lesions the reader found at the last by itself;
    ``seconds``: of a processor, that the comparison took."""
    return _Told(seed, seen, names, comparison, read, where).all(seconds)


@dataclass(frozen=True, eq=False)
class _Told:
    """See ``told_of``."""

    seed: int
    seen: Sequence[Visit]
    names: Sequence[Mapping[str, int]]
    comparison: Comparison
    read: set[int]
    where: str

    def all(self, seconds: float) -> Followed:
        now, before = self.seen[-1], self.seen[-2]
        here = {truth.number: truth for truth in now.truths}
        there = {truth.number: truth for truth in before.truths}
        alignment = self.comparison.alignments[before.volume.series_uid]
        found = {_number(f, now.truths): f for f in self.comparison.reading.findings}
        reasons = () if alignment.sound else (f"{self.where}: {alignment.reason}",)
        linked = [f for f in self.comparison.reading.findings if f.change and f.change.category != "new"]
        wrong = tuple(said for f in linked if (said := self._fault(f)) is not None)
        strange = [
            f
            for f in self.comparison.reading.findings
            if f.change and f.change.category == "new" and not _is_of_any(f, now.lesions)
        ]
        both = sorted(here.keys() & there.keys())
        return Followed(
            self.seed,
            2,
            pairs=tuple(self._pair(here[n], there[n], found.get(n)) for n in both),
            alone=tuple(self._alone(here, there, found)) if alignment.sound else (),
            links=len(linked),
            wrong=wrong,
            strange=len(strange),
            refused=reasons,
            details=(alignment.quality.detail,) if alignment.quality else (),
            cpu_seconds=(seconds,),
        )

    def _earlier(self, finding: Finding) -> int:
        """Which lesion the finding's tracking UID meant before; -1 for none."""
        earlier = {uid: number for known in self.names for uid, number in known.items()}
        for visit_uid, again in self.comparison.seen_again.items():
            old = next(visit for visit in self.seen if visit.volume.series_uid == visit_uid)
            earlier |= {f.tracking_uid: _number(f, old.truths) for f in again}
        return earlier.get(finding.tracking_uid, -1)

    def _fault(self, finding: Finding) -> str | None:
        """What is wrong with a link, None where nothing is. A finding of no whole lesion is told by where its
        partner truly lies."""
        number, earlier = _number(finding, self.seen[-1].truths), self._earlier(finding)
        if number >= 0 and number == earlier:
            return None
        change = finding.change
        assert change is not None
        if min(number, earlier) < 0 and change.prior_center_mm is not None:
            old = next(v for v in self.seen if v.volume.series_uid == change.prior_study_uid)
            if self._truly(old, change.prior_center_mm, finding.center_mm) < _NEAR_MM:
                return None
        return f"{self.where}: lesion {number} linked to {earlier}"

    def _truly(self, old: Visit, then: Point, now: Point) -> float:
        moved = self.seen[-1].motion.to_scan(old.motion.to_reference(then))
        return float(np.linalg.norm(moved[0] - now))

    def _pair(self, now: Truth, before: Truth, finding: Finding | None) -> Pair:
        old, new = self.seen[-2], self.seen[-1]
        alignment = self.comparison.alignments[old.volume.series_uid]
        slices = old.volume.slice_mm, new.volume.slice_mm
        exact = [
            Measurement(t.volume_mm3, t.diameter_mm, t.diameter_mm, slice_mm, kind=t.kind)
            for t, slice_mm in zip((before, now), slices, strict=True)
        ]
        change = finding.change if finding else None
        linked = (
            finding is not None
            and change is not None
            and change.category != "new"
            and self._earlier(finding) == now.number
        )
        error = np.inf
        if alignment.sound:
            error = float(np.linalg.norm(alignment.to_current(before.center_mm)[0] - now.center_mm))
        judged = change if linked and change is not None and self._is_of(change, before) else None
        return Pair(
            where=f"{self.where}.{now.number}",
            kind=now.kind,
            slices_mm=slices,
            true_mm=(before.diameter_mm, now.diameter_mm),
            true_mm3=(before.volume_mm3, now.volume_mm3),
            read=(now.number in self.names[-1].values(), now.number in self.read),
            error_mm=error,
            linked=linked,
            category_of_truth=judge(exact[0], exact[1], 0).category,
            measured_mm3=_measured(judged) if judged else None,
            category=judged.category if judged else None,
            limit_percent=judged.limit_percent if judged else None,
        )

    def _is_of(self, change: Change, before: Truth) -> bool:
        """Whether the change is against the visit just before, where the lesion may have been missed."""
        if change.prior_center_mm is None or change.prior_volume_mm3 is None:
            return False
        away = np.linalg.norm(np.subtract(change.prior_center_mm, before.center_mm))
        return change.prior_study_uid == self.seen[-2].volume.series_uid and bool(away < before.diameter_mm)

    def _alone(
        self, here: Mapping[int, Truth], there: Mapping[int, Truth], found: Mapping[int, Finding]
    ) -> list[Alone]:
        alignment = self.comparison.alignments[self.seen[-2].volume.series_uid]
        ever = {number for visit in self.seen[:-1] for number in visit.lesions}
        gone = {_number(finding, self.seen[-2].truths) for finding in self.comparison.reading.resolved}
        known = set(self.names[-1].values())
        told = []
        for number in sorted(here.keys() - ever):
            if alignment.prior_reaches(here[number].center_mm)[0]:
                change = found[number].change if number in found else None
                right = change is not None and change.category == "new"
                told.append(
                    Alone(f"{self.where}.{number}", "new", here[number].diameter_mm, number in found, right)
                )
        for number in sorted(there.keys() - self.seen[-1].lesions.keys()):
            if alignment.current_reaches(there[number].center_mm)[0]:
                mm = there[number].diameter_mm
                told.append(Alone(f"{self.where}.{number}", "resolved", mm, number in known, number in gone))
        return told


def _with_tuples(kept: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in kept.items()}


def _error(kept: Mapping[str, Any]) -> dict[str, float]:
    """Of scans that could not be aligned it is infinite."""
    return {"error_mm": np.inf if kept["error_mm"] is None else kept["error_mm"]}


def _measured(change: Change) -> tuple[float, float] | None:
    if change.prior_volume_mm3 is None or change.volume_change_percent is None:
        return None
    return change.prior_volume_mm3, change.prior_volume_mm3 * (1 + change.volume_change_percent / 100)


def _number(finding: Finding, truths: Sequence[Truth]) -> int:
    """Which lesion a finding is of; -1 for none."""
    nearest = min(truths, key=lambda truth: _away(finding, truth), default=None)
    return nearest.number if nearest is not None and _lies_in(finding, nearest) else -1


def _is_of_any(finding: Finding, lesions: Mapping[int, Nodule]) -> bool:
    return any(_lies_in(finding, nodule) for nodule in lesions.values())


def _lies_in(finding: Finding, lesion: Truth | Nodule) -> bool:
    return _away(finding, lesion) < _BESIDE_MM + lesion.diameter_mm / 2


def _away(finding: Finding, lesion: Truth | Nodule) -> float:
    return float(np.linalg.norm(np.subtract(lesion.center_mm, finding.center_mm)))
