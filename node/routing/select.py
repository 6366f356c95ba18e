"""Which reader reads which series, and why each of the others was left."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from node.routing.kernels import kernel_of
from node.routing.series import SeriesDescription, describe
from node.settings import RouteSettings
from node.settings.matching import Tags, matches

__all__ = ["Choice", "SeriesDescription", "describe", "select", "urgency"]

_FEWEST_SLICES = 8
_LEAST_COVERAGE_MM = 30.0
_WIDE = 0.7  # of the widest candidate's coverage
_THIN_MM = 1.5  # thinner than this is no better
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_SHARP_READERS = _CHEST_READERS = frozenset({"lung-nodules"})
_CHEST = re.compile(r"chest|thora|lung|body|trunk|torso", re.IGNORECASE)
_LOCALIZER = re.compile(r"\b(scout|topogram|surview|localizer|localiser|scano(gram)?)\b", re.IGNORECASE)
_PROJECTION = re.compile(r"\b(mip|minip|mpvr|vrt)\b|volume render", re.IGNORECASE)
_THREE_D = re.compile(r"\b3d\b", re.IGNORECASE)  # a rendering, or thin slices meant for one
_TRACKING = re.compile(r"monitoring|smart ?prep|bolus|test ?inj|\btracker\b", re.IGNORECASE)
_UNCORRECTED = re.compile(r"\bnac\b|uncorrected|no ?ac\b", re.IGNORECASE)
_REPORT = re.compile(r"dose (report|info|record)|patient protocol|dose sheet", re.IGNORECASE)


@dataclass(frozen=True)
class Choice:
    """One series and one reader that might have read it; no reader where none would.

    reason: why it was chosen or not, for an administrator, beside the names of the series and of the reader.
    companion_uid: a second series the reader needs: the CT of a PET.
    """

    series_uid: str
    reader: str | None
    chosen: bool
    reason: str
    priority: Literal["routine", "stat"] = "routine"
    companion_uid: str = ""


def select(
    series: Sequence[SeriesDescription], routes: Sequence[RouteSettings], available: Collection[str]
) -> tuple[Choice, ...]:
    """The best series of a study for each reader, and a reason for every series left.

    The first route of a reader that matches a series counts. Where several series match, the better is, in
    this order: readable, original, axial, of FDG, of wide coverage, attenuation-corrected, thin, without
    missing slices, of the kernel the reader prefers, a frontal view for presentation, of more images.

    Args:
        available: the readers whose models are installed.
    """
    choices: list[Choice] = []
    candidates: dict[str, list[tuple[SeriesDescription, RouteSettings]]] = {}
    for one in series:
        matching: dict[str, RouteSettings] = {}
        for route in routes:
            if matches(one.tags, route.match):
                matching.setdefault(route.reader, route)
        unfit = _unfit(one)
        if unfit or not matching:
            choices.append(Choice(one.series_uid, None, False, unfit or f"no route matches {_words(one)}"))
            continue
        for reader, route in matching.items():
            if reader in available:
                candidates.setdefault(reader, []).append((one, route))
            else:
                reason = f"{reader} would read it, but its models are not installed"
                choices.append(Choice(one.series_uid, reader, False, reason))
    for reader, matched in candidates.items():
        choices += _best(reader, matched, series)
    order = {one.series_uid: place for place, one in enumerate(series)}
    return tuple(sorted(choices, key=lambda choice: order[choice.series_uid]))


def urgency(series: Iterable[Tags], routes: Sequence[RouteSettings]) -> Literal["routine", "stat"]:
    """How soon a study is to be read: at once where a stat route is the first of its reader to match one of
    its series, of each of which the tags of one image are enough."""
    for tags in series:
        first = {route.reader: route for route in reversed(routes) if matches(tags, route.match)}
        if any(route.priority == "stat" for route in first.values()):
            return "stat"
    return "routine"


def _best(
    reader: str, matched: list[tuple[SeriesDescription, RouteSettings]], study: Sequence[SeriesDescription]
) -> list[Choice]:
    criteria = _criteria(reader, [one for one, _ in matched])
    ranked = sorted(matched, key=lambda pair: [criterion.rank(pair[0]) for criterion in criteria])
    (best, route), others = ranked[0], ranked[1:]
    choices = [
        Choice(other.series_uid, reader, False, _why(criteria, best, other), its_route.priority)
        for other, its_route in others
    ]
    reason = "the only one that fits" if not others else f"the best of {len(ranked)} that fit"
    reason = f"{reason}: {_words(best)}"
    if best.problem:
        return [Choice(best.series_uid, reader, True, f"{reason}; {best.problem}", route.priority), *choices]
    companion = None
    if best.modality == "PT":
        companion = _ct_beside(best, study)
        unread = _not_read(best, companion, reader)
        if companion is None or unread:
            return [Choice(best.series_uid, reader, False, unread, route.priority), *choices]
        reason += f"; with the CT acquired beside it, {companion.title!r}: {_words(companion)}"
    elif best.modality == "CT" and any(one.modality == "PT" for one in study):
        reason += "; the CT of a PET/CT study"
    uid = companion.series_uid if companion else ""
    return [Choice(best.series_uid, reader, True, reason, route.priority, uid), *choices]


def _names_other_part(one: SeriesDescription) -> bool:
    """Whether it names a part of the body, and neither that nor its description is the chest."""
    part = one.tag("BodyPartExamined")
    return bool(part) and not _CHEST.search(f"{part} {one.description}")


def _not_read(pet: SeriesDescription, ct: SeriesDescription | None, reader: str) -> str:
    """Why no PET reader should read it; empty where it may. ``ct``: the one beside it."""
    if pet.other_tracer:
        return f"its tracer is {pet.other_tracer}, not FDG, which alone {reader} knows"
    if not _is_corrected(pet):
        return "no SUV can come of it: not corrected for attenuation, or in no unit of activity"
    if ct is None:
        return f"there is no readable CT in the frame of reference of this PET, which {reader} needs"
    return ""


def _is_corrected(pet: SeriesDescription) -> bool:
    """Corrected for attenuation, and in a unit that can become SUV (PS3.3 C.8.9.1)."""
    corrected = "ATTN" in pet.tags.get("CorrectedImage", ()) and not _UNCORRECTED.search(pet.description)
    return corrected and pet.tag("Units") in ("BQML", "GML", "CNTS")


def _ct_beside(pet: SeriesDescription, study: Sequence[SeriesDescription]) -> SeriesDescription | None:
    frame = pet.tag("FrameOfReferenceUID")
    beside = [
        one
        for one in study
        if one.modality == "CT"
        and frame
        and one.tag("FrameOfReferenceUID") == frame
        and not (_unfit(one) or one.problem)
    ]
    criteria = _criteria("pet-ct", beside)
    return min(beside, key=lambda one: [criterion.rank(one) for criterion in criteria], default=None)


def _unfit(one: SeriesDescription) -> str:
    """Why no reader at all should read this series, whatever the routes say; empty where one may."""
    kinds = one.image_type
    if one.tag("Manufacturer") == "Overread":
        return "a result of this node"
    if not one.tag("Rows"):
        return one.problem or f"holds no images ({one.modality or 'no modality'})"
    if one.modality not in ("CT", "PT"):
        return ""
    if kinds & {"LOCALIZER", "SCOUT", "TOPOGRAM"} or _LOCALIZER.search(one.description):
        return "a localizer"
    if _REPORT.search(one.description) or kinds & {"DOSE_INFO", "SCREEN SAVE"}:
        return "a dose report or screen capture"
    if one.tag("SOPClassUID").startswith(_SECONDARY_CAPTURE) or one.tag("SamplesPerPixel") == "3":
        return "a secondary capture: pictures without measured values"
    if (
        kinds & {"MIP", "MAX_IP", "MIN_IP", "PROJECTION IMAGE", "VOLUME RENDERING"}
        or _PROJECTION.search(one.description)
        or (kinds & {"DERIVED", "SECONDARY"} and _THREE_D.search(one.description))
    ):
        return "a projection (MIP or rendering), not slices"
    if one.unit:
        return f"its values are in {one.unit}, not in Hounsfield units"
    at_one_place = one.coverage_mm < _LEAST_COVERAGE_MM
    if one.modality == "CT" and at_one_place and _TRACKING.search(one.description):
        return "contrast tracking at one place, not a scan"
    if one.images < _FEWEST_SLICES:
        return f"{one.images} image{'s' * (one.images != 1)}; a volume needs at least {_FEWEST_SLICES}"
    if not one.problem and at_one_place:
        return f"covers {one.coverage_mm:.0f} mm only; at least {_LEAST_COVERAGE_MM:.0f} mm are needed"
    return ""


@dataclass(frozen=True)
class _Criterion:
    """``rank``: lower is better. ``why``: what to say of a series that lost by it, to (better, it)."""

    rank: Callable[[SeriesDescription], float | str]
    why: Callable[[SeriesDescription, SeriesDescription], str]


def _criteria(reader: str, candidates: Sequence[SeriesDescription]) -> tuple[_Criterion, ...]:
    widest = max((one.coverage_mm for one in candidates), default=0.0)
    preferred, other = ("sharp", "soft") if reader in _SHARP_READERS else ("soft", "sharp")
    kernels = {preferred: 0, "": 1, other: 2}
    views = {"PA": 0, "AP": 1, "": 2}
    return (
        _Criterion(lambda one: bool(one.problem), lambda best, one: f"cannot be read: {one.problem}"),
        _Criterion(
            lambda one: one.modality in ("CT", "PT") and "DERIVED" in one.image_type,
            lambda best, one: "derived from other images; an original series was preferred",
        ),
        _Criterion(
            lambda one: one.plane not in ("axial", ""),
            lambda best, one: f"{one.plane} slices; an axial series was preferred",
        ),
        _Criterion(
            lambda one: reader in _CHEST_READERS and _names_other_part(one),
            lambda best, one: "of another part of the body; a series of the chest was preferred",
        ),
        _Criterion(
            lambda one: bool(one.other_tracer),
            lambda best, one: f"its tracer is {one.other_tracer}; a PET of FDG was preferred",
        ),
        _Criterion(
            lambda one: one.coverage_mm < _WIDE * widest,
            lambda best, one: (
                f"a series that covers more was preferred: {best.coverage_mm:.0f} mm "
                f"against {one.coverage_mm:.0f} mm"
            ),
        ),
        _Criterion(
            lambda one: one.modality == "PT" and not _is_corrected(one),
            lambda best, one: "not corrected for attenuation; a corrected PET series was preferred",
        ),
        _Criterion(
            lambda one: round(max(one.thickness_mm or 0.0, _THIN_MM), 2),
            lambda best, one: (
                f"a thinner {best.plane} series was preferred: {_mm(best.thickness_mm)} "
                f"against {_mm(one.thickness_mm)}"
            ),
        ),
        _Criterion(
            lambda one: one.missing,
            lambda best, one: (
                f"{one.missing} of its slices are missing; a series that lacks "
                f"{best.missing or 'none'} was preferred"
            ),
        ),
        _Criterion(
            lambda one: kernels[kernel_of(one.tag("ConvolutionKernel"))],
            lambda best, one: (
                f"a {preferred} kernel was preferred: {best.tag('ConvolutionKernel') or 'unnamed'} "
                f"against {one.tag('ConvolutionKernel') or 'unnamed'}"
            ),
        ),
        _Criterion(
            lambda one: bool(one.not_frontal),
            lambda best, one: f"no frontal view, which was preferred: {one.not_frontal}",
        ),
        _Criterion(
            lambda one: one.tag("PresentationIntentType") == "FOR PROCESSING",
            lambda best, one: "meant for processing; the image for presentation was preferred",
        ),
        _Criterion(
            lambda one: views.get(one.tag("ViewPosition").upper(), 3),
            lambda best, one: (
                f"a {best.tag('ViewPosition') or 'frontal'} view was preferred "
                f"over {one.tag('ViewPosition') or 'this one'}"
            ),
        ),
        _Criterion(
            lambda one: -one.images,
            lambda best, one: f"a series of more images was preferred: {best.images} against {one.images}",
        ),
        _Criterion(
            lambda one: one.number if one.number is not None else float("inf"),
            lambda best, one: f"equal to series {best.number}, which comes first",
        ),
        _Criterion(lambda one: one.series_uid, lambda best, one: f"equal to series {best.series_uid}"),
    )


def _why(criteria: Sequence[_Criterion], best: SeriesDescription, other: SeriesDescription) -> str:
    decided = next(criterion for criterion in criteria if criterion.rank(best) != criterion.rank(other))
    return decided.why(best, other)


def _words(one: SeriesDescription) -> str:
    """A series in a few words: its plane, modality, slice thickness and number of images. Who reads them
    knows what it is called."""
    kind = " ".join(part for part in (one.plane, one.modality) if part)
    parts = [kind or "no modality"]
    if one.thickness_mm and one.plane:
        parts.append(_mm(one.thickness_mm))
    parts.append(f"{one.images} image{'s' * (one.images != 1)}")
    return ", ".join(parts)


def _mm(length: float | None) -> str:
    return "unknown" if length is None else f"{length:.3g} mm"
