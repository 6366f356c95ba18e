"""Findings become Comprehensive 3D SR documents on TID 1500 Measurement Report, one per template family.

Classes (TID 1501): what was found in the image as a whole.
Outlines (TID 1410): every finding with its outline on its key slice; what viewers draw.
Volumes (TID 1411): every finding with its segment; what measurement software reads.
The last of these that an edition has is the root of the set: its evidence names all other objects.

Each measurement carries the line or outline it was taken from, so that a reader of either document can
draw it. No document mixes templates: validators, and readers, pick one for the whole document.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from highdicom import sr
from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.sr.value_types import NumContentItem
from pydicom import Dataset

from inference.findings import Assessment, ClassProbability, Finding, Measurement, Reading, Uptake
from inference.growth.forecast import in_words
from node.results import codes
from node.results.edition import MANUFACTURER, NOTICE, Edition
from node.results.examined import listed, procedure_reported, show_region
from node.results.identity import result_uid
from node.results.outline import Place, axis_on_image, place_on_image

Group = (
    sr.PlanarROIMeasurementsAndQualitativeEvaluations
    | sr.VolumetricROIMeasurementsAndQualitativeEvaluations
    | sr.MeasurementsAndQualitativeEvaluations
)
_PARTIAL = "Not all images of the series were read"
_SEGMENTATION_CLASS = "1.2.840.10008.5.1.4.1.1.66.4"
_OWN_SCHEME = CodingSchemeIdentificationItem(
    designator=codes.OWN_SCHEME, name="Overread", responsible_organization=MANUFACTURER
)


def outline_report(edition: Edition, related: Iterable[Dataset] = ()) -> sr.Comprehensive3DSR:
    """TID 1410: one planar measurement group per finding, on its key slice.

    Args:
        related: further objects of the edition, which this document names as evidence.

    Raises:
        ValueError: no findings; use ``negative_report``.
    """
    if not edition.reading.findings:
        raise ValueError("a report of outlines needs at least one finding")
    groups = []
    for number, finding in enumerate(edition.reading.findings, 1):
        place, image = place_on_image(finding, edition.volume), _image(edition, finding)
        group = sr.PlanarROIMeasurementsAndQualitativeEvaluations(
            referenced_region=sr.ImageRegion(
                sr.GraphicTypeValues.POLYLINE,
                place.outline,
                source_image=image,
            ),
            **_common(edition, number, finding),
        )
        _show_where_measured(group, place, image)
        group[0].ContentSequence.extend(comments_on(finding))
        groups.append(group)
    return document(edition, groups, role="sr-outlines", evidence=related)


def volume_report(
    edition: Edition, segmentation: Dataset, related: Iterable[Dataset] = ()
) -> sr.Comprehensive3DSR:
    """TID 1411: one volumetric measurement group per finding that has a segment in ``segmentation``."""
    groups = []
    segment_numbers = {
        segment.TrackingUID: segment.SegmentNumber
        for segment in segmentation.SegmentSequence
        if "TrackingUID" in segment
    }
    for number, finding in enumerate(edition.reading.findings, 1):
        if finding.tracking_uid not in segment_numbers:
            continue
        group = sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
            referenced_segment=sr.ReferencedSegment(
                sop_class_uid=_SEGMENTATION_CLASS,
                sop_instance_uid=segmentation.SOPInstanceUID,
                segment_number=segment_numbers[finding.tracking_uid],
                source_series=sr.SourceSeriesForSegmentation(edition.volume.series_uid),
            ),
            **_common(edition, number, finding),
        )
        _show_where_measured(group, place_on_image(finding, edition.volume), _image(edition, finding))
        group[0].ContentSequence.extend(comments_on(finding))
        groups.append(group)
    others = [one for one in related if one is not segmentation]
    return document(edition, groups, role="sr", evidence=[segmentation, *others])


def negative_report(edition: Edition, related: Iterable[Dataset] = ()) -> sr.Comprehensive3DSR:
    """TID 1501: the reader ran to its end, and what it looks for is absent; undetermined where lesions are
    left to the reports of other readers, or a part of the patient was not read."""
    reading = edition.reading
    target = codes.TARGETS.get(reading.reader, codes.LESION)
    told = "".join(f" but for the results of {name}" for name in reading.left_to)
    told += " in what was read" if reading.unread else ""
    presence = codes.UNDETERMINED if reading.left_to or reading.unread else codes.ABSENT
    elsewhere = (
        f"The lesions that {name} reports of this study are left out here." for name in reading.left_to
    )
    group = sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(
            uid=edition.tracking_uid("absent"), identifier=f"No {target.meaning.lower()}{told}"
        ),
        algorithm_id=reader_algorithm(edition),
        qualitative_evaluations=[sr.QualitativeEvaluation(target.concept, presence.concept)],
    )
    group[0].ContentSequence.extend(_comments([*elsewhere, *(one.statement for one in reading.unread)]))
    return document(edition, [group], role="sr", evidence=related, is_drawn=False)


def class_report(edition: Edition, related: Iterable[Dataset] = ()) -> sr.Comprehensive3DSR:
    """TID 1501: whether each class of the image as a whole is present, absent or undetermined, with its
    probability; the operating points behind the word are parameters of the algorithm. Then what was measured
    on it, each number with the lines that it was taken from.

    Raises:
        ValueError: no classes.
    """
    if not edition.reading.classes:
        raise ValueError("a report of classes needs at least one class")
    groups = [_class(edition, item) for item in edition.reading.classes]
    groups += [_measured(edition, measurement) for measurement in edition.reading.measurements]
    return document(edition, groups, role="sr-classes", evidence=related, is_drawn=False)


def _class(edition: Edition, item: ClassProbability) -> sr.MeasurementsAndQualitativeEvaluations:
    """What is claimed of a class, its probability, and why nothing is claimed of one that never is."""
    group = sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(
            uid=edition.tracking_uid(f"class|{item.code.scheme}|{item.code.value}"), identifier=item.label
        ),
        algorithm_id=reader_algorithm(edition, _operating_points(item)),
        measurements=[
            sr.Measurement(codes.PROBABILITY.concept, round(100 * item.probability, 1), codes.PERCENT.concept)
        ],
        qualitative_evaluations=[
            sr.QualitativeEvaluation(codes.concept_of(item.code), codes.PRESENCE[item.presence].concept)
        ],
    )
    group[0].ContentSequence.extend(_comments([item.caveat] if item.caveat else []))
    return group


def _measured(edition: Edition, measurement: Measurement) -> sr.MeasurementsAndQualitativeEvaluations:
    """A number with the lines that it was taken from, and what makes it doubtful."""
    code, unit = measurement.code, codes.UNITS[measurement.unit]
    image = _image(edition, measurement)
    site = codes.concept_of(measurement.site) if measurement.site else None
    group = sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(
            uid=edition.tracking_uid(f"measurement|{code.scheme}|{code.value}"), identifier=measurement.label
        ),
        finding_sites=[sr.FindingSite(site)] if site else None,
        algorithm_id=reader_algorithm(edition),
        measurements=[
            sr.Measurement(
                name=codes.concept_of(code),
                value=round(measurement.value, 3 if unit == codes.RATIO else 1),
                unit=unit.concept,
                referenced_coordinates=[
                    sr.CoordinatesForMeasurement(
                        graphic_type=sr.GraphicTypeValues.POLYLINE,
                        graphic_data=axis_on_image(line, edition.volume),
                        source_image=image,
                    )
                    for line in measurement.lines
                ],
            )
        ],
    )
    group[0].ContentSequence.extend(_comments([measurement.caveat] if measurement.caveat else []))
    return group


def _operating_points(found: ClassProbability) -> Iterator[str]:
    for words, limit in (("present from", found.present_from), ("absent below", found.absent_below)):
        if limit is not None:
            yield f"{found.label} {words} {100 * limit:.1f} %"


def _common(edition: Edition, number: int, finding: Finding) -> dict[str, Any]:
    """What the groups of every template say of a finding."""
    site = codes.site_of(finding.code, finding.site)
    side = codes.SIDES[finding.side] if finding.side else None
    return {
        "tracking_identifier": sr.TrackingIdentifier(
            uid=finding.tracking_uid, identifier=f"{finding.label} {number}"
        ),
        "finding_category": codes.MORPHOLOGICALLY_ABNORMAL.concept,
        "finding_type": codes.concept_of(finding.code),
        "finding_sites": [sr.FindingSite(site.concept, side.concept if side else None)] if site else None,
        "algorithm_id": reader_algorithm(edition),
        "measurements": _measurements(finding),
        "qualitative_evaluations": _evaluations(finding),
    }


def _measurements(finding: Finding) -> list[sr.Measurement]:
    change = finding.change
    if finding.in_pixels:
        return _in_pixels(finding)
    values = [
        (codes.VOLUME, finding.volume_mm3, codes.CUBIC_MILLIMETRE),
        (codes.LONG_AXIS, finding.long_axis_mm, codes.MILLIMETRE),
        (codes.SHORT_AXIS, finding.short_axis_mm, codes.MILLIMETRE),
        (codes.MEAN_ATTENUATION, finding.mean_hu, codes.HOUNSFIELD),
        (codes.SUSPICION, _percent(finding.malignancy), codes.PERCENT),
        (codes.CERTAINTY_OF_FINDING, _percent(finding.certainty), codes.PERCENT),
        (codes.FRACTIONAL_CHANGE, change.volume_change_percent if change else None, codes.PERCENT),
        (codes.DOUBLING_TIME, change.doubling_time_days if change else None, codes.DAY),
    ]
    measured = [_measurement(name, value, unit) for name, value, unit in values if value is not None]
    return measured + (_of_uptake(finding, finding.uptake) if finding.uptake else [])


def _of_uptake(finding: Finding, uptake: Uptake) -> list[sr.Measurement]:
    """SUV of body weight as maximum, mean and peak (the hottest 1 ml), metabolic volume and glycolysis."""
    derived = (
        (uptake.suv_max, codes.MAXIMUM),
        (uptake.suv_mean, codes.MEAN),
        (uptake.suv_peak, codes.PEAK_WITHIN_ROI),
    )
    return [
        *(
            sr.Measurement(
                name=codes.SUV_BODY_WEIGHT.concept,
                value=round(value, 2),
                unit=codes.SUV_BW_UNIT.concept,
                derivation=derivation.concept,
            )
            for value, derivation in derived
        ),
        _measurement(codes.METABOLIC_VOLUME, finding.volume_mm3 / 1000, codes.MILLILITRE),
        _measurement(codes.TOTAL_LESION_GLYCOLYSIS, uptake.glycolysis_g, codes.GRAM),
    ]


def _in_pixels(finding: Finding) -> list[sr.Measurement]:
    """A box around evidence has no size of its own; an outline has, though not in millimetres."""
    measured = [_measurement(codes.CERTAINTY_OF_FINDING, 100 * finding.score, codes.PERCENT)]
    if finding.is_sized:
        measured += [
            _measurement(codes.LONG_AXIS, finding.long_axis_mm, codes.PIXELS),
            _measurement(codes.SHORT_AXIS, finding.short_axis_mm, codes.PIXELS),
        ]
    return measured


def _measurement(name: codes.Term, value: float, unit: codes.Term) -> sr.Measurement:
    return sr.Measurement(name=name.concept, value=round(float(value), 1), unit=unit.concept)


def _percent(probability: float | None) -> float | None:
    return None if probability is None else 100 * probability


def _evaluations(finding: Finding) -> list[sr.QualitativeEvaluation] | None:
    told = (
        (codes.NODULE_TYPE, codes.NODULE_TYPES.get(finding.kind or "")),
        (codes.DIFFERENCE_IN_SIZE, codes.CHANGE.get(finding.change.category) if finding.change else None),
    )
    said = [sr.QualitativeEvaluation(name.concept, value.concept) for name, value in told if value]
    return [*said, *_by_guidelines(finding.assessments)] or None


def _by_guidelines(assessments: Iterable[Assessment]) -> Iterator[sr.QualitativeEvaluation]:
    for one in assessments:
        guideline, result = codes.GUIDELINES.get(one.guideline), codes.ASSESSED.get(one.result)
        if guideline and result:
            yield sr.QualitativeEvaluation(guideline.concept, result.concept)


def comments_on(finding: Finding) -> list[sr.TextContentItem]:
    """What makes it, or its size, doubtful; what guidelines say in a sentence, and recommend; and what is
    forecast, in words alone: no number of it is a measurement."""
    doubts = [finding.caveat] if finding.caveat else []
    ahead = finding.change.forecast if finding.change else None
    told = [in_words(ahead)] if ahead else []
    return _comments([*doubts, *(one.words for one in finding.assessments), *told])


def _comments(sentences: Iterable[str]) -> list[sr.TextContentItem]:
    return [comment(each) for each in sentences]


def comment(sentence: str) -> sr.TextContentItem:
    return sr.TextContentItem(codes.COMMENT.concept, sentence, sr.RelationshipTypeValues.CONTAINS)


def _of_the_examination(reading: Reading) -> sr.ContainerContentItem:
    """TID 1500 rows 12 to 14, which highdicom does not make: that nobody has verified it, what guidelines
    make of it, and what of the series was not read as it was sent."""
    container = sr.ContainerContentItem(
        codes.QUALITATIVE_EVALUATIONS.concept, relationship_type=sr.RelationshipTypeValues.CONTAINS
    )
    evaluations = [item for one in _by_guidelines(reading.assessments) for item in one]
    caveats, advice = (c.statement for c in reading.caveats), (one.words for one in reading.assessments)
    said = _comments([NOTICE, *caveats, *advice])
    container.ContentSequence = sr.ContentSequence([*evaluations, *said])
    return container


def _show_where_measured(group: Group, place: Place, image: sr.SourceImageForRegion) -> None:
    """Gives each measurement of a group the line it was taken from, INFERRED FROM a SCOORD (TID 320).

    highdicom refuses this on construction; the Comprehensive 3D SR IOD and both templates allow it.
    """
    lines = {codes.LONG_AXIS.value: place.long_axis, codes.SHORT_AXIS.value: place.short_axis}
    for item in group[0].ContentSequence:
        if not isinstance(item, NumContentItem):
            continue
        line = sr.CoordinatesForMeasurement(
            graphic_type=sr.GraphicTypeValues.POLYLINE,
            graphic_data=lines.get(item.name.value, place.outline),
            source_image=image,
        )
        item.ContentSequence = sr.ContentSequence([*item.get("ContentSequence", ()), line])


def _image(edition: Edition, found: Finding | Measurement) -> sr.SourceImageForRegion:
    header = edition.sources[found.image_uid]
    frames = None if found.frame is None else [found.frame]
    return sr.SourceImageForRegion(header.SOPClassUID, header.SOPInstanceUID, frames)


def reader_algorithm(edition: Edition, parameters: Iterable[str] = ()) -> sr.AlgorithmIdentification:
    """TID 4019."""
    model = edition.reading.model
    return sr.AlgorithmIdentification(
        name=model.name,
        version=model.version,
        parameters=[f"weights sha256:{model.sha256}", *parameters],
        manufacturer=MANUFACTURER,
        family=codes.ARTIFICIAL_INTELLIGENCE.concept,
    )


def device_observer(edition: Edition) -> sr.ObserverContext:
    """TID 1004: the observer is the reader's own model; other weights are another device."""
    model = edition.reading.model
    return sr.ObserverContext(
        observer_type=codes.DEVICE.concept,
        observer_identifying_attributes=sr.DeviceObserverIdentifyingAttributes(
            uid=result_uid("device", f"{model.name}|{model.version}|{model.sha256}"),
            name=model.name,
            manufacturer_name=MANUFACTURER,
            model_name=model.name,
            serial_number=edition.device_serial_number(),
        ),
    )


def document(
    edition: Edition,
    groups: Sequence[Group],
    role: str,
    evidence: Iterable[Dataset] = (),
    is_drawn: bool = True,
) -> sr.Comprehensive3DSR:
    """
    Args:
        is_drawn: the groups have coordinates. OHIF shows text alone under another title than that of an
            Imaging Measurement Report, and nothing at all under that one (docs/decisions).
    """
    as_text = codes.PET_REPORT if edition.reading.reader == "pet-ct" else codes.ONCOLOGY_REPORT
    title = codes.MEASUREMENT_REPORT if is_drawn else as_text
    images = [edition.sources[uid] for uid in edition.key_image_uids()]
    content = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=device_observer(edition)),
        procedure_reported=procedure_reported(images[0]).concept,
        imaging_measurements=groups,
        title=title.concept,
        language_of_content_item_and_descendants=sr.LanguageOfContentItemAndDescendants(
            codes.ENGLISH.concept
        ),
        referenced_images=[listed(image) for image in images],
    )
    if region := codes.REGIONS.get(edition.reading.reader):
        show_region(content, region)
    made = sr.Comprehensive3DSR(
        evidence=[*images, *evidence],
        content=_root(content),
        sop_instance_uid=edition.uid(role),
        instance_number=1,
        is_complete=not edition.reading.unread,
        is_final=False,
        is_verified=False,
        requested_procedures=edition.requests() or None,
        contributing_equipment=edition.equipment(),
        coding_schemes=[_OWN_SCHEME],
        specific_character_set=None,
        **edition.series(role),
        **edition.device(),
    )
    made.ContentSequence = content[0].ContentSequence
    if edition.reading.unread:
        made.CompletionFlagDescription = _PARTIAL
    made.ContentSequence.append(_of_the_examination(edition.reading))
    if predecessors := edition.predecessor_references():
        made.PredecessorDocumentsSequence = predecessors
    edition.settle(made)
    return made


def _root(content: sr.MeasurementReport) -> Dataset:
    """The root alone: highdicom copies the whole tree several times, which takes longer than all else."""
    root = Dataset()
    root.update({element.tag: element for element in content[0] if element.keyword != "ContentSequence"})
    root.ContentSequence = []
    return root
