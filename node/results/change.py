"""What became of the lesions since the priors, as a report of its own (TID 1500 with groups of TID 1501).

Each lesion is told under the tracking UID it has in every study: its category, what guidelines make of it,
and the key image in the prior. Lesions that are gone, which have no place on the current images, are told
here alone, and so is the response.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from highdicom import sr
from pydicom import Dataset, dcmread

from inference.findings import Finding, Reading, Response
from node.results import codes
from node.results.edition import Edition, Predecessor
from node.results.report import comment, comments_on, document, reader_algorithm


@dataclass(frozen=True, eq=False)
class PriorEvidence:
    """What a report of change refers to. ``images``: headers of the priors' key images, by SOP Instance UID.
    ``reports``: what was reported of those studies; no other object is a prior report."""

    images: Mapping[str, Dataset]
    reports: tuple[Predecessor, ...] = ()

    @classmethod
    def read(cls, images: Sequence[Path], reports: Sequence[Path]) -> PriorEvidence:
        headers = [dcmread(path, stop_before_pixels=True) for path in images]
        told = (Predecessor.from_file(path) for path in reports)
        return cls(
            {str(header.SOPInstanceUID): header for header in headers},
            tuple(sorted(one for one in told if one.is_report)),
        )

    def __or__(self, other: PriorEvidence) -> PriorEvidence:
        """What either of them has."""
        reports = tuple(sorted({*self.reports, *other.reports}))
        return PriorEvidence({**self.images, **other.images}, reports)

    @property
    def uids(self) -> list[str]:
        return [*self.images, *(report.sop_instance_uid for report in self.reports)]


NO_EVIDENCE: Final = PriorEvidence({})


def has_change(findings: Sequence[Finding]) -> bool:
    return any(finding.change is not None for finding in findings)


def change_report(
    edition: Edition, evidence: PriorEvidence, related: Iterable[Dataset] = ()
) -> sr.Comprehensive3DSR:
    """One group for each lesion that was compared, current and resolved, and one for the response.

    Raises:
        ValueError: nothing was compared.
    """
    reading = edition.reading
    compared = [(name, finding) for name, finding in _named(reading) if finding.change is not None]
    if not compared:
        raise ValueError("a report of change needs a finding that was compared")
    groups = [_group(edition, name, finding, evidence) for name, finding in compared]
    if reading.response is not None:
        groups.append(_response(edition, reading.response))
    images = [evidence.images[uid] for uid in _prior_images([f for _, f in compared], evidence)]
    made = document(
        edition,
        groups,
        role="sr-changes",
        evidence=[*images, *map(_referable, evidence.reports), *related],
        is_drawn=False,
    )
    for report in evidence.reports:
        made.ContentSequence.append(_inferred_from(report))
    return made


def _named(reading: Reading) -> Iterator[tuple[str, Finding]]:
    """Each lesion by the name it has in every object of the reading: its number is its place among all
    findings, compared or not. One that is gone has none here; its number in the prior would be another's."""
    yield from ((f"{finding.label} {number}", finding) for number, finding in enumerate(reading.findings, 1))
    yield from ((f"{finding.label}, no longer seen", finding) for finding in reading.resolved)


def _group(
    edition: Edition, name: str, finding: Finding, evidence: PriorEvidence
) -> sr.MeasurementsAndQualitativeEvaluations:
    change = finding.change
    assert change is not None
    prior = evidence.images.get(change.prior_image_uid)
    frames = None if change.prior_frame is None else [change.prior_frame]
    source = (
        [sr.SourceImageForMeasurementGroup(prior.SOPClassUID, prior.SOPInstanceUID, frames)]
        if prior
        else None
    )
    values = [
        (codes.FRACTIONAL_CHANGE, change.volume_change_percent, codes.PERCENT),
        (codes.DOUBLING_TIME, change.doubling_time_days, codes.DAY),
    ]
    said = codes.CHANGE.get(change.category)
    evaluations = [sr.QualitativeEvaluation(codes.DIFFERENCE_IN_SIZE.concept, said.concept)] if said else []
    if change.category == "resolved":
        evaluations.append(sr.QualitativeEvaluation(codes.concept_of(finding.code), codes.ABSENT.concept))
    group = sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(uid=finding.tracking_uid, identifier=name),
        finding_type=codes.concept_of(finding.code),
        algorithm_id=reader_algorithm(edition),
        source_images=source,
        measurements=[
            sr.Measurement(name.concept, round(value, 1), unit.concept)
            for name, value, unit in values
            if value is not None
        ],
        qualitative_evaluations=evaluations or None,
    )
    group[0].ContentSequence.extend(comments_on(finding))
    return group


def _response(edition: Edition, response: Response) -> sr.MeasurementsAndQualitativeEvaluations:
    """The sum of diameters and the response of the targets, where there are any; the patient's response where
    more than these was judged: a new lesion is progression of the disease, not of the targets."""
    overall = codes.RESPONSES.get(response.result) if response.is_overall else None
    told = (
        (codes.CURRENT_RESPONSE, codes.TARGET_RESPONSES.get(response.target_result or "")),
        (codes.OVERALL_RESPONSE, overall),
    )
    sums = [
        sr.Measurement(
            codes.SUM_OF_DIAMETERS.concept, round(response.current_mm, 1), codes.MILLIMETRE.concept
        )
    ]
    group = sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(
            uid=edition.tracking_uid("response"),
            identifier="Overall response" if overall else "Response of the target lesions",
        ),
        algorithm_id=reader_algorithm(edition),
        method=codes.RECIST.concept,
        measurements=sums if response.targets else None,
        qualitative_evaluations=[
            sr.QualitativeEvaluation(name.concept, value.concept) for name, value in told if value
        ]
        or None,
    )
    group[0].ContentSequence.append(comment(f"{response.guideline}: {response.statement}"))
    return group


def _prior_images(compared: Sequence[Finding], evidence: PriorEvidence) -> list[str]:
    named = (finding.change.prior_image_uid for finding in compared if finding.change)
    return [uid for uid in dict.fromkeys(named) if uid in evidence.images]


def _referable(report: Predecessor) -> Dataset:
    """As much of an object's header as a reference to it takes."""
    header = Dataset()
    header.StudyInstanceUID, header.SeriesInstanceUID = report.study_uid, report.series_uid
    header.SOPClassUID, header.SOPInstanceUID = report.sop_class, report.sop_instance_uid
    return header


def _inferred_from(report: Predecessor) -> Dataset:
    """COMPOSITE (122075, DCM, "Prior report for current patient") of TID 1500's root."""
    return sr.CompositeContentItem(
        name=codes.PRIOR_REPORT.concept,
        referenced_sop_class_uid=report.sop_class,
        referenced_sop_instance_uid=report.sop_instance_uid,
        relationship_type=sr.RelationshipTypeValues.CONTAINS,
    )
