"""Viewers without segmentations get overlays, pages and key objects, all valid and open about themselves."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pydicom
import pytest

from inference.findings import Change, Mask
from inference.picture import load_pictures
from inference.volume import load_volume
from node.results import ResultFile, write
from node.results.keyimages import AXIS, OUTLINE, key_image, whole_image
from node.results.outline import edges, outlines
from tests.inference.pictures import DX, write_picture
from tests.node.results.phantoms import ORIENTATIONS, WHEN, Case, affine, nodule, phantom
from tests.node.results.test_segmentation import multi_frame
from tests.validators import dciodvfy, dcmpschk, dsrdump


@pytest.fixture(scope="module")
def all_kinds(case: Case, tmp_path_factory: pytest.TempPathFactory) -> dict[str, ResultFile]:
    return case.write(tmp_path_factory.mktemp("all"), "seg", "sr", "pr", "sc", "ko")


@pytest.mark.needs("dciodvfy", "dcmpschk", "dsrdump")
def test_everything_is_valid(all_kinds: dict[str, ResultFile]) -> None:
    assert {file.kind for file in all_kinds.values()} == {"seg", "sr", "pr", "sc", "ko"}
    for file in all_kinds.values():
        assert dciodvfy(file.path) == [], file.path.name
    assert dcmpschk(all_kinds["pr"].path) == []
    assert dsrdump(all_kinds["ko"].path) == []


def test_everything_is_the_same_bytes_again(all_kinds: dict[str, ResultFile], case: Case, out: Path) -> None:
    for name, file in case.write(out, "seg", "sr", "pr", "sc", "ko").items():
        assert file.path.read_bytes() == all_kinds[name].path.read_bytes(), name


def test_the_overlay_draws_what_the_report_says(all_kinds: dict[str, ResultFile], case: Case) -> None:
    state = pydicom.dcmread(all_kinds["pr"].path)
    drawn = [item for item in state.GraphicAnnotationSequence if "GraphicObjectSequence" in item]
    for item, finding in zip(drawn, case.reading.findings, strict=True):
        assert item.ReferencedImageSequence[0].ReferencedSOPInstanceUID == finding.image_uid
        lines = [np.reshape(graphic.GraphicData, (-1, 2)) for graphic in item.GraphicObjectSequence]
        assert [len(line) for line in lines[1:]] == [2, 2]
        assert {graphic.TrackingUID for graphic in item.GraphicObjectSequence} == {finding.tracking_uid}
        text = item.TextObjectSequence[0].UnformattedTextValue
        assert f"{finding.long_axis_mm:.1f} x" in text


def test_the_overlay_says_that_no_one_has_verified_it(all_kinds: dict[str, ResultFile]) -> None:
    state = pydicom.dcmread(all_kinds["pr"].path)
    texts = [
        text.UnformattedTextValue
        for item in state.GraphicAnnotationSequence
        for text in item.get("TextObjectSequence", [])
    ]
    assert "AI result, not verified" in texts


def test_the_summary_shows_each_lesion_outlined(all_kinds: dict[str, ResultFile]) -> None:
    page = pydicom.dcmread(all_kinds["sc-1"].path)
    assert (page.PhotometricInterpretation, page.BurnedInAnnotation) == ("RGB", "YES")
    pixels = page.pixel_array
    for colour in (OUTLINE, AXIS):
        near = (np.abs(pixels.astype(int) - colour) < 40).all(axis=-1)
        assert near[80:].sum() > 100, colour


def test_many_findings_take_several_pages(case: Case, out: Path) -> None:
    many = [replace(f, tracking_uid=f"2.25.{n}") for n, f in enumerate(case.reading.findings * 5)]
    files = case.with_findings(*many).write(out, "sc")
    assert len(files) > 2
    numbers = [pydicom.dcmread(f.path, stop_before_pixels=True).InstanceNumber for f in files.values()]
    assert numbers == list(range(1, len(files) + 1))


def test_the_prior_stands_beside_the_current_image(case: Case, out: Path) -> None:
    change = Change("1.2.3.4", "20230115", 365, "increased", 62.5, 521.0, True, 0.97)
    findings = tuple(replace(f, change=change) for f in case.reading.findings)
    prior = np.full((280, 280, 3), (0, 0, 200), np.uint8)
    (file,) = write(
        replace(case.reading, findings=findings),
        case.volume,
        case.paths,
        out,
        kinds=["sc"],
        when=WHEN,
        identity=case.identity,
        prior_images={findings[0].tracking_uid: prior},
    )
    pixels = pydicom.dcmread(file.path).pixel_array
    blue = (pixels == (0, 0, 200)).all(axis=-1)
    rows = np.flatnonzero(blue.any(axis=1))
    assert rows.max() - rows.min() < 300  # of the first finding alone
    assert blue[rows.min() + 20, 50]


def test_key_objects_name_key_images_and_every_object(all_kinds: dict[str, ResultFile], case: Case) -> None:
    selection = pydicom.dcmread(all_kinds["ko"].path)
    named = {
        item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        for item in selection.ContentSequence
        if "ReferencedSOPSequence" in item
    }
    made = {file.sop_instance_uid for name, file in all_kinds.items() if name != "ko"}
    assert named == made | {finding.image_uid for finding in case.reading.findings}


def test_the_root_report_names_every_other_object(all_kinds: dict[str, ResultFile]) -> None:
    report = pydicom.dcmread(all_kinds["sr"].path)
    evidence = {
        item.ReferencedSOPInstanceUID
        for study in report.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    }
    assert evidence >= {f.sop_instance_uid for name, f in all_kinds.items() if name not in ("sr", "ko")}


def test_a_negative_study_has_a_page_that_says_so_and_nothing_to_overlay(case: Case, out: Path) -> None:
    files = case.with_findings().write(out, "seg", "sr", "pr", "sc", "ko")
    assert set(files) == {"sc-1", "sr"}


def test_a_key_image_is_in_proportion_whatever_the_pixel_spacing(tmp_path: Path) -> None:
    flat = affine((1, 0, 0), (0, 1, 0), (0, 0, 1), spacing=(2.0, 1.6, 0.8))
    case = phantom(tmp_path / "ct", flat)
    picture = key_image(case.reading.findings[0], case.volume, view="slice", size=400)
    rows, columns = case.volume.voxels.shape[1:]
    assert picture.shape[0] / picture.shape[1] == pytest.approx(rows * 1.6 / (columns * 0.8), rel=0.01)


@pytest.mark.parametrize("orientation", ["axial", "coronal", "oblique"])
def test_the_outline_is_drawn_around_the_bright_lesion(orientation: str, tmp_path: Path) -> None:
    case = phantom(tmp_path / "ct", ORIENTATIONS[orientation])
    for finding in case.reading.findings:
        bare = key_image(finding, case.volume, marked=False).astype(int)
        marked = key_image(finding, case.volume).astype(int)
        changed = np.argwhere((bare != marked).any(axis=-1))
        bright = np.argwhere(bare[..., 0] > 200)
        assert np.abs(changed.mean(axis=0) - bright.mean(axis=0)).max() < 4


@pytest.mark.parametrize(
    ("orientation", "letters"),
    [
        ("axial", ("R", "A")),
        ("feet-first", ("L", "A")),
        ("prone", ("L", "P")),
        ("coronal", ("R", "H")),
        ("sagittal", ("A", "H")),
        ("tilted", ("R", "AH")),
    ],
)
def test_the_edges_of_a_picture_say_which_side_they_are_on(
    orientation: str, letters: tuple[str, str], tmp_path: Path
) -> None:
    assert edges(phantom(tmp_path / "ct", ORIENTATIONS[orientation]).volume, 0) == letters


@pytest.mark.parametrize(
    ("orientation", "letters"), [(["L", "F"], ("R", "H")), (["R", "F"], ("L", "H")), ("", ("", ""))]
)
def test_the_edges_of_a_radiograph_are_named_where_its_header_names_them(
    orientation: str | list[str], letters: tuple[str, str], tmp_path: Path
) -> None:
    path = write_picture(
        tmp_path / "1.dcm", np.zeros((9, 9), np.uint16), "DX", DX, PatientOrientation=orientation
    )
    assert edges(load_pictures([path]), 0) == letters


def test_of_a_negative_reading_the_middle_slice_is_shown(case: Case) -> None:
    shown = whole_image(case.with_findings().reading, case.volume, 200)
    rows, columns = case.volume.voxels.shape[1:]
    assert max(shown.shape) == 200 and (shown.shape[0] < shown.shape[1]) == (rows < columns)


def test_every_pixel_of_a_mask_lies_inside_its_outlines() -> None:
    random = np.random.default_rng(5)
    for _ in range(60):
        pixels = random.random(random.integers(1, 10, 2)) < random.choice([0.3, 0.6, 0.9])
        loops = outlines(Mask((4, 10, 20), pixels[None]), 4)
        for row, column in np.argwhere(pixels):
            assert any(_encloses(loop, column + 20.5, row + 10.5) for loop in loops)


def _encloses(loop: np.ndarray, x: float, y: float) -> bool:
    crossings = 0
    for (x1, y1), (x2, y2) in pairwise(loop):
        if (y1 > y) != (y2 > y) and x < (x2 - x1) * (y - y1) / (y2 - y1) + x1:
            crossings += 1
    return crossings % 2 == 1


@pytest.mark.needs("dciodvfy")
def test_key_images_that_are_not_scaled_alike_get_a_presentation_state_each(tmp_path: Path) -> None:
    case = phantom(tmp_path / "ct", lesions=2)
    first, second = (finding.image_uid for finding in case.reading.findings)
    assert first != second
    for path in case.paths:
        image = pydicom.dcmread(path)
        if image.SOPInstanceUID == second:
            image.RescaleIntercept = float(image.RescaleIntercept) - 1
            image.save_as(path)
    written = case.write(tmp_path / "out", "seg", "sr", "pr")
    states = [file for file in written.values() if file.kind == "pr"]
    assert len(states) == len({file.sop_instance_uid for file in states}) == 2
    for file in states:
        assert dciodvfy(file.path) == []


def states_of(case: Case, out: Path) -> list[Path]:
    states = [file.path for file in case.write(out, "pr").values() if file.kind == "pr"]
    assert [error for path in states for error in dciodvfy(path)] == []
    return states


@pytest.mark.needs("dciodvfy")
@pytest.mark.parametrize("step", [0, 1])
def test_frames_with_a_scale_of_their_own_get_a_presentation_state_for_each(
    step: int, case: Case, tmp_path: Path
) -> None:
    path = tmp_path / "enhanced.dcm"
    enhanced = multi_frame(case, path)
    image = pydicom.dcmread(path)
    del image.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence
    for number, groups in enumerate(image.PerFrameFunctionalGroupsSequence, 1):
        rescaling = pydicom.Dataset()
        rescaling.RescaleSlope, rescaling.RescaleIntercept = 1, -1024 - step * number
        rescaling.RescaleType = "HU"
        groups.PixelValueTransformationSequence = [rescaling]
    image.save_as(path)
    frames = [finding.frame for finding in enhanced.reading.findings]
    states = [pydicom.dcmread(state) for state in states_of(enhanced, tmp_path / "out")]
    assert len(set(frames)) == 2
    told = [(state.RescaleSlope, state.RescaleIntercept, state.RescaleType) for state in states]
    assert told == ([(1, -1024 - frame, "HU") for frame in frames] if step else [(1, -1024, "HU")])
    shown = [state.ReferencedSeriesSequence[0].ReferencedImageSequence[0] for state in states]
    assert [item.get("ReferencedFrameNumber") for item in shown] == (frames if step else [None])


def test_ordinary_slices_that_count_one_frame_share_a_presentation_state(case: Case, tmp_path: Path) -> None:
    for path in case.paths:
        image = pydicom.dcmread(path)
        image.NumberOfFrames = 1
        image.save_as(path)
    counting = replace(case, volume=load_volume(case.paths))
    (state,) = map(pydicom.dcmread, states_of(counting, tmp_path / "out"))
    shown = state.ReferencedSeriesSequence[0].ReferencedImageSequence
    assert len(shown) == len({finding.image_uid for finding in case.reading.findings}) == 2


@pytest.mark.needs("dciodvfy")
@pytest.mark.parametrize("parts", [2, 16])
def test_each_image_with_frames_has_a_presentation_state_of_its_own(
    parts: int, case: Case, tmp_path: Path
) -> None:
    enhanced = in_parts(multi_frame(case, tmp_path / "whole.dcm"), parts, tmp_path)
    images = [finding.image_uid for finding in enhanced.reading.findings]
    assert len(set(images)) == 2
    states = [pydicom.dcmread(state) for state in states_of(enhanced, tmp_path / "out")]
    assert images == [
        item.ReferencedSOPInstanceUID
        for state in states
        for item in state.ReferencedSeriesSequence[0].ReferencedImageSequence
    ]


def in_parts(case: Case, parts: int, folder: Path) -> Case:
    """The frames of one image as those of several."""
    whole = pydicom.dcmread(case.paths[0])
    pixels, groups = whole.pixel_array, whole.PerFrameFunctionalGroupsSequence
    paths = []
    for number, frames in enumerate(np.array_split(np.arange(len(pixels)), parts), 1):
        part = deepcopy(whole)
        part.SOPInstanceUID = part.file_meta.MediaStorageSOPInstanceUID = f"2.25.4711{number}"
        part.NumberOfFrames, part.PixelData = len(frames), pixels[frames].tobytes()
        part.PerFrameFunctionalGroupsSequence = [groups[frame] for frame in frames.tolist()]
        paths.append(folder / f"part-{number}.dcm")
        part.save_as(paths[-1], enforce_file_format=True)
    volume = load_volume(paths)
    findings = []
    for finding in case.reading.findings:
        place = np.linalg.solve(volume.affine, (*finding.center_mm, 1))[:3]
        findings.append(nodule(volume, place).tracked_as(finding.tracking_uid))
    reading = replace(case.reading, series_uid=volume.series_uid, findings=tuple(findings))
    return Case(paths, volume, reading)
