"""Two measurements of one lesion become a change: how much, whether it is real, how fast."""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import Final

from inference.findings import Category, Finding
from inference.growth.repeatability import Repeats, change_limit_percent, sphere_diameter_mm, volume_cv

LEAST_DAYS_FOR_DOUBLING_TIME: Final = 90
"""Over a shorter time the error of measurement decides the doubling time. This project's choice."""


@dataclass(frozen=True)
class Measurement:
    """One lesion at one date; ``slice_mm``: see ``Volume.slice_mm``. ``repeats``: of the network that drew
    it, None where that is not known."""

    volume_mm3: float
    long_axis_mm: float
    short_axis_mm: float
    slice_mm: float
    mean_hu: float | None = None
    kind: str | None = None
    repeats: Repeats | None = None

    @classmethod
    def of(cls, finding: Finding, slice_mm: float, repeats: Repeats | None = None) -> Measurement:
        return cls(
            finding.volume_mm3,
            finding.long_axis_mm,
            finding.short_axis_mm,
            slice_mm,
            finding.mean_hu,
            finding.kind,
            repeats,
        )

    @property
    def mean_diameter_mm(self) -> float:
        """Mean of long and short axis, unrounded."""
        return (self.long_axis_mm + self.short_axis_mm) / 2

    @property
    def volume_cv(self) -> float:
        return volume_cv(sphere_diameter_mm(self.volume_mm3), self.slice_mm, self.kind, self.repeats)


@dataclass(frozen=True)
class Judgement:
    """``limit_percent``: what the volume had to change by, up or down, to be called a change;
    ``doubling_time_days``: only of a significant increase over time enough."""

    category: Category
    significant: bool
    volume_change_percent: float
    limit_percent: float
    long_axis_change_mm: float
    short_axis_change_mm: float
    mean_hu_change: float | None
    doubling_time_days: float | None


def judge(prior: Measurement, current: Measurement, days: int) -> Judgement:
    """Set ``current`` against ``prior``, measured ``days`` earlier (0 where the time is not known).

    Raises:
        ValueError: a volume is not above 0 mm³.
    """
    if not (prior.volume_mm3 > 0 and current.volume_mm3 > 0):
        raise ValueError(
            f"A change needs two volumes above 0 mm³, not {prior.volume_mm3} and {current.volume_mm3}."
        )
    change = volume_change_percent(prior.volume_mm3, current.volume_mm3)
    limit = change_limit_percent(prior.volume_mm3, prior.volume_cv, current.volume_mm3, current.volume_cv)
    significant = abs(change) >= limit
    category: Category = "stable" if not significant else "increased" if change > 0 else "decreased"
    timed = category == "increased" and days >= LEAST_DAYS_FOR_DOUBLING_TIME
    known = prior.mean_hu is not None and current.mean_hu is not None
    return Judgement(
        category=category,
        significant=significant,
        volume_change_percent=change,
        limit_percent=limit,
        long_axis_change_mm=current.long_axis_mm - prior.long_axis_mm,
        short_axis_change_mm=current.short_axis_mm - prior.short_axis_mm,
        mean_hu_change=current.mean_hu - prior.mean_hu if known else None,  # type: ignore[operator]
        doubling_time_days=doubling_time_days(prior.volume_mm3, current.volume_mm3, days) if timed else None,
    )


def volume_change_percent(prior_mm3: float, current_mm3: float) -> float:
    return 100 * (current_mm3 / prior_mm3 - 1)


def doubling_time_days(prior_mm3: float, current_mm3: float, days: float) -> float | None:
    """Volume doubling time of exponential growth (Schwartz 1961), ``days * ln 2 / ln(V2 / V1)``; negative
    where the lesion shrinks, None where the volume is the same or no time has passed."""
    if prior_mm3 == current_mm3 or days <= 0:
        return None
    return days * log(2) / log(current_mm3 / prior_mm3)
