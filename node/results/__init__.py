"""Findings become DICOM: a reading and the images it was made from turn into result objects on disk."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path

from pydicom import Dataset

from inference.findings import Reading
from inference.growth.frames import FramesAligned
from inference.picture import Pictures
from inference.volume import Volume
from node.results.burden import burden_report, has_uptake
from node.results.change import NO_EVIDENCE, PriorEvidence, change_report, has_change
from node.results.edition import KINDS, Edition, Predecessor, ResultFile, key_image_uids
from node.results.encoding import save
from node.results.identity import edition_identity
from node.results.keyobjects import key_objects
from node.results.layout import Rgb
from node.results.presentation import presentations
from node.results.registration import deformable_registration, rigid_registration
from node.results.report import class_report, negative_report, outline_report, volume_report
from node.results.segmentation import (
    lesion_regions,
    segmentation,
    source_uids,
    structure_regions,
    touched_slices,
)
from node.results.source import Sources, UnusableSourceError, read_sources
from node.results.summary import summary

__all__ = ["Predecessor", "PriorEvidence", "ResultFile", "UnusableSourceError", "write"]


def write(
    reading: Reading,
    volume: Volume,
    sources: Sequence[Path],
    out: Path,
    *,
    kinds: Collection[str],
    when: datetime,
    identity: str,
    predecessors: Sequence[Predecessor] = (),
    prior_images: Mapping[str, Rgb] | None = None,
    courses: Mapping[str, Rgb] | None = None,
    evidence: PriorEvidence = NO_EVIDENCE,
    frames: FramesAligned | None = None,
    udi: str = "",
) -> tuple[ResultFile, ...]:
    """Writes the result objects of one reading into ``out`` and says which they are.

    The same arguments give the same bytes, ``when`` included: it belongs to the job, not to the clock.

    Args:
        volume: the one the reader saw; the findings' masks lie on its grid.
        sources: the files ``volume`` was loaded from; further files among them do no harm.
        kinds: any of seg, sr, pr, sc, ko, reg. A kind that has nothing to show is left out; ``sr`` never is:
            a reading without findings is reported as such. Pictures get no report of volumes.
        identity: of the reading, from ``node.results.identity.reading_identity``.
        predecessors: the objects of the readings that this one replaces.
        prior_images: for the summary, by tracking UID, the key image of the same lesion in the prior study.
        courses: for the summary, by tracking UID, how a lesion went on, from ``node.results.growth_curve``.
        evidence: the priors' images and reports that the report of changes refers to.
        frames: where the prior's frame of reference lies, for the registration objects.
        udi: the Unique Device Identifier of the installation, where it has one.

    Raises:
        ValueError: an unknown kind, or a finding without tracking UID.
        UnusableSourceError: the images cannot be referred to.
    """
    _check(reading, kinds)
    edition = Edition(
        reading=reading,
        volume=volume,
        sources=_sources(reading, volume, sources),
        identity=edition_identity(
            identity, kinds, [p.sop_instance_uid for p in predecessors], udi, evidence.uids
        ),
        when=when,
        predecessors=tuple(sorted(predecessors)),
        udi=udi,
    )
    written: list[ResultFile] = []
    for name, kind, instance in _objects(
        edition, frozenset(kinds), (prior_images or {}, courses or {}), evidence, frames
    ):
        path = out / f"{name}.dcm"
        save(instance, path)
        written.append(ResultFile(kind, str(instance.SOPClassUID), str(instance.SOPInstanceUID), path))
    return tuple(written)


def _objects(
    edition: Edition,
    kinds: frozenset[str],
    over_time: tuple[Mapping[str, Rgb], Mapping[str, Rgb]],
    evidence: PriorEvidence,
    frames: FramesAligned | None,
) -> Iterator[tuple[str, str, Dataset]]:
    """File name, kind and object, the ones that others refer to first."""
    reading = edition.reading
    made: list[Dataset] = []
    segmented: Dataset | None = None
    if "seg" in kinds:
        if lesions := lesion_regions(reading.findings):
            segmented = segmentation(edition, lesions, role="seg")
            made.append(segmented)
            yield "seg", "seg", segmented
        if structures := structure_regions(reading.segments):
            made.append(segmentation(edition, structures, role="seg-structures"))
            yield "seg-structures", "seg", made[-1]
    if "pr" in kinds and (reading.findings or reading.measurements):
        for number, state in enumerate(presentations(edition), 1):
            made.append(state)
            yield ("pr" if number == 1 else f"pr-{number}"), "pr", state
    if "sc" in kinds:
        for number, page in enumerate(summary(edition, *over_time), 1):
            made.append(page)
            yield f"sc-{number}", "sc", page
    reports = _reports(edition, segmented, evidence) if "sr" in kinds else {}
    for role, report in reports.items():
        made.append(report(made if role == list(reports)[-1] else []))
        yield role, "sr", made[-1]
    if "ko" in kinds and reading.findings:
        yield "ko", "ko", key_objects(edition, related=made)
    if "reg" in kinds and frames is not None:
        yield "reg", "reg", rigid_registration(edition, frames)
        yield "reg-deformable", "reg", deformable_registration(edition, frames)


def _reports(
    edition: Edition, segmented: Dataset | None, evidence: PriorEvidence
) -> dict[str, Callable[[Sequence[Dataset]], Dataset]]:
    """By role, what makes each report from the objects it refers to; the last one is the root of the set."""
    reading = edition.reading
    reports: dict[str, Callable[[Sequence[Dataset]], Dataset]] = {}
    if reading.classes:
        reports["sr-classes"] = partial(class_report, edition)
    elif has_uptake(reading.findings):
        reports["sr-classes"] = partial(burden_report, edition)
    if has_change((*reading.findings, *reading.resolved)):
        reports["sr-changes"] = partial(change_report, edition, evidence)
    if reading.findings:
        reports["sr-outlines"] = partial(outline_report, edition)
        if segmented is not None and not isinstance(edition.volume, Pictures):
            reports["sr"] = partial(volume_report, edition, segmented)
    elif not reading.classes:
        reports["sr"] = partial(negative_report, edition)
    return reports


def _sources(reading: Reading, volume: Volume, paths: Sequence[Path]) -> Sources:
    """Headers of the images that results refer to: key images, and the slices that a mask touches."""
    regions = (*lesion_regions(reading.findings), *structure_regions(reading.segments))
    wanted = set(key_image_uids(reading, volume))
    if regions:
        wanted.update(source_uids(volume.images, touched_slices(regions)))
    return read_sources(paths, volume, wanted)


def _check(reading: Reading, kinds: Collection[str]) -> None:
    if unknown := sorted(set(kinds) - set(KINDS)):
        raise ValueError(f"unknown result objects {unknown}; allowed are {', '.join(KINDS)}")
    for number, finding in enumerate(reading.findings, 1):
        if not finding.tracking_uid:
            raise ValueError(
                f"finding {number} ({finding.label}) has no tracking UID; link it to the priors first"
            )
