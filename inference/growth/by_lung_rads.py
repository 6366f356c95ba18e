"""A nodule, and the examination, as Lung-RADS assesses them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, get_args

from inference.findings import Assessment, Caveat, Change, Finding
from inference.growth import lung_rads
from inference.growth.lung_rads import STABLE, SUBSOLID
from inference.growth.past import Past, Seen, lung_rads_category, prior_axes_mm
from inference.growth.solid import SolidCourse, kind_of


def assessment(finding: Finding, past: Past) -> Assessment:
    kind, change = kind_of(finding.kind), finding.change
    now = lung_rads.mean_diameter_mm(finding.long_axis_mm, finding.short_axis_mm)
    course = _course(change, past.older, now)
    part = SolidCourse.of(finding)
    category = lung_rads.category(kind, now, course, part.now_mm, part.course)
    by_size, seen, stays = category, str(course), ""
    if change is not None and course in STABLE:
        category = _of_stable(finding, change, part, past, by_size)
        seen = lung_rads.in_words(course, _mean_mm(prior_axes_mm(change), now), now)
        stays = f", category {past.category} before" if past.category else ""
    until = ", until it is proven benign" if category == "4B" != by_size else ""
    said = f"{kind.capitalize()}, {now:.1f} mm{part.words}, {seen}{stays}: category {category}{until}."
    return _by_lung_rads(category, said, lung_rads.management(category, _solid_mm(finding)))


def of_resolved(finding: Finding) -> tuple[Assessment, ...]:
    before = lung_rads_category(finding)
    if before is None or lung_rads.of_exam((), [before]) == "1":
        return ()
    said = f"Resolved, category {before} before: category 2."
    return (_by_lung_rads("2", said, lung_rads.management("2")),)


def of_exam(findings: Sequence[Finding], resolved: Sequence[lung_rads.Category]) -> Assessment:
    categories = [category for each in findings if (category := lung_rads_category(each))]
    whole = lung_rads.of_exam(categories, resolved)
    alike = [each for each in findings if lung_rads_category(each) == whole]
    if not alike:
        why = "a nodule has resolved" if whole == "2" else "no nodule"
        return _by_lung_rads(whole, f"Category {whole}, {why}.", lung_rads.management(whole))
    why = f"the most suspicious of {len(findings)} nodules" if len(findings) > 1 else "one nodule"
    leading = max(alike, key=_solid_mm)
    (told,) = (each for each in leading.assessments if each.guideline == lung_rads.NAME)
    return replace(told, statement=f"Category {whole}, {why}.")


def of_part(seen: Assessment, unread: Sequence[Caveat]) -> Assessment:
    """
    Args:
        seen: what the examination is by the part that was read.
    """
    why = " ".join(caveat.statement for caveat in unread)
    category = lung_rads.of_part(next(c for c in get_args(lung_rads.Category) if c == seen.result))
    if category == "0":
        return Assessment(lung_rads.NAME, category, f"Category 0, incomplete: {why}", _UNREAD_MANAGEMENT)
    return replace(seen, statement=f"{seen.statement} At least that: {why}")


_UNREAD_MANAGEMENT: Final = (
    f"{lung_rads.APPLIES_TO}CT of the part that was not read, unless the images that are missing can be sent."
)


def _course(change: Change | None, older: Sequence[Seen], now_mm: float) -> lung_rads.Course:
    before = prior_axes_mm(change)
    if change is None:
        return "baseline"
    if before is None:
        return "new"
    newest = lung_rads.mean_diameter_mm(*before)
    scans = [(change.days, newest), *((each.days, lung_rads.rounded_mm(each.mean_mm)) for each in older)]
    return lung_rads.over_screens(lung_rads.course(newest, now_mm, change.days), scans, now_mm)


def _of_stable(
    finding: Finding, change: Change, part: SolidCourse, past: Past, by_size: lung_rads.Category
) -> lung_rads.Category:
    """The category of a nodule that did not grow. It is a step lower for that only where it is known to be of
    one kind with a stable part; else it is no lower than it was. What was not told counts as its size then.

    Args:
        by_size: its category by size now.
    """
    kind, told, before = kind_of(finding.kind), past.category, prior_axes_mm(change)
    same = kind == kind_of(change.prior_kind) and (kind != "part-solid" or part.course in STABLE)
    if before is None or not same:
        return lung_rads.worst(by_size, *([told] if told else []))
    if kind in ("ground-glass", "calcified"):
        return by_size
    then = lung_rads.category(kind, lung_rads.mean_diameter_mm(*before), "stable", part.before_mm or 0.0)
    days = _days_without_growth(finding, change.days, past, part)
    if told is None or past.merged:
        told = lung_rads.worst(then, *([told] if told else []))
    return lung_rads.at_follow_up(told, then, by_size, days)


def _days_without_growth(finding: Finding, days: int, past: Past, part: SolidCourse) -> int:
    """Days since the oldest scan from which on it was told the category of the newest prior at every one, was
    of the kind it is, and has not grown, whole or solid part. Scans too close to each other to be the
    follow-up make one together.

    Args:
        days: since the newest prior.
    """
    now = lung_rads.mean_diameter_mm(finding.long_axis_mm, finding.short_axis_mm)
    by_day = {each.days: each for each in reversed(past.older)}
    for ago, seen in sorted(by_day.items()):
        if (
            past.category is None
            or seen.category != past.category
            or kind_of(seen.kind) != kind_of(finding.kind)
        ):
            break
        courses = [lung_rads.course(lung_rads.rounded_mm(seen.mean_mm), now, ago)]
        if finding.kind == "part-solid":
            if seen.solid is None:
                break
            solid_mm = lung_rads.rounded_mm(seen.solid.diameter_mm)
            courses.append(lung_rads.solid_course(solid_mm, part.now_mm, ago))
        if any(course not in STABLE for course in courses):
            break
        days = ago
    return days


def _solid_mm(finding: Finding) -> float:
    """Mean diameter of what is solid of a nodule, to one decimal."""
    if finding.kind in SUBSOLID:
        return lung_rads.rounded_mm(finding.solid.diameter_mm) if finding.solid else 0.0
    return lung_rads.mean_diameter_mm(finding.long_axis_mm, finding.short_axis_mm)


def _mean_mm(axes_mm: tuple[float, float] | None, unknown_mm: float) -> float:
    return unknown_mm if axes_mm is None else lung_rads.mean_diameter_mm(*axes_mm)


def _by_lung_rads(category: lung_rads.Category, statement: str, management: str) -> Assessment:
    return Assessment(lung_rads.NAME, category, statement, lung_rads.APPLIES_TO + management)
