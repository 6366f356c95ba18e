"""How well lesions are followed: phantom patients through ``inference.growth``, against what is true."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np

from inference.findings import Finding
from inference.growth.align import Alignment
from inference.growth.compare import Comparison, Prior, compare
from inference.growth.judge import Measurement, judge
from training.growth.patients import Backdrop, Truth, Visit, visits
from training.growth.reader import CloserLook, Faults, read

TRUE_CHANGE_PERCENT = 25.0
LARGE_MM = 8.0


@dataclass
class Tally:
    """What was seen over all pairs of scans; ``figures`` sums it up."""

    patients: int = 0
    comparisons: int = 0
    refused: int = 0
    pairs: int = 0
    linked: int = 0
    links: int = 0
    wrong: int = 0
    alone: int = 0
    alone_right: int = 0
    zero: int = 0
    zero_called_growth: int = 0
    judged: int = 0
    judged_right: int = 0
    judged_large: int = 0
    judged_large_right: int = 0
    rule_right: int = 0
    center_error_mm: list[float] = field(default_factory=list)
    volume_error_points: list[float] = field(default_factory=list)
    detail: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        for each in fields(self):
            mine, theirs = getattr(self, each.name), getattr(other, each.name)
            setattr(self, each.name, mine + theirs)

    def figures(self) -> dict[str, float]:
        """Shares, and mean or median errors, by the names they are reported under."""

        def share(part: int, whole: int) -> float:
            return part / whole if whole else float("nan")

        def over(values: Sequence[float], how: Callable[[Sequence[float]], float]) -> float:
            return float(how(values)) if values else float("nan")

        return {
            "patients": self.patients,
            "comparisons": self.comparisons,
            "comparisons refused": self.refused,
            "lesion pairs": self.pairs,
            "linked right": share(self.linked, self.pairs),
            "wrong links": share(self.wrong, self.links),
            "centre error, mean mm": over(self.center_error_mm, np.mean),
            "centre error, 95th percentile mm": over(self.center_error_mm, lambda v: np.percentile(v, 95)),
            "new and resolved": self.alone,
            "new and resolved right": share(self.alone_right, self.alone),
            "volume change, median error in points, from 8 mm": over(self.volume_error_points, np.median),
            "category right": share(self.judged_right, self.judged),
            "category as the rule gives it to the true volumes": share(self.rule_right, self.judged),
            "category right, from 8 mm": share(self.judged_large_right, self.judged_large),
            "zero growth pairs": self.zero,
            "zero growth called growth": share(self.zero_called_growth, self.zero),
            "detail correlation, least": over(self.detail, min),
            "CPU seconds of a comparison, median": over(self.cpu_seconds, np.median),
        }


def evaluate(
    backdrops: Iterable[Backdrop],
    patients_each: int,
    *,
    faults: Faults | None = None,
    first_seed: int = 0,
    progress: Callable[[Tally], None] | None = None,
) -> Tally:
    """Follow ``patients_each`` patients on each backdrop, of 2 to 5 visits."""
    tally = Tally()
    seed = first_seed
    for backdrop in backdrops:
        for _ in range(patients_each):
            tally.add(follow(seed, backdrop, faults or Faults()))
            seed += 1
            if progress is not None:
                progress(tally)
    return tally


def follow(seed: int, backdrop: Backdrop, faults: Faults) -> Tally:
    """One patient, every visit compared with all before it."""
    rng = np.random.default_rng([seed, 71])
    count = int(rng.choice([2, 3, 4, 5], p=[0.6, 0.25, 0.1, 0.05]))
    seen = list(visits(seed, backdrop, count))
    look = CloserLook(seen, faults, rng)
    tally = Tally(patients=1)
    done: list[Prior] = []
    names: list[dict[str, int]] = []
    for number, visit in enumerate(seen):
        reading = read(visit, faults, rng)
        started = time.process_time()
        comparison = compare(reading, visit.volume, done, date=visit.date, look=look)
        if number:
            tally.cpu_seconds.append(time.process_time() - started)
            tally.add(_against_truth(comparison, seen[: number + 1], names, f"{seed}.{number}"))
        known = {
            finding.tracking_uid: _number(finding, visit.truths) for finding in comparison.reading.findings
        }
        names.append(known)
        done.append(Prior(visit.volume.series_uid, visit.date, comparison.reading, lambda v=visit: v.volume))  # type: ignore[misc]
    return tally


def _against_truth(
    comparison: Comparison, seen: Sequence[Visit], names: Sequence[dict[str, int]], where: str
) -> Tally:
    """The last visit's comparison against what is true of it and the visit that it refers to."""
    tally = Tally(comparisons=1)
    now = seen[-1]
    before = seen[-2]
    here = {truth.number: truth for truth in now.truths}
    there = {truth.number: truth for truth in before.truths}
    alignment = comparison.alignments[before.volume.series_uid]
    if not alignment.sound:
        tally.refused = 1
        tally.faults.append(f"{where}: {alignment.reason}")
        tally.pairs = len(here.keys() & there.keys())
        return tally
    assert alignment.quality is not None
    tally.detail.append(alignment.quality.detail)
    found = {_number(finding, now.truths): finding for finding in comparison.reading.findings}
    earlier = {uid: number for known in names for uid, number in known.items()}
    for visit_uid, again in comparison.seen_again.items():
        old = next(visit for visit in seen if visit.volume.series_uid == visit_uid)
        earlier |= {finding.tracking_uid: _number(finding, old.truths) for finding in again}
    for number, finding in found.items():
        change = finding.change
        if change is None or change.category == "new":
            continue
        tally.links += 1
        if earlier.get(finding.tracking_uid) != number:
            tally.wrong += 1
            tally.faults.append(f"{where}: lesion {number} linked to {earlier.get(finding.tracking_uid)}")
    slices = before.volume.slice_mm, now.volume.slice_mm
    for number in sorted(here.keys() & there.keys()):
        pair = here[number], there[number]
        tally.add(_pair(number, found.get(number), *pair, earlier, alignment, slices, where))
    gone = {_number(finding, before.truths) for finding in comparison.reading.resolved}
    _count_alone(tally, found, gone, here, there, seen, alignment, where)
    return tally


def _pair(
    number: int,
    finding: Finding | None,
    now: Truth,
    before: Truth,
    earlier: dict[str, int],
    alignment: Alignment,
    slices_mm: tuple[float, float],
    where: str,
) -> Tally:
    tally = Tally(pairs=1)
    aligned = alignment.to_current(before.center_mm)[0]
    tally.center_error_mm.append(float(np.linalg.norm(aligned - now.center_mm)))
    change = finding.change if finding else None
    if change is None or change.category == "new" or earlier.get(finding.tracking_uid) != number:  # type: ignore[union-attr]
        how = "not found" if finding is None else "no change" if change is None else change.category
        tally.faults.append(
            f"{where}: pair {number} of {now.diameter_mm:.0f} mm not linked ({how}), "
            f"{tally.center_error_mm[0]:.1f} mm off"
        )
        return tally
    tally.linked = 1
    if change.prior_volume_mm3 is None or change.prior_center_mm is None:
        return tally
    if np.linalg.norm(np.subtract(change.prior_center_mm, before.center_mm)) > before.diameter_mm:
        return tally  # against an older visit: the lesion was missed at this one
    true_change = 100 * (now.volume_mm3 / before.volume_mm3 - 1)
    truth = _category(true_change)
    if abs(now.diameter_mm / before.diameter_mm - 1) < 0.02:
        tally.zero = 1
        tally.zero_called_growth = int(change.category == "increased")
    tally.judged, tally.judged_right = 1, int(change.category == truth)
    exact = [
        Measurement(t.volume_mm3, t.diameter_mm, t.diameter_mm, slice_mm, kind=t.kind)
        for t, slice_mm in ((before, slices_mm[0]), (now, slices_mm[1]))
    ]
    tally.rule_right = int(change.category == judge(exact[0], exact[1], change.days).category)
    if min(now.diameter_mm, before.diameter_mm) >= LARGE_MM:
        assert change.volume_change_percent is not None
        tally.judged_large, tally.judged_large_right = 1, tally.judged_right
        tally.volume_error_points.append(abs(change.volume_change_percent - true_change))
    return tally


def _count_alone(
    tally: Tally,
    found: dict[int, Finding],
    gone: set[int],
    here: dict[int, Truth],
    there: dict[int, Truth],
    seen: Sequence[Visit],
    alignment: Alignment,
    where: str,
) -> None:
    """New lesions that were found, and those of the prior that are gone, where the other scan shows them."""
    ever = {truth.number for visit in seen[:-1] for truth in visit.truths}
    for number in here.keys() - ever:
        if number in found and alignment.prior_reaches(here[number].center_mm)[0]:
            change = found[number].change
            right = change is not None and change.category == "new"
            _one_alone(tally, right, f"{where}: new lesion {number} called {change and change.category}")
    for number in there.keys() - here.keys():
        if alignment.current_reaches(there[number].center_mm)[0]:
            _one_alone(tally, number in gone, f"{where}: lesion {number} not called resolved")


def _one_alone(tally: Tally, right: bool, fault: str) -> None:
    tally.alone += 1
    tally.alone_right += int(right)
    if not right:
        tally.faults.append(fault)


def _category(change_percent: float) -> str:
    if abs(change_percent) < TRUE_CHANGE_PERCENT:
        return "stable"
    return "increased" if change_percent > 0 else "decreased"


def _number(finding: Finding, truths: Sequence[Truth]) -> int:
    """Which lesion a finding is of; -1 for none."""
    distances = {t.number: float(np.linalg.norm(np.subtract(t.center_mm, finding.center_mm))) for t in truths}
    nearest = min(distances, key=lambda n: distances[n], default=-1)
    size = next((t.diameter_mm for t in truths if t.number == nearest), 0.0)
    return nearest if nearest >= 0 and distances[nearest] < 3 + size / 2 else -1


def main(arguments: Sequence[str] | None = None) -> None:
    """``python -m training.growth.evaluate``: prints figures as they come, and the faults at the end."""
    parser = argparse.ArgumentParser(prog="python -m training.growth.evaluate", description=__doc__)
    parser.add_argument("--chests", type=int, default=8, help="how many anatomies")
    parser.add_argument("--patients", type=int, default=8, help="patients on each")
    parser.add_argument("--first", type=int, default=0, help="number of the first patient")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args(arguments)
    backdrops = (Backdrop.of(200 + options.first + n) for n in range(options.chests))
    tally = evaluate(backdrops, options.patients, first_seed=options.first, progress=_print)
    print("\n".join(tally.faults))
    if options.json:
        options.json.write_text(json.dumps(tally.figures(), indent=1))


def _print(tally: Tally) -> None:
    print(json.dumps({name: round(value, 4) for name, value in tally.figures().items()}), flush=True)


if __name__ == "__main__":
    main()
