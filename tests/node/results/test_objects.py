"""What every result says of itself, and what refers to what."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pydicom
import pytest
from pydicom import Dataset

from node.results import ResultFile
from tests.node.results.phantoms import Case, phantom
from tests.validators.cases import endoscopy, radiograph

KINDS = ("seg", "sr", "pr", "sc", "ko")
UDI = "(01)00844588003288(21)1234"


@pytest.fixture(scope="module")
def of_a_radiograph(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ResultFile]:
    folder = tmp_path_factory.mktemp("radiograph")
    return radiograph(folder / "dx").write(folder / "out", *KINDS, udi=UDI)


@pytest.fixture(scope="module")
def of_a_polyp(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ResultFile]:
    folder = tmp_path_factory.mktemp("polyp")
    return endoscopy(folder / "es").write(folder / "out", *KINDS)


def evidence_of(path: Path) -> set[str]:
    return {
        str(item.ReferencedSOPInstanceUID)
        for study in pydicom.dcmread(path).CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    }


def texts_of(state: Dataset) -> list[str]:
    annotations = state.GraphicAnnotationSequence
    return [t.UnformattedTextValue for a in annotations for t in a.get("TextObjectSequence", [])]


@pytest.mark.parametrize("results", ["of_a_radiograph", "of_a_polyp"])
def test_one_report_names_every_other_object_of_its_reading(
    results: str, request: pytest.FixtureRequest
) -> None:
    files: dict[str, ResultFile] = request.getfixturevalue(results)
    root = files["sr-outlines"]
    others = {file.sop_instance_uid for file in files.values() if file.kind != "ko" and file != root}
    assert evidence_of(root.path) >= others
    assert not others & set().union(*(evidence_of(f.path) for n, f in files.items() if n == "sr-classes"))


def test_a_report_without_coordinates_has_a_title_that_viewers_show_as_text(
    of_a_radiograph: dict[str, ResultFile],
) -> None:
    titles = {
        name: pydicom.dcmread(file.path).ConceptNameCodeSequence[0].CodeValue
        for name, file in of_a_radiograph.items()
        if file.kind == "sr"
    }
    assert titles == {"sr-classes": "126001", "sr-outlines": "126000"}


def test_a_colour_picture_gets_a_colour_presentation_state(of_a_polyp: dict[str, ResultFile]) -> None:
    state = pydicom.dcmread(of_a_polyp["pr"].path)
    assert state.SOPClassUID.name == "Color Softcopy Presentation State Storage"
    assert state.ICCProfile[12:16] == b"spac"
    assert "Polyp of colon 1: 40 x 30 pixels" in texts_of(state)


def test_a_radiograph_is_shown_in_its_own_window_with_air_black(
    of_a_radiograph: dict[str, ResultFile],
) -> None:
    state = pydicom.dcmread(of_a_radiograph["pr"].path)
    assert state.PresentationLUTShape == "INVERSE"  # of a MONOCHROME1 image
    (window,) = state.SoftcopyVOILUTSequence
    assert (window.WindowCenter, window.WindowWidth) == (2048, 4096)
    (drawn, *_) = [a for a in state.GraphicAnnotationSequence if "GraphicObjectSequence" in a]
    assert len(drawn.GraphicObjectSequence) == 1  # the box; no axes of what was not measured
    assert "Pleural effusion 1: 71 %" in texts_of(state)


def test_pictures_of_images_that_lost_something_by_compression_say_so(tmp_path: Path) -> None:
    sent = phantom(tmp_path / "ct", shape=(8, 40, 48), lesions=1)
    assert "LossyImageCompression" not in pydicom.dcmread(sent.write(tmp_path / "as-sent", "sc")["sc-1"].path)
    for path in sent.paths:
        image = pydicom.dcmread(path)
        image.LossyImageCompression = "01"
        image.LossyImageCompressionRatio = "10"
        image.LossyImageCompressionMethod = "ISO_15444_1"
        image.save_as(path)
    page = pydicom.dcmread(sent.write(tmp_path / "lossy", "sc")["sc-1"].path)
    assert page.LossyImageCompression == "01"
    assert (page.LossyImageCompressionRatio, page.LossyImageCompressionMethod) == (10, "ISO_15444_1")


def test_an_object_names_what_acquired_the_images_and_every_model_that_read_them(tmp_path: Path) -> None:
    """As docs/conformance.md has it."""
    case = radiograph(tmp_path / "dx")
    for path in case.paths:
        image, gateway = pydicom.dcmread(path), Dataset()
        image.Manufacturer, gateway.Manufacturer = "Scanners", "Gateways"
        image.ContributingEquipmentSequence = [gateway]
        image.save_as(path)
    models = [(model.name, f"weights sha256:{model.sha256}") for model in case.reading.models]
    for name, file in case.write(tmp_path / "out", *KINDS).items():
        named = pydicom.dcmread(file.path, stop_before_pixels=True).ContributingEquipmentSequence
        ours = [item for item in named if item.Manufacturer == "Overread"]
        assert [(item.ManufacturerModelName, item.ContributionDescription) for item in ours] == models
        others = {item.Manufacturer for item in named if item not in ours}
        assert others - {"Highdicom open-source contributors"} == (
            {"Scanners"} if file.kind in ("seg", "sr", "sc") else set()
        ), name


def test_the_device_is_named_where_the_site_names_it(
    of_a_radiograph: dict[str, ResultFile], of_a_polyp: dict[str, ResultFile]
) -> None:
    for file in of_a_radiograph.values():
        (device,) = pydicom.dcmread(file.path, stop_before_pixels=True).UDISequence
        assert device.UniqueDeviceIdentifier == UDI
    assert all("UDISequence" not in pydicom.dcmread(file.path) for file in of_a_polyp.values())


def test_another_device_identifier_makes_other_objects(case: Case, out: Path) -> None:
    one, other = case.write(out / "1", "sr"), case.write(out / "2", "sr", udi=UDI)
    assert one["sr-outlines"].sop_instance_uid != other["sr-outlines"].sop_instance_uid


def test_a_lesion_s_side_goes_into_report_and_segmentation(case: Case, out: Path) -> None:
    right, left = (replace(f, side=s) for f, s in zip(case.reading.findings, ("right", "left"), strict=True))
    files = case.with_findings(right, left).write(out)
    segments = pydicom.dcmread(files["seg"].path, stop_before_pixels=True).SegmentSequence
    for segment, side in zip(segments, ("Right", "Left"), strict=True):
        (kind,) = segment.SegmentedPropertyTypeCodeSequence
        (region,) = segment.AnatomicRegionSequence
        assert kind.SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning == side
        assert region.AnatomicRegionModifierSequence[0].CodeMeaning == side
    text = str(pydicom.dcmread(files["sr-outlines"].path))
    assert text.count("'Right'") == text.count("'Left'") == 1


def test_what_is_not_known_to_lie_on_one_side_is_given_none(case: Case, out: Path) -> None:
    text = str(pydicom.dcmread(case.write(out)["sr"].path))
    assert "'Laterality'" not in text


def test_a_box_around_evidence_has_no_size_in_the_report(tmp_path: Path) -> None:
    case = radiograph(tmp_path / "dx")
    text = str(pydicom.dcmread(case.write(tmp_path / "out", "sr")["sr-outlines"].path))
    assert "Certainty of Finding" in text and "Long axis" not in text


def test_patient_orientation_of_a_projection_is_kept(of_a_radiograph: dict[str, ResultFile]) -> None:
    lungs = pydicom.dcmread(of_a_radiograph["seg-structures"].path, stop_before_pixels=True)
    assert list(lungs.PatientOrientation) == ["L", "F"]


def test_a_suspicion_is_not_called_a_probability_of_cancer(case: Case, out: Path) -> None:
    for file in case.write(out).values():
        text = str(pydicom.dcmread(file.path, stop_before_pixels=True))
        assert "Probability of cancer" not in text
    assert "Suspicion of malignancy, as the network rates it" in text
