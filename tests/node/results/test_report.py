"""The reports say what was found, where, how large and by whom, and every validator accepts them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from highdicom import sr
from highdicom.sr import CodedConcept
from pydicom import Dataset

from inference.findings import Assessment, Change, Finding, Uptake
from inference.growth.assess import assessed
from node.results import Predecessor, ResultFile, codes
from tests.node.results.phantoms import Case
from tests.validators import dciodvfy, dsrdump, tid1500reader
from tests.validators.cases import assessed_by_guidelines, incomplete


def groups(path: Path) -> list[sr.PlanarROIMeasurementsAndQualitativeEvaluations]:
    content = sr.srread(path).content
    return [
        *content.get_planar_roi_measurement_groups(),
        *content.get_volumetric_roi_measurement_groups(),
    ]


def values(group: sr.PlanarROIMeasurementsAndQualitativeEvaluations) -> dict[str, float]:
    return {measurement.name.meaning: measurement.value for measurement in group.get_measurements()}


def evaluations(group: sr.PlanarROIMeasurementsAndQualitativeEvaluations) -> dict[str, str]:
    return {item.name.meaning: item.value.meaning for item in group.get_qualitative_evaluations()}


@pytest.mark.needs("dciodvfy", "dsrdump")
@pytest.mark.parametrize("name", ["sr", "sr-outlines"])
def test_a_report_is_valid(results: dict[str, ResultFile], name: str) -> None:
    assert dciodvfy(results[name].path) == []
    assert dsrdump(results[name].path) == []


@pytest.mark.needs("dciodvfy", "dsrdump")
def test_a_negative_report_is_valid(negative: dict[str, ResultFile]) -> None:
    assert dciodvfy(negative["sr"].path) == []
    assert dsrdump(negative["sr"].path) == []


@pytest.mark.parametrize("name", ["sr", "sr-outlines"])
def test_the_examination_is_a_ct_and_its_images_show_the_chest(
    results: dict[str, ResultFile], name: str
) -> None:
    content = sr.srread(results[name].path).content[0].ContentSequence
    (procedure,) = content.find(CodedConcept("121058", "DCM", "Procedure reported"))
    assert procedure.value == codes.CT_UNSPECIFIED.concept  # CID 100 has no CT of the chest
    (library,) = content.find(codes.IMAGE_LIBRARY.concept)
    images = library.ContentSequence[0].ContentSequence
    regions = [image.ContentSequence.find(codes.TARGET_REGION.concept)[0].value for image in images]
    assert regions == [codes.CHEST.concept] * len(images)


@pytest.mark.needs("tid1500reader")
@pytest.mark.parametrize("name", ["sr", "sr-outlines"])
def test_dcmqi_reads_every_measurement(
    results: dict[str, ResultFile], case: Case, tmp_path: Path, name: str
) -> None:
    body = tid1500reader(results[name].path, tmp_path)
    read = {group["TrackingUniqueIdentifier"]: group for group in body["Measurements"]}
    assert read.keys() == {finding.tracking_uid for finding in case.reading.findings}
    for finding in case.reading.findings:
        items = {
            item["quantity"]["CodeMeaning"]: float(item["value"])
            for item in read[finding.tracking_uid]["measurementItems"]
        }
        assert items["Volume"] == pytest.approx(finding.volume_mm3, abs=0.06)
        assert items["Long axis"] == pytest.approx(finding.long_axis_mm, abs=0.06)


@pytest.mark.parametrize("name", ["sr", "sr-outlines"])
def test_every_finding_has_its_measurements(results: dict[str, ResultFile], case: Case, name: str) -> None:
    for group, finding in zip(groups(results[name].path), case.reading.findings, strict=True):
        assert group.tracking_uid == finding.tracking_uid
        assert group.finding_type == codes.PULMONARY_NODULE.concept
        measured = values(group)
        assert measured["Volume"] == pytest.approx(finding.volume_mm3, abs=0.06)
        assert measured["Short axis"] == pytest.approx(finding.short_axis_mm, abs=0.06)
        assert measured["Mean Attenuation Coefficient"] == 40.0
        assert measured["Suspicion of malignancy, as the network rates it"] == 41.0
        assert measured["Certainty of Finding"] == 93.0


@pytest.mark.needs("dciodvfy")
def test_what_only_a_look_at_its_place_in_the_prior_found_has_no_certainty_and_says_so(
    case: Case, tmp_path: Path
) -> None:
    looked, searched = case.reading.findings
    looked = replace(looked, by_look=True, side="left")
    files = replace(case, reading=replace(case.reading, findings=(looked, searched))).write(tmp_path)
    for name in ("sr", "sr-outlines"):
        again, other = groups(files[name].path)
        assert "Certainty of Finding" not in values(again) and "Certainty of Finding" in values(other)
        assert files[name].path.read_bytes().count(b"Found at its place in the prior") == 1
        assert dciodvfy(files[name].path) == []


def test_the_outline_encloses_the_lesion_on_its_key_slice(results: dict[str, ResultFile], case: Case) -> None:
    for group, finding in zip(groups(results["sr-outlines"].path), case.reading.findings, strict=True):
        region = group.roi
        assert isinstance(region, sr.ImageRegion) and finding.mask is not None
        source = region.ContentSequence[0].ReferencedSOPSequence[0]
        assert source.ReferencedSOPInstanceUID == finding.image_uid
        index = [image and image[0] for image in case.volume.images].index(finding.image_uid)
        rows, columns = np.nonzero(finding.mask.voxels[index - finding.mask.origin[0]])
        low = np.array([columns.min(), rows.min()]) + finding.mask.origin[:0:-1]
        high = np.array([columns.max(), rows.max()]) + finding.mask.origin[:0:-1] + 1
        assert np.allclose(region.value.min(axis=0), low) and np.allclose(region.value.max(axis=0), high)
        assert np.allclose(region.value[0], region.value[-1])


def test_each_measurement_carries_the_line_it_was_taken_from(
    results: dict[str, ResultFile], case: Case
) -> None:
    for name in ("sr", "sr-outlines"):
        for group, finding in zip(groups(results[name].path), case.reading.findings, strict=True):
            measured = {m.name.meaning: m for m in group.get_measurements()}
            line = measured["Long axis"].referenced_coordinates[0].value
            length = np.linalg.norm((line[1] - line[0]) * (0.7, 0.8))
            assert length == pytest.approx(finding.long_axis_mm, abs=0.01)


def test_maximum_mean_and_peak_of_the_uptake_are_told_apart(case: Case, out: Path) -> None:
    hot = (replace(f, mean_hu=None, uptake=Uptake(8.1, 4.2, 7.3, 12.5, 3.3)) for f in case.reading.findings)
    files = case.with_findings(*hot).write(out)
    for name in ("sr", "sr-outlines"):
        for group in groups(files[name].path):
            suv = group.get_measurements(codes.SUV_BODY_WEIGHT.concept)
            told = {m.derivation.meaning: m.value for m in suv if m.derivation is not None}
            assert told == {"Maximum": 8.1, "Mean": 4.2, "Peak Value Within ROI": 7.3}
            assert all(measurement.referenced_coordinates for measurement in group.get_measurements())


def test_the_volumes_refer_to_the_segments(results: dict[str, ResultFile], case: Case) -> None:
    seg = pydicom.dcmread(results["seg"].path, stop_before_pixels=True)
    numbers = {s.SegmentNumber: s.TrackingUID for s in seg.SegmentSequence}
    for group in groups(results["sr"].path):
        segment = group.referenced_segment
        assert segment.referenced_sop_instance_uid == seg.SOPInstanceUID
        assert numbers[segment.referenced_segment_numbers[0]] == group.tracking_uid


@pytest.mark.needs("dciodvfy", "dsrdump")
def test_the_type_of_a_cancer_is_coded_and_said_with_its_probability(case: Case, tmp_path: Path) -> None:
    lesion, _ = case.reading.findings
    words = "Squamous cell carcinoma is the likeliest of 4 types (62 %)."
    typed = Assessment("Type of cancer", "squamous cell carcinoma", words)
    path = case.with_findings(replace(lesion, assessments=(typed,))).write(tmp_path)["sr"].path
    (group,) = groups(path)
    assert evaluations(group)["Associated morphology"] == "Squamous cell carcinoma"
    assert f"Type of cancer: {words}".encode() in path.read_bytes()
    assert dciodvfy(path) == [] and dsrdump(path) == []


@pytest.fixture(scope="module")
def first_ct(case: Case, tmp_path_factory: pytest.TempPathFactory) -> dict[str, ResultFile]:
    """A solid nodule and a part-solid one, seen for the first time."""
    solid, other = case.reading.findings
    seen = case.with_findings(solid, replace(other, kind="part-solid"))
    return replace(seen, reading=assessed(seen.reading, seen.volume)).write(
        tmp_path_factory.mktemp("first-ct")
    )


@pytest.mark.parametrize("name", ["sr", "sr-outlines"])
def test_what_guidelines_make_of_a_first_ct_is_coded_and_said_in_words(
    first_ct: dict[str, ResultFile], name: str
) -> None:
    solid, part_solid = groups(first_ct[name].path)
    told = {
        "Fleischner Society 2017": "6 to 8 mm",
        "Lung-RADS 2022": "Category 3",
        "British Thoracic Society 2015": "80 to below 300 mm3",
        "NELSON trial": "Indeterminate",
    }
    assert evaluations(solid).items() >= told.items()
    assert evaluations(part_solid)["Lung-RADS 2022"] == "Category 4B"
    assert (
        "Lung-RADS 2022: Solid, 7.4 mm, baseline: category 3. In screening: CT at low dose in 6 months."
        in texts(solid[0])
    )


@pytest.mark.parametrize("name", ["sr", "sr-outlines"])
def test_the_examination_has_the_category_of_its_most_suspicious_nodule(
    first_ct: dict[str, ResultFile], name: str
) -> None:
    whole = of_the_examination(first_ct[name].path)
    (told,) = (item for item in whole.ContentSequence if item.ValueType == "CODE")
    assert told.ConceptNameCodeSequence[0].CodeMeaning == "Lung-RADS 2022"
    assert told.ConceptCodeSequence[0].CodeMeaning == "Category 4B"
    assert any("the most suspicious of 2 nodules" in text for text in texts(whole))


@pytest.mark.needs("dciodvfy", "dsrdump")
@pytest.mark.parametrize("name", ["sr", "sr-outlines"])
def test_a_report_of_a_first_ct_is_valid(first_ct: dict[str, ResultFile], name: str) -> None:
    assert dciodvfy(first_ct[name].path) == []
    assert dsrdump(first_ct[name].path) == []


@pytest.mark.needs("dciodvfy", "dsrdump")
def test_a_first_ct_without_nodule_is_category_1(case: Case, out: Path) -> None:
    none = case.with_findings()
    report = replace(none, reading=assessed(none.reading, none.volume)).write(out)["sr"].path
    assert any("Category 1, no nodule" in text for text in texts(of_the_examination(report)))
    assert dciodvfy(report) == []
    assert dsrdump(report) == []


def of_the_examination(report: Path) -> Dataset:
    (found,) = (
        item
        for item in pydicom.dcmread(report).ContentSequence
        if item.ConceptNameCodeSequence[0].CodeMeaning == "Qualitative Evaluations"
    )
    return found


def texts(item: Dataset) -> list[str]:
    return [str(child.TextValue) for child in item.ContentSequence if child.ValueType == "TEXT"]


@pytest.mark.parametrize("name", ["sr", "sr-outlines"])
def test_a_report_is_open_about_what_it_is(results: dict[str, ResultFile], case: Case, name: str) -> None:
    report = pydicom.dcmread(results[name].path)
    assert (report.VerificationFlag, report.PreliminaryFlag) == ("UNVERIFIED", "PRELIMINARY")
    assert (report.CompletionFlag, report.ContentQualification) == ("COMPLETE", "RESEARCH")
    assert report.AccessionNumber == "A0001"
    assert report.ReferencedRequestSequence[0].AccessionNumber == "A0001"
    text = str(report)
    assert f"weights sha256:{case.reading.model.sha256}" in text
    assert (
        texts(of_the_examination(results[name].path))[0]
        == "AI result, not verified. For research, not for diagnosis."
    )


def test_the_image_library_holds_key_images_only(results: dict[str, ResultFile], case: Case) -> None:
    report = pydicom.dcmread(results["sr-outlines"].path)
    library = next(i for i in report.ContentSequence if i.ConceptNameCodeSequence[0].CodeValue == "111028")
    images = [
        item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        for group in library.ContentSequence
        for item in group.ContentSequence
        if "ReferencedSOPSequence" in item
    ]
    assert images == [finding.image_uid for finding in case.reading.findings]


def test_a_study_without_findings_is_reported_as_such(negative: dict[str, ResultFile]) -> None:
    (group,) = sr.srread(negative["sr"].path).content.get_image_measurement_groups()
    assert evaluations(group)["Pulmonary nodule"] == "Absent"


@pytest.mark.needs("dciodvfy", "dsrdump")
def test_a_study_of_which_a_part_was_not_read_is_never_reported_as_without_findings(
    case: Case, out: Path
) -> None:
    part = assessed_by_guidelines(incomplete(case))
    path = part.write(out)["sr"].path
    (group,) = sr.srread(path).content.get_image_measurement_groups()
    assert evaluations(group)["Pulmonary nodule"] == "Undetermined"
    said = "2 images were not read, 6 to 8 mm below the slices that were."
    assert said in texts(group[0])
    whole = texts(of_the_examination(path))
    assert {said, "1 missing slice interpolated from the neighbours."} < set(whole)
    assert any(f"Category 0, incomplete: {said}" in text for text in whole)
    report = pydicom.dcmread(path)
    assert (report.CompletionFlag, report.CompletionFlagDescription) == (
        "PARTIAL",
        "Not all images of the series were read",
    )
    assert dciodvfy(path) == []
    assert dsrdump(path) == []


def test_a_study_whose_lesions_another_reader_reports_is_never_reported_as_without_lesions(
    case: Case, out: Path
) -> None:
    left = replace(case.reading, reader="ct-lesions", findings=(), left_to=("lung-nodules",))
    path = replace(case, reading=left).write(out)["sr"].path
    (group,) = sr.srread(path).content.get_image_measurement_groups()
    assert evaluations(group)["Lesion"] == "Undetermined"
    assert "The lesions that lung-nodules reports of this study are left out here." in texts(group[0])
    assert pydicom.dcmread(path).CompletionFlag == "COMPLETE"


@pytest.mark.parametrize("name", ["sr", "sr-outlines"])
def test_a_lesion_that_is_mostly_interpolated_says_so_with_its_measurements(
    case: Case, out: Path, name: str
) -> None:
    seen, made_up = case.reading.findings
    told = case.with_findings(seen, replace(made_up, interpolated=0.67)).write(out)
    one, other = groups(told[name].path)
    assert texts(one[0]) == [each for each in texts(one[0]) if "slices that were not sent" not in each]
    assert any(
        text.startswith("67 % of its volume lies in slices that were not sent") for text in texts(other[0])
    )


def test_a_new_edition_names_its_predecessors(results: dict[str, ResultFile], case: Case, out: Path) -> None:
    earlier = [Predecessor.from_file(file.path) for file in results.values()]
    later = case.write(out, identity="f" * 64, predecessors=earlier)
    report = pydicom.dcmread(later["sr"].path)
    named = {
        item.ReferencedSOPInstanceUID
        for study in report.PredecessorDocumentsSequence
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    }
    assert named == {results["sr-outlines"].sop_instance_uid, results["sr"].sop_instance_uid}


@pytest.mark.needs("dciodvfy", "dsrdump")
def test_growth_since_the_prior_study_is_coded(case: Case, out: Path) -> None:
    change = Change("1.2.3.4", "20230115", 365, "increased", 62.5, 521.0, True, 0.97)
    grown: list[Finding] = [replace(f, change=change) for f in case.reading.findings]
    files = case.with_findings(*grown).write(out)
    for name in ("sr", "sr-outlines"):
        assert dciodvfy(files[name].path) == [] and dsrdump(files[name].path) == []
        group = groups(files[name].path)[0]
        measured = values(group)
        assert (measured["Fractional Change"], measured["Volume doubling time"]) == (62.5, 521.0)
        assert evaluations(group)["Difference in size"] == "Increase in size"


def test_a_finding_without_a_mask_is_outlined_by_its_box(case: Case, out: Path) -> None:
    bare = replace(case.reading.findings[0], mask=None)
    files = case.with_findings(bare).write(out)
    assert "seg" not in files and "sr" not in files
    (group,) = groups(files["sr-outlines"].path)
    region = group.roi
    assert isinstance(region, sr.ImageRegion) and region.value.shape == (5, 2)


def test_ohif_needs_the_title_the_library_and_the_tracking_items_first(
    results: dict[str, ResultFile],
) -> None:
    report = pydicom.dcmread(results["sr-outlines"].path)
    assert report.ConceptNameCodeSequence[0].CodeValue == "126000"
    measurements = next(
        i for i in report.ContentSequence if i.ConceptNameCodeSequence[0].CodeValue == "126010"
    )
    for group in measurements.ContentSequence:
        first = next(item for item in group.ContentSequence if item.ValueType == "UIDREF")
        assert first.ConceptNameCodeSequence[0].CodeValue == "112040"
