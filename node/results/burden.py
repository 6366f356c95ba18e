"""What the lesions of a PET come to together (TID 1500 with a group of TID 1501): how many, the hottest, and
the metabolic volume and glycolysis of all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from highdicom import sr
from pydicom import Dataset

from inference.findings import Finding
from node.results import codes
from node.results.edition import Edition
from node.results.report import document, reader_algorithm


def has_uptake(findings: Sequence[Finding]) -> bool:
    return any(finding.uptake for finding in findings)


def burden_report(edition: Edition, related: Iterable[Dataset] = ()) -> sr.Comprehensive3DSR:
    """
    Raises:
        ValueError: no finding takes anything up.
    """
    hot = [(finding, finding.uptake) for finding in edition.reading.findings if finding.uptake]
    if not hot:
        raise ValueError("a report of the burden needs a lesion with uptake")
    hottest = max(uptake.suv_max for _, uptake in hot)
    volume_ml = sum(finding.volume_mm3 for finding, _ in hot) / 1000
    glycolysis_g = sum(uptake.glycolysis_g for _, uptake in hot)
    group = sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(
            uid=edition.tracking_uid("burden"), identifier="All lesions together"
        ),
        finding_type=codes.LESION.concept,
        algorithm_id=reader_algorithm(edition),
        measurements=[
            sr.Measurement(codes.NUMBER_OF_LESIONS.concept, len(hot), codes.NO_UNITS.concept),
            sr.Measurement(
                codes.SUV_BODY_WEIGHT.concept,
                round(hottest, 2),
                codes.SUV_BW_UNIT.concept,
                derivation=codes.MAXIMUM.concept,
            ),
            sr.Measurement(codes.METABOLIC_VOLUME.concept, round(volume_ml, 1), codes.MILLILITRE.concept),
            sr.Measurement(codes.TOTAL_LESION_GLYCOLYSIS.concept, round(glycolysis_g, 1), codes.GRAM.concept),
        ],
        qualitative_evaluations=[sr.QualitativeEvaluation(codes.LESION.concept, codes.PRESENT.concept)],
    )
    return document(edition, [group], role="sr-classes", evidence=related, is_drawn=False)
