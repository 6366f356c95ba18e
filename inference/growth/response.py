"""What RECIST makes of a patient's lesions over several studies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from inference.findings import Finding, Reading, Response
from inference.growth import recist

_LYMPH_NODE = "lymph node"
_APPLIES_TO = "if under treatment for cancer"
_MEANING = {
    "CR": "complete response",
    "PR": "partial response",
    "SD": "stable disease",
    "PD": "progressive disease",
}


def respond(
    time_points: Sequence[Reading], slices_mm: Sequence[float], *, parts: Mapping[str, str] | None = None
) -> Response | None:
    """RECIST 1.1 from the baseline to the last time point; None where there is nothing to judge by. The
    baseline is the first time point, or that of the response which was given at it. What was resolved once
    stays so until it is found again. A new lesion counts from when it is large enough to be measured, so that
    no single doubtful spot makes progression.

    Args:
        slices_mm: of each time point's scan, see ``Volume.slice_mm``: what is measurable on it goes by that.
        parts: the tracking UID of the lesion that split, by that of each further part that has come of it
            since the time point before the last; of those before, the responses given then tell.
    """
    wholes = _wholes([*(point.response.parts for point in time_points[:-1] if point.response), parts or {}])
    before = _judged_before(time_points[0])
    lesions: list[list[recist.Lesion]] = []
    resolved = _gone_before(before, time_points[0], wholes) if before else {}
    new = set(before.new_lesions) if before else set()
    doubtful = set(before.doubtful) if before else set()
    for number, reading in enumerate(time_points):
        seen = [_lesion(finding, wholes) for finding in reading.findings]
        for each in (_lesion(finding, wholes) for finding in reading.resolved):
            resolved[each.uid] = _gone(each)
        for each in seen:
            resolved.pop(each.uid, None)
        lesions.append([*seen, *resolved.values()])
        if number:
            doubtful |= {f.tracking_uid for f in reading.findings if f.change and f.change.category == "new"}
        new |= {
            each.uid
            for each in seen
            if each.uid in doubtful and recist.is_measurable(each, slices_mm[number])
        }
        doubtful -= new | resolved.keys()
    course = recist.evaluate(lesions, slices_mm[0], new=new, earlier=_earlier(before) if before else None)
    if course is None:
        return None
    studies = len(time_points) + (before.studies - 1 if before else 0)
    response = Response(
        "RECIST 1.1",
        course.response,
        "",
        course.baseline_mm,
        course.nadir_mm,
        course.sums_mm[-1],
        course.targets,
        course.target,
        new_lesions=tuple(sorted(course.new)),
        doubtful=tuple(sorted(doubtful)),
        others=tuple(sorted(course.others)),
        parts=wholes,
        studies=studies,
    )
    return replace(response, statement=_statement(course, response))


def _statement(course: recist.Course, response: Response) -> str:
    """What is judged is no more than the studies that were compared: the first of them stands for the
    baseline, which may lie before it. Why the scan was made is not known here."""
    whose = "Overall response" if response.is_overall else "Response of the target lesions"
    said = "no target lesions"
    if course.targets:
        said = (
            f"sum of diameters of {len(course.targets)} target lesion{'s' * (len(course.targets) > 1)} "
            f"{course.sums_mm[-1]:.0f} mm, "
            f"at the first of {response.studies} studies compared {course.baseline_mm:.0f} mm, "
            f"at its smallest {course.nadir_mm:.0f} mm"
        )
    back = course.new & {*course.targets, *course.others}
    said += "; new lesions" if course.new - back else ""
    said += "; lesions are back after a complete response" if back else ""
    return f"{whose}, {_APPLIES_TO}: {_MEANING[course.response]}; {said}."


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


def chooses_targets(baseline: Reading) -> bool:
    """Whether the slices of this first time point decide what the targets are: they are not chosen yet, and
    lesions are large enough on thin ones."""
    large = any(recist.is_measurable(_lesion(finding, {})) for finding in baseline.findings)
    return large and _judged_before(baseline) is None


def _wholes(parts: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """By the tracking UID of each part of a lesion that split, that of the lesion itself, also where a part
    has split anew.

    Args:
        parts: those of each study, oldest first.
    """
    wholes: dict[str, str] = {}
    for part, whole in (each for of_study in parts for each in of_study.items()):
        first = wholes.get(whole, whole)
        if part != first:
            wholes[part] = first
    return wholes


def _gone_before(response: Response, reading: Reading, wholes: Mapping[str, str]) -> dict[str, recist.Lesion]:
    """Targets that were not seen when the response was given: it was, so they were known to be gone."""
    seen = {wholes.get(each.tracking_uid, each.tracking_uid) for each in reading.findings}
    return {uid: recist.Lesion(uid, "", 0.0, 0.0) for uid in response.targets if uid not in seen}


def _gone(lesion: recist.Lesion) -> recist.Lesion:
    return replace(lesion, long_axis_mm=0.0, short_axis_mm=0.0, cut=False)


def _lesion(finding: Finding, wholes: Mapping[str, str]) -> recist.Lesion:
    """A lesion's organ is what its label says; a part of one that split has the UID of the whole."""
    organ = finding.label.lower()
    return recist.Lesion(
        wholes.get(finding.tracking_uid, finding.tracking_uid),
        organ,
        finding.long_axis_mm,
        finding.short_axis_mm,
        _LYMPH_NODE in organ,
        finding.cut,
    )
