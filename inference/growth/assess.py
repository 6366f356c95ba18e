"""What the guidelines for lung nodules make of a reading: by its changes where it was compared, else by what
is seen at first.

Neither why the scan was made is known here, nor the patient's age, risk and history: each guideline says what
it is for.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Self, get_args

from inference.findings import Assessment, Change, Finding, Reading, SolidPart
from inference.growth import fleischner, lung_rads, nelson
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
_SUBSOLID = ("part-solid", "ground-glass")
_LUNG_RADS = GUIDELINES["lung-rads"]
_STABLE = ("stable", "stable over unknown time")


@dataclass(frozen=True)
class Past:
    """What is known of a lesion from before. ``category``: of Lung-RADS at the scan of the change. ``older``:
    of scans before that one, how many days ago, and long and short axis as a mean in mm."""

    category: lung_rads.Category | None = None
    older: tuple[tuple[int, float], ...] = ()


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
    subsolid = [each.kind in _SUBSOLID for each in measured]
    findings = tuple(
        replace(
            each,
            assessments=assess(
                each,
                (past or {}).get(each.tracking_uid, UNKNOWN),
                multiple=subsolid.count(each.kind in _SUBSOLID) > 1,
            ),
        )
        for each in measured
    )
    resolved = tuple(replace(each, assessments=_resolved(each)) for each in reading.resolved)
    gone = [category for each in reading.resolved if (category := lung_rads_category(each))]
    whole = _of_exam(findings, gone)
    return replace(reading, findings=findings, resolved=resolved, assessments=(whole,))


def assess(finding: Finding, past: Past = UNKNOWN, *, multiple: bool = False) -> tuple[Assessment, ...]:
    """Fleischner, Lung-RADS, BTS and NELSON, the last of solid nodules alone. Of a nodule that is new since a
    prior, nothing volumetric.

    Args:
        multiple: the scan shows further nodules that are solid, or subsolid, as this one is.
    """
    found = [_fleischner(finding, multiple), _lung_rads(finding, past)]
    change = finding.change
    if change is None:
        return (*found, *_by_volume(finding))
    if finding.kind in (None, "solid") and change.volume_change_percent is not None:
        found += _by_growth(change.volume_change_percent, change)
    return tuple(found)


def by_guidelines(reading: Reading, names: Collection[str]) -> Reading:
    """The reading as ``names`` of ``GUIDELINES`` alone have it; where that leaves nothing out, itself."""
    wanted = {GUIDELINES[name] for name in names}

    def by_wanted(assessments: Sequence[Assessment]) -> tuple[Assessment, ...]:
        return tuple(each for each in assessments if each.guideline in wanted)

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
    if finding.kind not in _SUBSOLID:
        return None
    box = tuple(slice(o, o + n) for o, n in zip(finding.mask.origin, finding.mask.voxels.shape, strict=True))
    hu = volume.voxels[box][finding.mask.voxels]
    hu = hu[hu > _SOLID_HU]
    mean_hu = float(hu.mean()) if hu.size else None
    return SolidPart(sphere_diameter_mm(float(hu.size) * volume.voxel_mm3), mean_hu)


def _solid_part_of_mixed(finding: Finding, volume: Volume) -> SolidPart | None:
    return solid_part(finding, volume) if finding.kind == "part-solid" else None


def _fleischner(finding: Finding, multiple: bool) -> Assessment:
    now = fleischner.rounded_diameter_mm(finding.long_axis_mm, finding.short_axis_mm)
    size = fleischner.size_class(now)
    before = _axes(finding.change)
    if before is not None:
        earlier = fleischner.rounded_diameter_mm(*before)
        said = "growth" if fleischner.has_grown(earlier, now) else "no growth"
        return Assessment(
            "Fleischner 2017", said, f"Mean diameter {earlier} mm, now {now} mm: {said} ({size})."
        )
    new = ", not seen before" if finding.change else ""
    if finding.kind in _SUBSOLID:
        part = None
        if finding.kind == "part-solid":
            part = _whole_mm(finding.solid.diameter_mm if finding.solid else 0.0)
        management = fleischner.subsolid_management(now, part, multiple=multiple)
    else:
        management = fleischner.solid_management(size, multiple=multiple)
    said = f"{_kind(finding.kind).capitalize()}, mean diameter {now} mm{new}."
    return Assessment("Fleischner 2017", size, said, fleischner.APPLIES_TO + management)


def _lung_rads(finding: Finding, past: Past) -> Assessment:
    kind, change = _kind(finding.kind), finding.change
    now = lung_rads.mean_diameter_mm(finding.long_axis_mm, finding.short_axis_mm)
    course = _course(change, past.older, now)
    part = _SolidCourse.of(finding)
    category = lung_rads.category(kind, now, course, part.now_mm, part.course)
    stays = ""
    if change is not None and course in _STABLE:
        category = _of_stable(kind, change, part, past.category, category)
        stays = f", category {past.category} before" if past.category else ""
    said = f"{kind.capitalize()}, {now:.1f} mm{part.words}, {course}{stays}: category {category}."
    solid_mm = part.now_mm if kind in _SUBSOLID else now
    return _by_lung_rads(category, said, lung_rads.management(category, solid_mm))


def _course(change: Change | None, older: Sequence[tuple[int, float]], now_mm: float) -> lung_rads.Course:
    before = _axes(change)
    if change is None:
        return "baseline"
    if before is None:
        return "new"
    newest = lung_rads.mean_diameter_mm(*before)
    scans = [(change.days, newest), *((days, lung_rads.rounded_mm(mm)) for days, mm in older)]
    return lung_rads.over_screens(lung_rads.course(newest, now_mm, change.days), scans, now_mm)


def _of_stable(
    kind: lung_rads.Kind,
    change: Change,
    part: _SolidCourse,
    told: lung_rads.Category | None,
    by_size: lung_rads.Category,
) -> lung_rads.Category:
    """The category of a nodule that did not grow. It is a step lower for that only where it is known to be of
    one kind with a stable part; else it is no lower than it was. What was not told counts as its size then.

    Args:
        told: at the scan of the change; by_size: its category by size now.
    """
    before = _axes(change)
    same = kind == _kind(change.prior_kind) and (kind != "part-solid" or part.course in _STABLE)
    if before is None or not same:
        return lung_rads.worst(by_size, *([told] if told else []))
    if kind in ("ground-glass", "calcified"):
        return by_size
    then = lung_rads.category(kind, lung_rads.mean_diameter_mm(*before), "stable", part.before_mm)
    return lung_rads.at_follow_up(told or then, then, by_size, change.days)


@dataclass(frozen=True)
class _SolidCourse:
    """What became of the solid part of a part-solid nodule; ``course``: None where that is not known."""

    now_mm: float = 0.0
    before_mm: float = 0.0
    course: lung_rads.Course | None = None
    words: str = ""

    @classmethod
    def of(cls, finding: Finding) -> Self:
        if finding.solid is None:
            return cls()
        now = lung_rads.rounded_mm(finding.solid.diameter_mm)
        if finding.change is None or finding.change.prior_solid is None:
            return cls(now, words=f" (solid part {now:.1f} mm)")
        before = lung_rads.rounded_mm(finding.change.prior_solid.diameter_mm)
        course = lung_rads.solid_course(before, now, finding.change.days)
        return cls(now, before, course, f" (solid part {before:.1f} mm, now {now:.1f} mm: {course})")


def _by_volume(finding: Finding) -> list[Assessment]:
    """At first sight; BTS asks for the largest diameter of what is not solid."""
    kind = _kind(finding.kind)
    if kind in _SUBSOLID:
        diameter = nelson.bts_subsolid_size(finding.long_axis_mm)
        said = f"{kind.capitalize()}, largest diameter {finding.long_axis_mm:.1f} mm."
        return [Assessment("BTS 2015", diameter, said, nelson.BTS_MANAGEMENT[diameter])]
    size, result = nelson.bts_size(finding.volume_mm3), nelson.size_result(finding.volume_mm3)
    said = f"{kind.capitalize()}, {finding.volume_mm3:.0f} mm3"
    return [
        Assessment("BTS 2015", size, f"{said}.", nelson.BTS_MANAGEMENT[size]),
        _by_nelson(result, f"{said}: {result}.", nelson.SIZE_MANAGEMENT[result]),
    ]


def _by_growth(percent: float, change: Change) -> list[Assessment]:
    growth = nelson.bts_growth(percent, change.doubling_time_days)
    result = nelson.growth_result(percent, change.doubling_time_days)
    time = f", doubling in {change.doubling_time_days:.0f} days" if change.doubling_time_days else ""
    if percent >= nelson.GROWTH_PERCENT and change.doubling_time_days is None:
        time = (
            ", over too short or unknown a time for a doubling time"
            if change.significant
            else ", within what repeated scans differ by"
        )
    said = f"Volume {percent:+.0f} %{time}: {{}}."
    return [
        Assessment("BTS 2015", growth, said.format(growth), nelson.BTS_GROWTH_MANAGEMENT[growth]),
        _by_nelson(result, said.format(result), nelson.GROWTH_MANAGEMENT.get(result, "")),
    ]


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
    leading = next((each for each in findings if lung_rads_category(each) == whole), None)
    if leading is None:
        why = "a nodule has resolved" if whole == "2" else "no nodule"
        return _by_lung_rads(whole, f"Category {whole}, {why}.", lung_rads.management(whole))
    why = f"the most suspicious of {len(findings)} nodules" if len(findings) > 1 else "one nodule"
    (told,) = (each for each in leading.assessments if each.guideline == _LUNG_RADS)
    return replace(told, statement=f"Category {whole}, {why}.")


def _by_lung_rads(category: lung_rads.Category, statement: str, management: str) -> Assessment:
    return Assessment(_LUNG_RADS, category, statement, lung_rads.APPLIES_TO + management)


def _axes(change: Change | None) -> tuple[float, float] | None:
    if change is None or change.prior_long_axis_mm is None or change.prior_short_axis_mm is None:
        return None
    return change.prior_long_axis_mm, change.prior_short_axis_mm


def _whole_mm(size_mm: float) -> int:
    return fleischner.rounded_diameter_mm(size_mm, size_mm)


def _kind(words: str | None) -> lung_rads.Kind:
    match words:
        case "part-solid" | "ground-glass" | "calcified" as kind:
            return kind
        case _:
            return "solid"
