"""What the guidelines for lung nodules make of a reading: by its changes where it was compared, else by what
is seen at first.

Neither why the scan was made is known here, nor the patient's age, risk and history: each guideline says what
it is for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Self, get_args

from inference.dates import as_day
from inference.findings import Assessment, Caveat, Change, Finding, Reading, SolidPart
from inference.growth import fleischner, lung_rads, nelson
from inference.growth.lung_rads import STABLE, SUBSOLID
from inference.growth.repeatability import sphere_diameter_mm
from inference.volume import Volume

GUIDELINES: Final = {
    "fleischner": "Fleischner 2017",
    "lung-rads": "Lung-RADS 2022",
    "bts": "BTS 2015",
    "nelson": "NELSON",
}
"""What assessments call each guideline, by its name in settings."""
_READER = "lung-nodules"
_SOLID_HU = -300
_LUNG_RADS = GUIDELINES["lung-rads"]


@dataclass(frozen=True)
class Seen:
    """A lesion at a scan some ``days`` ago. ``mean_mm``: of long and short axis; ``category``: of Lung-RADS,
    as it was told then; ``solid``: as ``Finding.solid``."""

    days: int
    mean_mm: float
    category: lung_rads.Category | None = None
    kind: str | None = None
    solid: SolidPart | None = None

    @classmethod
    def of(cls, finding: Finding, days: int) -> Self:
        mean_mm = (finding.long_axis_mm + finding.short_axis_mm) / 2
        return cls(days, mean_mm, lung_rads_category(finding), finding.kind, finding.solid)


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


def assessed(reading: Reading, volume: Volume, past: Mapping[str, Past] | None = None) -> Reading:
    """A reading of lung nodules with what guidelines make of every nodule, of those that are resolved and of
    the whole examination; any other reading as it is.

    Args:
        volume: the one that was read.
        past: by tracking UID, of findings that have a change.
    """
    if reading.reader != _READER:
        return reading
    measured = [replace(each, solid=_solid_part_of_mixed(each, volume)) for each in reading.findings]
    alike = Counter(map(_counted_as, measured))
    findings = tuple(
        replace(
            each,
            assessments=assess(
                _judged(each, (past or {}).get(each.tracking_uid, UNKNOWN), volume),
                (past or {}).get(each.tracking_uid, UNKNOWN),
                multiple=each.kind != "calcified" and alike[_counted_as(each)] > 1,
            ),
        )
        for each in measured
    )
    resolved = tuple(replace(each, assessments=_resolved(each)) for each in reading.resolved)
    gone = [category for each in reading.resolved if (category := lung_rads_category(each))]
    whole = _of_exam(findings, gone)
    if reading.unread:
        whole = _of_part(whole, reading.unread)
    return replace(reading, findings=findings, resolved=resolved, assessments=(whole,))


def _judged(finding: Finding, past: Past, volume: Volume) -> Finding:
    """What guidelines judge: of a lesion that split, all of it."""
    if past.whole is None:
        return finding
    return replace(past.whole, solid=_solid_part_of_mixed(past.whole, volume), change=finding.change)


def assess(finding: Finding, past: Past = UNKNOWN, *, multiple: bool = False) -> tuple[Assessment, ...]:
    """Fleischner, Lung-RADS, BTS and NELSON. What goes by volume is of solid nodules alone, and its growth of
    those that were solid before too. Of a nodule that is new since a prior, nothing volumetric.

    Args:
        multiple: the scan shows further nodules that are solid, or subsolid, as this one is; a calcified one
            is neither.
    """
    found = [_fleischner(finding, multiple), _lung_rads(finding, past)]
    change = finding.change
    if change is None and finding.kind in SUBSOLID:
        found.append(_subsolid_by_diameter(finding))
    elif change is None and finding.kind in _BY_VOLUME:
        found += _by_volume(finding)
    elif change is not None and {finding.kind, change.prior_kind} <= _BY_VOLUME:
        found += _by_growth(change)
    return tuple(found)


_BY_VOLUME: Final = frozenset({None, "solid"})


def by_guidelines(reading: Reading, names: Collection[str]) -> Reading:
    """The reading as ``names`` of ``GUIDELINES`` alone have it; where that leaves nothing out, itself. What
    no guideline says stays."""
    left_out = {guideline for name, guideline in GUIDELINES.items() if name not in names}

    def by_wanted(assessments: Sequence[Assessment]) -> tuple[Assessment, ...]:
        return tuple(each for each in assessments if each.guideline not in left_out)

    told = replace(
        reading,
        findings=tuple(replace(each, assessments=by_wanted(each.assessments)) for each in reading.findings),
        resolved=tuple(replace(each, assessments=by_wanted(each.assessments)) for each in reading.resolved),
        assessments=by_wanted(reading.assessments),
    )
    return reading if told == reading else told


def lung_rads_category(finding: Finding) -> lung_rads.Category | None:
    """As it was assessed; None where it was not."""
    told = {each.result for each in finding.assessments if each.guideline == _LUNG_RADS}
    return next((category for category in get_args(lung_rads.Category) if category in told), None)


def solid_part(finding: Finding, volume: Volume) -> SolidPart | None:
    """What is solid of a lesion that is part-solid or ground glass; None of any other, and of one that is
    part-solid and has no mask."""
    if finding.mask is None:
        return SolidPart(0.0, None) if finding.kind == "ground-glass" else None
    if finding.kind not in SUBSOLID:
        return None
    box = tuple(slice(o, o + n) for o, n in zip(finding.mask.origin, finding.mask.voxels.shape, strict=True))
    hu = volume.voxels[box][finding.mask.voxels]
    hu = hu[hu > _SOLID_HU]
    mean_hu = float(hu.mean()) if hu.size else None
    return SolidPart(sphere_diameter_mm(float(hu.size) * volume.voxel_mm3), mean_hu)


def _solid_part_of_mixed(finding: Finding, volume: Volume) -> SolidPart | None:
    return solid_part(finding, volume) if finding.kind == "part-solid" else None


def _counted_as(finding: Finding) -> lung_rads.Kind:
    """Solid, subsolid or calcified: the guidelines count those of one form alone as multiple."""
    return "part-solid" if finding.kind in SUBSOLID else _kind(finding.kind)


def _fleischner(finding: Finding, multiple: bool) -> Assessment:
    now = fleischner.rounded_diameter_mm(finding.long_axis_mm, finding.short_axis_mm)
    size = fleischner.size_class(now)
    before = _axes(finding.change)
    if before is not None:
        earlier = fleischner.rounded_diameter_mm(*before)
        part = _growth_of_solid_part(finding)
        said = "growth" if part or fleischner.has_grown(earlier, now) else "no growth"
        course = f"Mean diameter {earlier} mm, now {now} mm{part}: {said}{_since(finding.change)} ({size})."
        return Assessment("Fleischner 2017", said, course)
    new = ", not seen before" if finding.change else ""
    said = f"{_kind(finding.kind).capitalize()}, mean diameter {now} mm{new}."
    if size == "> 30 mm":
        return Assessment("Fleischner 2017", size, said, fleischner.MASS)
    if finding.kind in SUBSOLID:
        solid_mm = None
        if finding.kind == "part-solid":
            solid_mm = _whole_mm(finding.solid.diameter_mm if finding.solid else 0.0)
        management = fleischner.subsolid_management(now, solid_mm, multiple=multiple)
    else:
        management = fleischner.solid_management(size, multiple=multiple)
    return Assessment("Fleischner 2017", size, said, fleischner.APPLIES_TO + management)


def _growth_of_solid_part(finding: Finding) -> str:
    """In words, empty where it did not grow by what Fleischner asks for."""
    part = _SolidCourse.of(finding)
    if part.course is None:
        return ""
    if part.before_mm is None:
        return ", solid only now"
    before, now = _whole_mm(part.before_mm), _whole_mm(part.now_mm)
    return f", its solid part {before} mm, now {now} mm" if fleischner.has_grown(before, now) else ""


def _lung_rads(finding: Finding, past: Past) -> Assessment:
    kind, change = _kind(finding.kind), finding.change
    now = lung_rads.mean_diameter_mm(finding.long_axis_mm, finding.short_axis_mm)
    course = _course(change, past.older, now)
    part = _SolidCourse.of(finding)
    category = lung_rads.category(kind, now, course, part.now_mm, part.course)
    by_size, seen, stays = category, str(course), ""
    if change is not None and course in STABLE:
        category = _of_stable(finding, change, part, past, by_size)
        seen = lung_rads.in_words(course, _mean_mm(_axes(change), now), now)
        stays = f", category {past.category} before" if past.category else ""
    until = ", until it is proven benign" if category == "4B" != by_size else ""
    said = f"{kind.capitalize()}, {now:.1f} mm{part.words}, {seen}{stays}: category {category}{until}."
    return _by_lung_rads(category, said, lung_rads.management(category, _solid_mm(finding)))


def _course(change: Change | None, older: Sequence[Seen], now_mm: float) -> lung_rads.Course:
    before = _axes(change)
    if change is None:
        return "baseline"
    if before is None:
        return "new"
    newest = lung_rads.mean_diameter_mm(*before)
    scans = [(change.days, newest), *((each.days, lung_rads.rounded_mm(each.mean_mm)) for each in older)]
    return lung_rads.over_screens(lung_rads.course(newest, now_mm, change.days), scans, now_mm)


def _of_stable(
    finding: Finding, change: Change, part: _SolidCourse, past: Past, by_size: lung_rads.Category
) -> lung_rads.Category:
    """The category of a nodule that did not grow. It is a step lower for that only where it is known to be of
    one kind with a stable part; else it is no lower than it was. What was not told counts as its size then.

    Args:
        by_size: its category by size now.
    """
    kind, told, before = _kind(finding.kind), past.category, _axes(change)
    same = kind == _kind(change.prior_kind) and (kind != "part-solid" or part.course in STABLE)
    if before is None or not same:
        return lung_rads.worst(by_size, *([told] if told else []))
    if kind in ("ground-glass", "calcified"):
        return by_size
    then = lung_rads.category(kind, lung_rads.mean_diameter_mm(*before), "stable", part.before_mm or 0.0)
    days = _days_without_growth(finding, change.days, past, part)
    if told is None or past.merged:
        told = lung_rads.worst(then, *([told] if told else []))
    return lung_rads.at_follow_up(told, then, by_size, days)


def _days_without_growth(finding: Finding, days: int, past: Past, part: _SolidCourse) -> int:
    """Days since the oldest scan from which on it was told the category of the newest prior at every one, was
    of the kind it is, and has not grown, whole or solid part. Scans too close to each other to be the
    follow-up make one together.

    Args:
        days: since the newest prior.
    """
    now = lung_rads.mean_diameter_mm(finding.long_axis_mm, finding.short_axis_mm)
    by_day = {each.days: each for each in reversed(past.older)}
    for ago, seen in sorted(by_day.items()):
        if past.category is None or seen.category != past.category or _kind(seen.kind) != _kind(finding.kind):
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


@dataclass(frozen=True)
class _SolidCourse:
    """What became of the solid part of a part-solid nodule, or of one that was subsolid and is solid now;
    ``course``: None where that is not known; ``before_mm``: None where it was not measured."""

    now_mm: float = 0.0
    before_mm: float | None = None
    course: lung_rads.Course | None = None
    words: str = ""

    @classmethod
    def of(cls, finding: Finding) -> Self:
        change = finding.change
        if change is not None and finding.kind not in SUBSOLID and change.prior_kind in SUBSOLID:
            return cls._of_whole(finding, change)
        if finding.solid is None:
            return cls()
        now = lung_rads.rounded_mm(finding.solid.diameter_mm)
        if change is None or change.prior_solid is None:
            return cls(now, words=f" (solid part {now:.1f} mm)")
        return cls._since(change.prior_solid, now, change.days, f"{now:.1f} mm")

    @classmethod
    def _of_whole(cls, finding: Finding, change: Change) -> Self:
        """The whole as a solid part, measured as one: by its volume. It is larger than a part that was not
        measured, by how much is not known, and counts as grown."""
        now = lung_rads.rounded_mm(sphere_diameter_mm(finding.volume_mm3))
        if change.prior_solid is None:
            return cls(now, None, "growing", f" ({change.prior_kind} before, now solid: growing)")
        return cls._since(change.prior_solid, now, change.days, f"the whole, {now:.1f} mm")

    @classmethod
    def _since(cls, prior: SolidPart, now: float, days: int, words: str) -> Self:
        before = lung_rads.rounded_mm(prior.diameter_mm)
        course = lung_rads.solid_course(before, now, days)
        told = lung_rads.in_words(course, before, now)
        return cls(now, before, course, f" (solid part {before:.1f} mm, now {words}: {told})")


def _solid_mm(finding: Finding) -> float:
    """Mean diameter of what is solid of a nodule, to one decimal."""
    if finding.kind in SUBSOLID:
        return lung_rads.rounded_mm(finding.solid.diameter_mm) if finding.solid else 0.0
    return lung_rads.mean_diameter_mm(finding.long_axis_mm, finding.short_axis_mm)


def _subsolid_by_diameter(finding: Finding) -> Assessment:
    """At first sight, by BTS."""
    size = nelson.bts_subsolid_size(finding.long_axis_mm)
    said = f"{_kind(finding.kind).capitalize()}, largest diameter {finding.long_axis_mm:.1f} mm."
    return Assessment("BTS 2015", size, said, nelson.BTS_MANAGEMENT[size])


def _by_volume(finding: Finding) -> list[Assessment]:
    """At first sight, of a solid nodule."""
    size, result = nelson.bts_size(finding.volume_mm3), nelson.size_result(finding.volume_mm3)
    said = f"Solid, {finding.volume_mm3:.0f} mm3"
    return [
        Assessment("BTS 2015", size, f"{said}.", nelson.BTS_MANAGEMENT[size]),
        _by_nelson(result, f"{said}: {result}.", nelson.SIZE_MANAGEMENT[result]),
    ]


def _by_growth(change: Change) -> list[Assessment]:
    percent = change.volume_change_percent
    if percent is None:
        return []
    growth = nelson.bts_growth(percent, change.doubling_time_days)
    result = nelson.growth_result(percent, change.doubling_time_days)
    time = f", doubling in {change.doubling_time_days:.0f} days" if change.doubling_time_days else ""
    if percent >= nelson.GROWTH_PERCENT and change.doubling_time_days is None:
        time = (
            ", over too short or unknown a time for a doubling time"
            if change.significant
            else ", within what repeated scans differ by"
        )
    said = f"Volume {percent:+.0f} %{_since(change)}{time}: {{}}."
    return [
        Assessment("BTS 2015", growth, said.format(growth), nelson.BTS_GROWTH_MANAGEMENT[growth]),
        _by_nelson(result, said.format(result), nelson.GROWTH_MANAGEMENT.get(result, "")),
    ]


def _since(change: Change | None) -> str:
    """In words, empty where the prior's date is not known."""
    return f" since {as_day(change.prior_date)}" if change is not None and change.prior_date else ""


def _by_nelson(result: nelson.Result, statement: str, management: str) -> Assessment:
    return Assessment("NELSON", result, statement, management and nelson.NELSON_APPLIES_TO + management)


def _resolved(finding: Finding) -> tuple[Assessment, ...]:
    before = lung_rads_category(finding)
    if before is None or lung_rads.of_exam((), [before]) == "1":
        return ()
    said = f"Resolved, category {before} before: category 2."
    return (_by_lung_rads("2", said, lung_rads.management("2")),)


def _of_exam(findings: Sequence[Finding], resolved: Sequence[lung_rads.Category]) -> Assessment:
    categories = [category for each in findings if (category := lung_rads_category(each))]
    whole = lung_rads.of_exam(categories, resolved)
    alike = [each for each in findings if lung_rads_category(each) == whole]
    if not alike:
        why = "a nodule has resolved" if whole == "2" else "no nodule"
        return _by_lung_rads(whole, f"Category {whole}, {why}.", lung_rads.management(whole))
    why = f"the most suspicious of {len(findings)} nodules" if len(findings) > 1 else "one nodule"
    leading = max(alike, key=_solid_mm)
    (told,) = (each for each in leading.assessments if each.guideline == _LUNG_RADS)
    return replace(told, statement=f"Category {whole}, {why}.")


def _of_part(seen: Assessment, unread: Sequence[Caveat]) -> Assessment:
    """
    Args:
        seen: what the examination is by the part that was read.
    """
    why = " ".join(caveat.statement for caveat in unread)
    category = lung_rads.of_part(next(c for c in get_args(lung_rads.Category) if c == seen.result))
    if category == "0":
        return Assessment(_LUNG_RADS, category, f"Category 0, incomplete: {why}", _UNREAD_MANAGEMENT)
    return replace(seen, statement=f"{seen.statement} At least that: {why}")


_UNREAD_MANAGEMENT: Final = (
    f"{lung_rads.APPLIES_TO}CT of the part that was not read, unless the images that are missing can be sent."
)


def _by_lung_rads(category: lung_rads.Category, statement: str, management: str) -> Assessment:
    return Assessment(_LUNG_RADS, category, statement, lung_rads.APPLIES_TO + management)


def _axes(change: Change | None) -> tuple[float, float] | None:
    if change is None or change.prior_long_axis_mm is None or change.prior_short_axis_mm is None:
        return None
    return change.prior_long_axis_mm, change.prior_short_axis_mm


def _mean_mm(axes_mm: tuple[float, float] | None, unknown_mm: float) -> float:
    return unknown_mm if axes_mm is None else lung_rads.mean_diameter_mm(*axes_mm)


def _whole_mm(size_mm: float) -> int:
    return fleischner.rounded_diameter_mm(size_mm, size_mm)


def _kind(words: str | None) -> lung_rads.Kind:
    match words:
        case "part-solid" | "ground-glass" | "calcified" as kind:
            return kind
        case _:
            return "solid"
