"""What this node found in a study, read back from its own SEG and SR: for a node that has lost its memory."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError

from inference.errors import UnreadableSeriesError
from inference.findings import Assessment, Code, Finding, Mask, Model, Reading, Side
from inference.measure import measure
from inference.segmentation import load_frames
from inference.volume import Volume
from node.results import codes
from node.results.edition import MANUFACTURER, is_described_as_of

log = logging.getLogger(__name__)

LoadFrames = Callable[[Path], npt.NDArray[np.bool_]]
"""Decodes the frames of a segmentation, as ``inference.segmentation.load_frames``."""

_SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
_REPORT = "1.2.840.10008.5.1.4.1.1.88.34"
_GROUP, _TRACKING_UID, _TRACKING_ID, _FINDING = "125007", "112040", "112039", "121071"
_SITE, _LATERALITY = "363698007", "272741003"
_KINDS = {(term.scheme, term.value): kind for kind, term in codes.NODULE_TYPES.items()}
_CATEGORIES = {term.value: result for result, term in codes.ASSESSED.items()}
_SIDES = {(term.scheme, term.value): side for side, term in codes.SIDES.items()}


@dataclass(frozen=True, eq=False)
class Told:
    """A reading as its results tell it; ``identity`` is that of the report they come from."""

    reading: Reading
    identity: str


@dataclass(frozen=True, eq=False)
class _Group:
    """A measurement group (TID 1411 or 1501); ``segment`` in the SEG ``segmentation_uid``, 0 without one."""

    tracking_uid: str
    label: str
    finding: Code | None
    segmentation_uid: str
    segment: int
    values: Mapping[tuple[str, str], float]
    kind: str | None
    assessments: tuple[Assessment, ...]
    site: Code | None
    side: Side | None


def recover(
    paths: Iterable[Path], volume: Volume, reader: str, load_frames: LoadFrames = load_frames
) -> Told | None:
    """The reading of ``volume`` by ``reader`` that result objects among ``paths`` tell of. Of several
    editions the one that no other succeeds counts. Lesions are measured anew on their masks, whose pixels are
    had from ``load_frames``; scores are the report's, which tells none of what only a look found: such a
    finding has 0.

    Returns None where there is no report, or not all of its segments, or they are not of this volume.
    """
    objects = [(path, found) for path in paths if (found := _own(path, reader)) is not None]
    segmentations = {
        str(o.SOPInstanceUID): _Segmentation(path, o, load_frames)
        for path, o in objects
        if o.SOPClassUID == _SEGMENTATION
    }
    reports = [o for _, o in objects if o.SOPClassUID == _REPORT]
    succeeded = {uid for report in reports for uid in _predecessors(report)}
    for report in sorted(reports, key=lambda one: str(one.SOPInstanceUID)):
        if str(report.SOPInstanceUID) in succeeded:
            continue
        groups = list(_groups(report))
        measured = [group for group in groups if group.segment]
        negative = bool(groups) and all(group.finding is None for group in groups)
        if not (measured or negative):
            continue
        findings = [_finding(group, segmentations, volume) for group in measured]
        if any(finding is None for finding in findings):
            continue
        reading = Reading(
            reader=reader,
            series_uid=volume.series_uid,
            models=tuple(_models(report)),
            findings=tuple(finding for finding in findings if finding is not None),
            caveats=volume.caveats,
        )
        return Told(reading, hashlib.sha256(f"told by {report.SOPInstanceUID}".encode()).hexdigest())
    return None


@dataclass(frozen=True, eq=False)
class _Segmentation:
    """A segmentation by its header; its pixels, which came from elsewhere, are not decoded here."""

    path: Path
    header: Dataset
    load_frames: LoadFrames

    @cached_property
    def frames(self) -> npt.NDArray[np.bool_] | None:
        """None where they cannot be read, or are not those of the header."""
        try:
            frames = self.load_frames(self.path)
        except UnreadableSeriesError as error:
            log.warning("a result that was fetched tells nothing: %s", error)
            return None
        announced = len(self.header.PerFrameFunctionalGroupsSequence), self.header.Rows, self.header.Columns
        return frames if frames.shape == announced else None


def _own(path: Path, reader: str) -> Dataset | None:
    try:
        found = dcmread(path, stop_before_pixels=True)
    except (OSError, InvalidDicomError):
        return None
    described = str(found.get("SeriesDescription", ""))
    ours = found.get("Manufacturer") == MANUFACTURER and is_described_as_of(reader, described)
    return found if ours else None


def _predecessors(report: Dataset) -> Iterator[str]:
    for study in report.get("PredecessorDocumentsSequence", ()):
        for series in study.ReferencedSeriesSequence:
            for item in series.ReferencedSOPSequence:
                yield str(item.ReferencedSOPInstanceUID)


def _groups(report: Dataset) -> Iterator[_Group]:
    for item in _descendants(report):
        if item.get("ValueType") == "CONTAINER" and _concept(item) == _GROUP:
            yield _group(item.get("ContentSequence", ()))


def _descendants(item: Dataset) -> Iterator[Dataset]:
    for child in item.get("ContentSequence", ()):
        yield child
        yield from _descendants(child)


def _group(items: Sequence[Dataset]) -> _Group:
    texts: dict[str, str] = {}
    values: dict[tuple[str, str], float] = {}
    told: dict[str, Code] = {}
    side: Side | None = None
    segmentation_uid, segment = "", 0
    for item in items:
        value_type, concept = item.get("ValueType"), _concept(item)
        if value_type == "UIDREF":
            texts[concept] = str(item.UID)
        elif value_type == "TEXT":
            texts[concept] = str(item.TextValue)
        elif value_type == "CODE":
            told[concept] = _code(item)
            side = _side(item) if concept == _SITE else side
        elif value_type == "IMAGE" and "ReferencedSegmentNumber" in item.ReferencedSOPSequence[0]:
            reference = item.ReferencedSOPSequence[0]
            number = reference["ReferencedSegmentNumber"].value
            segment = int(number[0] if isinstance(number, Sequence) else number)
            segmentation_uid = str(reference.ReferencedSOPInstanceUID)
        elif value_type == "NUM" and item.get("MeasuredValueSequence"):
            name = item.ConceptNameCodeSequence[0]
            value = float(item.MeasuredValueSequence[0].NumericValue)
            values[(str(name.CodingSchemeDesignator), str(name.CodeValue))] = value
    label = texts.get(_TRACKING_ID, "").rsplit(" ", 1)[0]
    kind = told.get(codes.NODULE_TYPE.value)
    return _Group(
        tracking_uid=texts.get(_TRACKING_UID, ""),
        label=label,
        finding=told.get(_FINDING),
        segmentation_uid=segmentation_uid,
        segment=segment,
        values=values,
        kind=_KINDS.get((kind.scheme, kind.value)) if kind else None,
        assessments=tuple(_assessments(told)),
        site=told.get(_SITE),
        side=side,
    )


def _assessments(told: Mapping[str, Code]) -> Iterator[Assessment]:
    """Results alone: later studies are judged by them, and nothing else is."""
    for guideline, name in codes.GUIDELINES.items():
        result = told.get(name.value)
        if result is not None and result.scheme == name.scheme and result.value in _CATEGORIES:
            yield Assessment(guideline, _CATEGORIES[result.value], "")


def _code(item: Dataset) -> Code:
    code = item.ConceptCodeSequence[0]
    return Code(str(code.CodingSchemeDesignator), str(code.CodeValue), str(code.CodeMeaning))


def _side(site: Dataset) -> Side | None:
    """The laterality that modifies a finding site (TID 1419)."""
    for item in site.get("ContentSequence", ()):
        if item.get("ValueType") == "CODE" and _concept(item) == _LATERALITY:
            side = _code(item)
            return _SIDES.get((side.scheme, side.value))
    return None


def _finding(group: _Group, segmentations: Mapping[str, _Segmentation], volume: Volume) -> Finding | None:
    held = segmentations.get(group.segmentation_uid)
    mask = _mask(held, group.segment, volume) if held is not None else None
    if mask is None or not group.tracking_uid:
        return None
    code = group.finding or codes.LESION.code
    implied = codes.site_of(code)
    malignancy = _value(group, codes.SUSPICION)
    if malignancy is None:
        malignancy = _value(group, codes.PROBABILITY_OF_CANCER)
    certainty = _value(group, codes.CERTAINTY_OF_FINDING)
    return replace(
        measure(mask, volume).finding(group.label, code, (certainty or 0.0) / 100, mask),
        malignancy=None if malignancy is None else malignancy / 100,
        kind=group.kind,
        site=None if implied and group.site == implied.code else group.site,
        side=group.side,
        assessments=group.assessments,
        tracking_uid=group.tracking_uid,
        by_look=certainty is None,
    )


def _value(group: _Group, term: codes.Term) -> float | None:
    return group.values.get((term.scheme, term.value))


def _mask(held: _Segmentation, number: int, volume: Volume) -> Mask | None:
    """A segment on the volume's grid; None where it does not lie on it, or cannot be read."""
    _, rows, columns = volume.shape
    segmentation = held.header
    if (segmentation.Rows, segmentation.Columns) != (rows, columns) or held.frames is None:
        return None
    planes: dict[int, npt.NDArray[np.bool_]] = {}
    for frame, groups in zip(held.frames, segmentation.PerFrameFunctionalGroupsSequence, strict=True):
        both = (groups, segmentation.SharedFunctionalGroupsSequence[0])
        if _macro(both, "SegmentIdentificationSequence").ReferencedSegmentNumber != number:
            continue
        position = [float(mm) for mm in _macro(both, "PlanePositionSequence").ImagePositionPatient]
        index = volume.to_index(position)
        place = int(np.rint(index[0]))
        if np.abs(index - (place, 0, 0)).max() > 0.1 or not 0 <= place < len(volume.voxels):
            return None
        planes[place] = frame
    drawn = [place for place, plane in planes.items() if plane.any()]
    if not drawn:
        return None
    first, last = min(drawn), max(drawn)
    empty = np.zeros((rows, columns), bool)
    stack = np.stack([planes.get(place, empty) for place in range(first, last + 1)])
    across, down = np.flatnonzero(stack.any(axis=(0, 2))), np.flatnonzero(stack.any(axis=(0, 1)))
    top, bottom, left, right = int(across[0]), int(across[-1]) + 1, int(down[0]), int(down[-1]) + 1
    return Mask((first, top, left), stack[:, top:bottom, left:right])


def _macro(groups: Sequence[Dataset], keyword: str) -> Dataset:
    """A functional group macro, of the frame's own groups or of those it shares (PS3.3 C.7.6.16)."""
    item: Dataset = next(group[keyword].value[0] for group in groups if keyword in group)
    return item


def _models(report: Dataset) -> Iterator[Model]:
    for item in report.get("ContributingEquipmentSequence", ()):
        weights = str(item.get("ContributionDescription", ""))
        if item.get("Manufacturer") == MANUFACTURER and weights.startswith("weights sha256:"):
            name, version = str(item.ManufacturerModelName), str(item.get("SoftwareVersions", ""))
            yield Model(name, version, weights.removeprefix("weights sha256:"))


def _concept(item: Dataset) -> str:
    names = item.get("ConceptNameCodeSequence")
    return str(names[0].CodeValue) if names else ""
