"""What the guidelines for lung nodules, and RECIST for any lesion, make of a reading and its priors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

from inference.findings import Assessment, Change, Finding, Reading, Response, SolidPart
from inference.growth import fleischner, lung_rads, nelson, recist
from inference.growth.repeatability import sphere_diameter_mm
from inference.volume import Volume

_READER = "lung-nodules"
_SOLID_HU = -300
_LYMPH_NODE = "lymph node"
_MEANING = {
    "CR": "Complete response",
    "PR": "Partial response",
    "SD": "Stable disease",
    "PD": "Progressive disease",
}


def assess(
    reader: str, finding: Finding, change: Change, older: Sequence[tuple[int, float]] = ()
) -> tuple[Assessment, ...]:
    """Fleischner, Lung-RADS and, for solid nodules, BTS and NELSON; nothing for what is no lung nodule.

    Args:
        older: of the same lesion in scans before the one of the change, how many days ago, and long and short
            axis as a mean in mm.
    """
    if reader != _READER:
        return ()
    found = [_fleischner(finding, change), _lung_rads(finding, change, older)]
    if finding.kind in (None, "solid") and change.volume_change_percent is not None:
        found += _volumetric(change.volume_change_percent, change)
    return tuple(found)


def _fleischner(finding: Finding, change: Change) -> Assessment:
    now = fleischner.rounded_diameter_mm(finding.long_axis_mm, finding.short_axis_mm)
    size = fleischner.size_class(now)
    before = _axes(change)
    if before is None:
        return Assessment("Fleischner 2017", size, f"Mean diameter {now} mm, not seen before.")
    earlier = fleischner.rounded_diameter_mm(*before)
    grown = fleischner.has_grown(earlier, now)
    said = "growth" if grown else "no growth"
    return Assessment("Fleischner 2017", said, f"Mean diameter {earlier} mm, now {now} mm: {said} ({size}).")


def solid_part(finding: Finding, volume: Volume) -> SolidPart | None:
    """What is solid of a lesion that is part-solid or ground glass; None of any other, and of one that is
    part-solid and has no mask."""
    if finding.mask is None:
        return SolidPart(0.0, None) if finding.kind == "ground-glass" else None
    if finding.kind not in ("part-solid", "ground-glass"):
        return None
    box = tuple(slice(o, o + n) for o, n in zip(finding.mask.origin, finding.mask.voxels.shape, strict=True))
    hu = volume.voxels[box][finding.mask.voxels]
    hu = hu[hu > _SOLID_HU]
    mean_hu = float(hu.mean()) if hu.size else None
    return SolidPart(sphere_diameter_mm(float(hu.size) * volume.voxel_mm3), mean_hu)


def _lung_rads(finding: Finding, change: Change, older: Sequence[tuple[int, float]]) -> Assessment:
    now = lung_rads.mean_diameter_mm(finding.long_axis_mm, finding.short_axis_mm)
    before = _axes(change)
    course: lung_rads.Course = "new"
    if before is not None:
        newest = lung_rads.mean_diameter_mm(*before)
        scans = [(change.days, newest), *((days, lung_rads.rounded_mm(mm)) for days, mm in older)]
        course = lung_rads.over_screens(lung_rads.course(newest, now, change.days), scans, now)
    kind = _kind(finding.kind)
    part = _SolidCourse.of(change)
    category = lung_rads.category(kind, now, course, part.now_mm, part.course)
    same_kind = kind == _kind(change.prior_kind)
    if course == "stable" and same_kind and (kind != "part-solid" or part.course == "stable"):
        category = lung_rads.stepped_down(category, change.days)
    said = f"{kind.capitalize()}, {now:.1f} mm{part.words}, {course}: category {category}."
    return Assessment("Lung-RADS 2022", category, said)


@dataclass(frozen=True)
class _SolidCourse:
    """What became of the solid part of a part-solid nodule; ``course``: None where that is not known."""

    now_mm: float = 0.0
    course: lung_rads.Course | None = None
    words: str = ""

    @classmethod
    def of(cls, change: Change) -> Self:
        if change.solid is None:
            return cls()
        now = lung_rads.rounded_mm(change.solid.diameter_mm)
        if change.prior_solid is None:
            return cls(now, None, f" (solid part {now:.1f} mm)")
        before = lung_rads.rounded_mm(change.prior_solid.diameter_mm)
        course = lung_rads.solid_course(before, now, change.days)
        return cls(now, course, f" (solid part {before:.1f} mm, now {now:.1f} mm: {course})")


def _volumetric(percent: float, change: Change) -> list[Assessment]:
    growth = nelson.bts_growth(percent, change.doubling_time_days)
    result = nelson.growth_result(percent, change.doubling_time_days)
    if percent >= nelson.GROWTH_PERCENT and change.doubling_time_days is None:
        reason = (
            "over too short or unknown a time for a doubling time"
            if change.significant
            else "within what repeated scans differ by"
        )
        why = f"Volume {percent:+.0f} %, {reason}: {result}."
        return [Assessment("BTS 2015", growth, why), Assessment("NELSON", result, why)]
    time = f", doubling in {change.doubling_time_days:.0f} days" if change.doubling_time_days else ""
    said = f"Volume {percent:+.0f} %{time}: {{}}."
    return [
        Assessment("BTS 2015", growth, said.format(growth)),
        Assessment("NELSON", result, said.format(result)),
    ]


def respond(
    time_points: Sequence[Reading], slice_mm: float, *, parts: Mapping[str, str] | None = None
) -> Response | None:
    """RECIST 1.1 from the baseline to the last time point; None where there is nothing to judge by. The
    baseline is the first time point, or that of the response which was given at it. What was resolved once
    stays so until it is found again. A new lesion counts from when it is large enough to be measured, so that
    no single doubtful spot makes progression.

    Args:
        parts: the tracking UID of the lesion that split, by that of each further part at the last time point.
    """
    before = _judged_before(time_points[0])
    lesions: list[list[recist.Lesion]] = []
    resolved = _gone_before(before, time_points[0]) if before else {}
    new = set(before.new_lesions) if before else set()
    doubtful = set(before.doubtful) if before else set()
    for number, reading in enumerate(time_points):
        seen = [_lesion(finding) for finding in reading.findings]
        if number == len(time_points) - 1 and parts:
            seen = [replace(each, uid=parts.get(each.uid, each.uid)) for each in seen]
        for finding in reading.resolved:
            resolved[finding.tracking_uid] = _gone(_lesion(finding))
        for each in seen:
            resolved.pop(each.uid, None)
        lesions.append([*seen, *resolved.values()])
        if number:
            doubtful |= {f.tracking_uid for f in reading.findings if f.change and f.change.category == "new"}
        new |= {each.uid for each in seen if each.uid in doubtful and recist.is_measurable(each, slice_mm)}
        doubtful -= new | resolved.keys()
    course = recist.evaluate(lesions, slice_mm, new=new, earlier=_earlier(before) if before else None)
    if course is None:
        return None
    studies = len(time_points) + (before.studies - 1 if before else 0)
    return Response(
        "RECIST 1.1",
        course.response,
        _statement(course, studies),
        course.baseline_mm,
        course.nadir_mm,
        course.sums_mm[-1],
        course.targets,
        course.target,
        new_lesions=tuple(sorted(course.new)),
        doubtful=tuple(sorted(doubtful)),
        others=tuple(sorted(course.others)),
        studies=studies,
    )


def _statement(course: recist.Course, studies: int) -> str:
    """What is judged is no more than the studies that were compared: the first of them stands for the
    baseline, which may lie before it."""
    said = "no target lesions"
    if course.targets:
        said = (
            f"sum of diameters of {len(course.targets)} target lesions {course.sums_mm[-1]:.0f} mm, "
            f"at the first of {studies} studies compared {course.baseline_mm:.0f} mm, "
            f"at its smallest {course.nadir_mm:.0f} mm"
        )
    back = course.new & {*course.targets, *course.others}
    said += "; new lesions" if course.new - back else ""
    said += "; lesions are back after a complete response" if back else ""
    return f"{_MEANING[course.response]}: {said}."


def _judged_before(first: Reading) -> Response | None:
    """The response given at the first time point, whose baseline lies before it; None without one, and of one
    that did not note yet what was new."""
    known = first.response
    return known if known is not None and known.guideline == "RECIST 1.1" and known.studies else None


def _earlier(response: Response) -> recist.Earlier:
    return recist.Earlier(
        response.targets,
        (response.baseline_mm, response.nadir_mm, response.current_mm),
        response.result == "CR",
        frozenset(response.others),
    )


def _gone_before(response: Response, reading: Reading) -> dict[str, recist.Lesion]:
    """Targets that were not seen when the response was given: it was, so they were known to be gone."""
    seen = {finding.tracking_uid for finding in reading.findings}
    return {uid: recist.Lesion(uid, "", 0.0, 0.0) for uid in response.targets if uid not in seen}


def _gone(lesion: recist.Lesion) -> recist.Lesion:
    return replace(lesion, long_axis_mm=0.0, short_axis_mm=0.0)


def _lesion(finding: Finding) -> recist.Lesion:
    """A lesion's organ is what its label says."""
    organ = finding.label.lower()
    return recist.Lesion(
        finding.tracking_uid, organ, finding.long_axis_mm, finding.short_axis_mm, _LYMPH_NODE in organ
    )


def _axes(change: Change) -> tuple[float, float] | None:
    if change.prior_long_axis_mm is None or change.prior_short_axis_mm is None:
        return None
    return change.prior_long_axis_mm, change.prior_short_axis_mm


def _kind(words: str | None) -> lung_rads.Kind:
    match words:
        case "part-solid" | "ground-glass" | "calcified" as kind:
            return kind
        case _:
            return "solid"
