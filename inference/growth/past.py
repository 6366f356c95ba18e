"""What is known of a lesion from before, as guidelines ask for it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self, get_args

from inference.dates import as_day
from inference.findings import Change, Finding, SolidPart
from inference.growth import lung_rads
from inference.growth.judge import Judgement


@dataclass(frozen=True)
class Seen:
    """A lesion at a scan some ``days`` ago. ``mean_mm``: of long and short axis; ``category``: of Lung-RADS,
    as it was told then; ``solid``: as ``Finding.solid``; ``volume_mm3``: 0 where it is not known.
    ``judged``: the lesion now against that scan, told of the first that shows it solid."""

    days: int
    mean_mm: float
    category: lung_rads.Category | None = None
    kind: str | None = None
    solid: SolidPart | None = None
    volume_mm3: float = 0.0
    judged: Judgement | None = None

    @classmethod
    def of(cls, finding: Finding, days: int) -> Self:
        mean_mm = (finding.long_axis_mm + finding.short_axis_mm) / 2
        category = lung_rads_category(finding)
        return cls(days, mean_mm, category, finding.kind, finding.solid, finding.volume_mm3)


@dataclass(frozen=True)
class Past:
    """What is known of a lesion from before. ``category``: of Lung-RADS at the scan of the change. ``older``:
    of scans before that one, in any order; of those of one day the first counts. ``whole``: the lesion now,
    where it split: all parts as one. ``merged``: the scan of the change shows several that are one by now."""

    category: lung_rads.Category | None = None
    older: tuple[Seen, ...] = ()
    whole: Finding | None = None
    merged: bool = False


UNKNOWN: Final = Past()


def first_solid(older: Iterable[Seen]) -> Seen | None:
    """The first scan that shows a solid nodule whose volume is known."""
    known = (each for each in older if each.kind in (None, "solid") and each.volume_mm3 > 0)
    return max(known, key=lambda each: each.days, default=None)


def lung_rads_category(finding: Finding) -> lung_rads.Category | None:
    """As it was assessed; None where it was not."""
    told = {each.result for each in finding.assessments if each.guideline == lung_rads.NAME}
    return next((category for category in get_args(lung_rads.Category) if category in told), None)


def prior_axes_mm(change: Change | None) -> tuple[float, float] | None:
    if change is None or change.prior_long_axis_mm is None or change.prior_short_axis_mm is None:
        return None
    return change.prior_long_axis_mm, change.prior_short_axis_mm


def since(change: Change | None) -> str:
    """In words, empty where the prior's date is not known."""
    return f" since {as_day(change.prior_date)}" if change is not None and change.prior_date else ""
