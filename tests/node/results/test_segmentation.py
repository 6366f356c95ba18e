"""A segmentation has one segment per lesion, tracked, on the slices it touches, and is valid."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest

from inference.findings import Mask, Segment
from inference.volume import Volume, load_volume
from node.results import ResultFile, codes
from tests.node.results.phantoms import Case, nodule, phantom
from tests.validators import dciodvfy


@pytest.fixture(scope="module")
def seg(results: dict[str, ResultFile]) -> hd.seg.Segmentation:
    return hd.seg.segread(results["seg"].path)


@pytest.mark.needs("dciodvfy")
def test_it_is_valid(results: dict[str, ResultFile]) -> None:
    assert dciodvfy(results["seg"].path) == []


def test_each_lesion_is_a_segment_with_its_tracking_uid(seg: hd.seg.Segmentation, case: Case) -> None:
    tracked = [(s.SegmentNumber, s.TrackingUID) for s in seg.SegmentSequence]
    assert tracked == [(n, f.tracking_uid) for n, f in enumerate(case.reading.findings, 1)]


def test_only_slices_that_are_touched_become_frames(seg: hd.seg.Segmentation, case: Case) -> None:
    touched = sum(len(f.mask.voxels) for f in case.reading.findings if f.mask)
    assert seg.NumberOfFrames == touched < len(case.volume.images)


def test_each_frame_names_the_image_it_was_drawn_on(seg: hd.seg.Segmentation, case: Case) -> None:
    at = {
        round(float(case.volume.affine[2] @ (k, 0, 0, 1)), 3): image
        for k, image in enumerate(case.volume.images)
    }
    for frame in seg.PerFrameFunctionalGroupsSequence:
        z = round(float(frame.PlanePositionSequence[0].ImagePositionPatient[2]), 3)
        source = frame.DerivationImageSequence[0].SourceImageSequence[0]
        assert (source.ReferencedSOPInstanceUID, None) == at[z]


def test_it_belongs_to_the_study_and_says_what_it_is(seg: hd.seg.Segmentation, case: Case) -> None:
    source = pydicom.dcmread(case.paths[0], stop_before_pixels=True)
    for keyword in ("StudyInstanceUID", "PatientID", "AccessionNumber", "FrameOfReferenceUID", "StudyDate"):
        assert seg[keyword].value == source[keyword].value
    assert seg.ContentQualification == "RESEARCH"
    assert seg.ReferencedSeriesSequence[0].SeriesInstanceUID == case.volume.series_uid
    equipment = {
        item.ContributionDescription
        for item in seg.ContributingEquipmentSequence
        if "ContributionDescription" in item
    }
    assert f"weights sha256:{case.reading.model.sha256}" in equipment
    algorithm = seg.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence[0]
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("lung-nodules", "1.0.0")
    assert algorithm.AlgorithmFamilyCodeSequence[0].CodeValue == "123110"


def test_overlapping_lesions_keep_all_their_voxels(case: Case, out: Path) -> None:
    first, second = case.reading.findings
    assert first.mask and second.mask
    over = replace(second, mask=Mask(first.mask.origin, first.mask.voxels))
    seg = hd.seg.segread(case.with_findings(first, over).write(out, "seg")["seg"].path)
    counts = [0, 0]
    for pixels, frame in zip(seg.pixel_array, seg.PerFrameFunctionalGroupsSequence, strict=True):
        counts[frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber - 1] += int(pixels.sum())
    assert counts == [first.mask.voxels.sum()] * 2
    assert seg.SegmentsOverlap == "YES"


def test_an_interpolated_slice_has_its_place_and_names_no_image(case: Case, out: Path) -> None:
    middle = (
        round(float(np.linalg.solve(case.volume.affine, (*case.reading.findings[0].center_mm, 1))[0])) + 1
    )
    images = tuple(None if k == middle else image for k, image in enumerate(case.volume.images))
    volume = Volume(
        case.volume.voxels,
        case.volume.affine,
        case.volume.series_uid,
        case.volume.frame_of_reference_uid,
        images,
    )
    gapped = replace(case, volume=volume)
    path = gapped.write(out, "seg")["seg"].path
    frames = pydicom.dcmread(path).PerFrameFunctionalGroupsSequence
    without = [f for f in frames if not f.DerivationImageSequence]
    place = case.volume.affine[:3] @ (middle, 0, 0, 1)
    assert without
    for frame in without:
        assert np.allclose(frame.PlanePositionSequence[0].ImagePositionPatient, place, atol=1e-3)
    whole = pydicom.dcmread(case.write(out / "whole", "seg")["seg"].path)
    assert len(frames) == whole.NumberOfFrames


def test_organs_go_into_a_segmentation_of_their_own(case: Case, out: Path) -> None:
    lung = np.zeros(case.volume.voxels.shape, bool)
    lung[2:9, 5:30, 5:30] = True
    reading = replace(
        case.reading,
        segments=(Segment("lung", codes.LUNG.code, volume_mm3=1.0, mask=Mask((0, 0, 0), lung)),),
    )
    files = replace(case, reading=reading).write(out, "seg")
    organ = pydicom.dcmread(files["seg-structures"].path)
    assert [s.SegmentLabel for s in organ.SegmentSequence] == ["lung"]
    assert organ.SegmentSequence[0].SegmentedPropertyCategoryCodeSequence[0].CodeValue == "91723000"
    assert organ.NumberOfFrames == 7


def test_a_reading_without_findings_has_no_segmentation(negative: dict[str, ResultFile]) -> None:
    assert "seg" not in negative


def test_frames_whose_pixels_do_not_fill_bytes_are_packed_without_gaps(tmp_path: Path) -> None:
    odd = phantom(tmp_path / "ct", shape=(9, 41, 47), lesions=1)
    (mask,) = [finding.mask for finding in odd.reading.findings]
    assert mask is not None
    seg = hd.seg.segread(odd.write(tmp_path / "out", "seg")["seg"].path)
    _, y, x = mask.origin
    depth, height, width = mask.voxels.shape
    cut = seg.pixel_array.reshape(depth, 41, 47)[:, y : y + height, x : x + width]
    assert seg.pixel_array.sum() == mask.voxels.sum()
    assert (cut.astype(bool) == mask.voxels).all()


@pytest.mark.needs("dciodvfy")
def test_a_multi_frame_ct_is_segmented_frame_by_frame(tmp_path: Path) -> None:
    case = multi_frame(phantom(tmp_path / "ct", lesions=2), tmp_path / "enhanced.dcm")
    files = case.write(tmp_path / "out", "seg", "sr", "pr", "ko")
    for file in files.values():
        assert dciodvfy(file.path) == [], file.path.name
    seg = hd.seg.segread(files["seg"].path)
    place_of = {
        round(float(case.volume.affine[2] @ (k, 0, 0, 1)), 3): image
        for k, image in enumerate(case.volume.images)
    }
    for frame in seg.PerFrameFunctionalGroupsSequence:
        source = frame.DerivationImageSequence[0].SourceImageSequence[0]
        z = round(float(frame.PlanePositionSequence[0].ImagePositionPatient[2]), 3)
        assert (source.ReferencedSOPInstanceUID, source.ReferencedFrameNumber) == place_of[z]


def multi_frame(case: Case, path: Path) -> Case:
    """The same study as one Enhanced CT image, its frames in reverse."""
    slices = [pydicom.dcmread(path) for path in case.paths][::-1]
    image = pydicom.dcmread(case.paths[0])
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"):
        delattr(image, keyword)
    for keyword in ("RescaleIntercept", "RescaleSlope", "RescaleType", "WindowCenter", "WindowWidth"):
        delattr(image, keyword)
    image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"
    image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = "2.25.4711"
    image.NumberOfFrames = len(slices)
    image.PixelData = b"".join(s.PixelData for s in slices)
    orientation, measures, rescale, shared = (pydicom.Dataset() for _ in range(4))
    orientation.ImageOrientationPatient = slices[0].ImageOrientationPatient
    measures.PixelSpacing, measures.SliceThickness = slices[0].PixelSpacing, slices[0].SliceThickness
    rescale.RescaleIntercept, rescale.RescaleSlope, rescale.RescaleType = -1024, 1, "HU"
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    shared.PixelValueTransformationSequence = [rescale]
    image.SharedFunctionalGroupsSequence = [shared]
    image.PerFrameFunctionalGroupsSequence = []
    for one in slices:
        position, group = pydicom.Dataset(), pydicom.Dataset()
        position.ImagePositionPatient = one.ImagePositionPatient
        group.PlanePositionSequence = [position]
        image.PerFrameFunctionalGroupsSequence.append(group)
    image.save_as(path, enforce_file_format=True)
    volume = load_volume([path])
    findings = []
    for finding in case.reading.findings:
        place = np.linalg.solve(volume.affine, (*finding.center_mm, 1))[:3]
        findings.append(nodule(volume, place).tracked_as(finding.tracking_uid))
    reading = replace(case.reading, series_uid=volume.series_uid, findings=tuple(findings))
    return Case([path], volume, reading)
