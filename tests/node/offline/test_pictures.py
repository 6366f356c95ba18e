"""Radiographs and endoscopy pictures through the whole of an offline reading, to their result objects."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from inference.catalogue import Catalogue
from inference.readers import READERS
from node.offline import UnreadableStudyError, read_study
from node.settings import Settings
from tests.inference.pictures import DX, ENDOSCOPIC, VIDEO_ENDOSCOPIC, VIDEO_LIKE, chest, write_picture
from tests.validators import dciodvfy
from training.phantoms.endoscopy import endoscopy_frame
from training.phantoms.radiograph import radiograph as drawn_radiograph

SHOWN = (70_004, 70_009)
"""Seeds of frames with one polyp that is plain to see."""


def needs(reader: str) -> pytest.MarkDecorator:
    missing = set(READERS[reader].models) - set(Catalogue().names)
    return pytest.mark.skipif(bool(missing), reason=f"no weights of {', '.join(sorted(missing))}")


def read(study: Path, out: Path) -> dict[str, Any]:
    (reading,) = read_study(study, (), out, Settings(), lambda stage, share: None)
    return reading


def radiograph(
    folder: Path, *, inverted: bool = False, shown: np.ndarray | None = None, **elements: Any
) -> Path:
    """``shown``: 12 bits, (rows, columns), bone white; ``chest`` where it is None."""
    folder.mkdir()
    stored = np.rint(chest() * 4095).astype(np.uint16) if shown is None else shown
    write_picture(
        folder / "1.dcm",
        4095 - stored if inverted else stored,
        "DX",
        DX,
        PhotometricInterpretation="MONOCHROME1" if inverted else "MONOCHROME2",
        **{
            "BitsStored": 12,
            "HighBit": 11,
            "BodyPartExamined": "CHEST",
            "ViewPosition": "PA",
            "ImagerPixelSpacing": [1.2, 1.2],
            "PatientOrientation": ["L", "F"],
            "Laterality": "",
        }
        | elements,
    )
    return folder


@needs("chest-xray")
def test_a_radiograph_gets_its_classes_and_both_lungs(tmp_path: Path) -> None:
    reading = read(radiograph(tmp_path / "study"), tmp_path / "out")
    assert reading["reader"] == "chest-xray"
    labels = {found["label"] for found in reading["classes"]}
    assert {"Cardiomegaly", "Pleural effusion", "Atelectasis", "Lung consolidation", "Normal"} <= labels
    right, left = reading["segments"][:2]
    assert (right["label"], left["label"]) == ("Right lung", "Left lung")
    assert all(3000 < lung["area_mm2"] < 60000 for lung in (right, left))
    for finding in reading["findings"]:
        (low_x, low_y), (high_x, high_y) = finding["box_px"]
        assert -0.5 <= low_x < finding["center_px"][0] < high_x <= 319.5
        assert -0.5 <= low_y < finding["center_px"][1] < high_y <= 319.5
        assert "center_mm" not in finding and finding["long_axis_mm"] is None


@needs("chest-xray")
@pytest.mark.needs("dciodvfy")
def test_results_of_a_radiograph_are_sound(tmp_path: Path) -> None:
    reading = read(radiograph(tmp_path / "study"), tmp_path / "out")
    files = [tmp_path / "out" / one["path"] for one in reading["objects"]]
    assert {pydicom.dcmread(file).Modality for file in files} == {"SEG", "SR"}
    for file in files:
        assert dciodvfy(file) == [], file.name


@needs("chest-xray")
def test_an_inverted_radiograph_reads_the_same(tmp_path: Path) -> None:
    one = read(radiograph(tmp_path / "one"), tmp_path / "1")
    other = read(radiograph(tmp_path / "two", inverted=True), tmp_path / "2")
    probabilities = [[found["probability"] for found in reading["classes"]] for reading in (one, other)]
    assert np.allclose(*probabilities, atol=0.01)


@needs("chest-xray")
def test_the_right_lung_is_on_the_left_of_the_picture(tmp_path: Path) -> None:
    reading = read(radiograph(tmp_path / "study"), tmp_path / "out")
    segmented = next(o for o in reading["objects"] if o["sop_class"].endswith(".66.4"))
    lungs = pydicom.dcmread(tmp_path / "out" / segmented["path"])
    right, left = lungs.pixel_array[:2]
    assert np.argwhere(right)[:, 1].mean() < 160 < np.argwhere(left)[:, 1].mean()


@needs("chest-xray")
@pytest.mark.parametrize(
    ("elements", "sentence"),
    [
        ({"ViewPosition": "LL"}, "from the side"),
        ({"ViewPosition": "", "PatientOrientation": ["A", "F"]}, "from the side"),
        ({"PatientOrientation": ["L", "R"]}, "none that a frontal view can have"),
        ({"Rows": 100, "Columns": 100}, "at least 128"),
    ],
)
def test_what_is_no_frontal_radiograph_is_refused(
    elements: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    study = radiograph(tmp_path / "study")
    image = pydicom.dcmread(study / "1.dcm")
    for keyword, value in elements.items():
        setattr(image, keyword, value)
    image.PixelData = image.PixelData[: 2 * image.Rows * image.Columns]
    image.save_as(study / "1.dcm")
    with pytest.raises(UnreadableStudyError, match=sentence):
        read(study, tmp_path / "out")


NO_UPRIGHT_CHEST: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "upside down": np.flipud,
    "turned by half": lambda p: np.rot90(p, 2),
    "on its side": np.rot90,
    "black for white": lambda p: p.max() - p,
    "noise": lambda p: np.random.default_rng(1).integers(0, 4096, p.shape, np.uint16),
    "coarse noise": lambda p: (
        np.random.default_rng(2).integers(0, 4096, (8, 8), np.uint16).repeat(40, 0).repeat(40, 1)
    ),
}


@needs("chest-xray")
@pytest.mark.parametrize("change", NO_UPRIGHT_CHEST.values(), ids=NO_UPRIGHT_CHEST)
def test_no_lungs_are_found_where_a_picture_shows_no_upright_chest(
    change: Callable[[np.ndarray], np.ndarray], tmp_path: Path
) -> None:
    phantom = drawn_radiograph(70_000).picture
    assert read(radiograph(tmp_path / "as-it-is", shown=phantom), tmp_path / "read")["segments"]
    study = turned(radiograph(tmp_path / "study", shown=phantom), ["L", "F"], change)
    with pytest.raises(UnreadableStudyError, match="No two lungs"):
        read(study, tmp_path / "out")


def turned(study: Path, orientation: list[str], change: Callable[[np.ndarray], np.ndarray]) -> Path:
    image = pydicom.dcmread(study / "1.dcm")
    pixels = np.ascontiguousarray(change(image.pixel_array))
    image.Rows, image.Columns = pixels.shape
    image.PatientOrientation, image.PixelData = orientation, pixels.tobytes()
    image.save_as(study / "1.dcm")
    return study


@needs("chest-xray")
@pytest.mark.parametrize(
    ("orientation", "change", "back"),
    [
        (["R", "F"], np.fliplr, np.fliplr),
        (["L", "H"], np.flipud, np.flipud),
        (["R", "H"], lambda p: np.rot90(p, 2), lambda p: np.rot90(p, 2)),
        (["F", "L"], np.transpose, np.transpose),
        (["H", "L"], lambda p: np.rot90(p, -1), lambda p: np.rot90(p, 1)),
    ],
    ids=lambda value: "".join(value) if isinstance(value, list) else "",
)
def test_a_turned_radiograph_reads_as_the_upright_one_and_its_lungs_lie_on_it_as_stored(
    orientation: list[str], change: Any, back: Any, tmp_path: Path
) -> None:
    def lungs(reading: dict[str, Any], out: Path) -> np.ndarray:
        uid = next(o for o in reading["objects"] if o["sop_class"].endswith(".66.4"))
        return pydicom.dcmread(out / uid["path"]).pixel_array

    upright = read(radiograph(tmp_path / "one"), tmp_path / "1")
    study = turned(radiograph(tmp_path / "two"), orientation, change)
    other = read(study, tmp_path / "2")
    probabilities = [[found["probability"] for found in reading["classes"]] for reading in (upright, other)]
    assert np.allclose(*probabilities, atol=1e-5)
    expected, found = lungs(upright, tmp_path / "1"), lungs(other, tmp_path / "2")
    assert all((back(f) == e).all() for f, e in zip(found, expected, strict=True))


@needs("chest-xray")
def test_results_cite_the_image_that_was_read(tmp_path: Path) -> None:
    """Of three images only the last shows a chest: neither the first one nor the middle one is cited."""
    study = radiograph(tmp_path / "study")
    for number in (3, 2, 1):
        image = pydicom.dcmread(study / "1.dcm")
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = f"2.25.{number}"
        image.InstanceNumber = number
        if number < 3:
            noise = np.random.default_rng(number).integers(0, 4095, (image.Rows, image.Columns))
            image.PixelData = noise.astype(np.uint16).tobytes()
            image.PatientOrientation = ["R", "F"]
        image.save_as(study / f"{number}.dcm")
    reading = read(study, tmp_path / "out")
    read_uid = "2.25.3"
    assert reading["image_uids"] == [read_uid]
    for one in reading["objects"]:
        written = pydicom.dcmread(tmp_path / "out" / one["path"])
        if written.Modality == "SEG":
            cited = {
                item.ReferencedSOPInstanceUID
                for item in written.ReferencedSeriesSequence[0].ReferencedInstanceSequence
            }
            assert list(written.PatientOrientation) == ["L", "F"]
        else:
            (evidence,) = written.CurrentRequestedProcedureEvidenceSequence
            cited = {
                item.ReferencedSOPInstanceUID
                for series in evidence.ReferencedSeriesSequence
                for item in series.ReferencedSOPSequence
                if item.ReferencedSOPClassUID == DX
            }
        assert cited == {read_uid}, written.Modality


@needs("chest-xray")
def test_a_class_is_called_present_or_absent_by_its_operating_points(tmp_path: Path) -> None:
    reading = read(radiograph(tmp_path / "study"), tmp_path / "out")
    report = next(o for o in reading["objects"] if "classes" in o["path"])
    text = str(pydicom.dcmread(tmp_path / "out" / report["path"]))
    assert "'121071'" not in text  # Finding would call every class present
    for found in reading["classes"]:
        limit = found["present_from"]
        assert (found["presence"] == "present") == (limit is not None and found["probability"] >= limit)
        assert ("probability alone" in found["caveat"]) == (found["label"] == "Normal")


def endoscopy(folder: Path, seed: int) -> Path:
    folder.mkdir()
    picture = endoscopy_frame(seed, size=128, polyps=1).picture
    write_picture(
        folder / "1.dcm", picture, "ES", ENDOSCOPIC, PatientOrientation="", LossyImageCompression="00"
    )
    return folder


@needs("polyps")
@pytest.mark.needs("dciodvfy")
def test_a_polyp_is_outlined_in_pixels_and_its_results_are_sound(tmp_path: Path) -> None:
    truth = endoscopy_frame(SHOWN[0], size=128, polyps=1).mask
    reading = read(endoscopy(tmp_path / "study", SHOWN[0]), tmp_path / "out")
    best = reading["findings"][0]
    column, row = best["center_px"]
    assert truth[round(row), round(column)]
    assert best["long_axis_px"] >= best["short_axis_px"] > 0 and best["area_px"] > 0
    for one in reading["objects"]:
        assert dciodvfy(tmp_path / "out" / one["path"]) == [], one["path"]
    assert json.loads((tmp_path / "out" / "reading.json").read_text())["readings"][0]["reader"] == "polyps"


@needs("polyps")
@pytest.mark.needs("dciodvfy")
@pytest.mark.parametrize(
    ("modality", "sop_class", "elements"),
    [
        ("ES", VIDEO_ENDOSCOPIC, {"CineRate": 25}),
        ("ES", VIDEO_LIKE, {"ConversionType": "DV"}),
        ("OT", VIDEO_LIKE, {"ConversionType": "DV", "StudyDescription": "Colonoscopy"}),
    ],
    ids=["video", "secondary capture", "by its description"],
)
def test_the_frames_of_a_video_are_read_one_by_one(
    modality: str, sop_class: str, elements: dict[str, Any], tmp_path: Path
) -> None:
    frames = [endoscopy_frame(seed, size=128, polyps=1) for seed in SHOWN]
    study = tmp_path / "study"
    study.mkdir()
    timed = {"FrameIncrementPointer": 0x00181063, "FrameTime": 40, "PatientOrientation": ""}
    pixels = np.stack([frame.picture for frame in frames])
    write_picture(
        study / "1.dcm", pixels, modality, sop_class, LossyImageCompression="00", **timed, **elements
    )
    reading = read(study, tmp_path / "out")
    hits = {
        found["frame"]
        for found in reading["findings"]
        if frames[found["frame"] - 1].mask[round(found["center_px"][1]), round(found["center_px"][0])]
    }
    assert hits == {1, 2}
    for one in reading["objects"]:
        assert dciodvfy(tmp_path / "out" / one["path"]) == [], one["path"]


@needs("polyps")
@pytest.mark.needs("dciodvfy")
def test_stills_of_one_series_share_a_segmentation_that_names_each(tmp_path: Path) -> None:
    study = tmp_path / "study"
    study.mkdir()
    for number, seed in enumerate(SHOWN, 1):
        write_picture(
            study / f"{number}.dcm",
            endoscopy_frame(seed, size=128, polyps=1).picture,
            "ES",
            ENDOSCOPIC,
            StudyInstanceUID="2.25.7",
            SeriesInstanceUID="2.25.8",
            SOPInstanceUID=f"2.25.9{number}",
            InstanceNumber=number,
            PatientOrientation="",
            LossyImageCompression="00",
        )
    reading = read(study, tmp_path / "out")
    for one in reading["objects"]:
        assert dciodvfy(tmp_path / "out" / one["path"]) == [], one["path"]
    segmented = next(o for o in reading["objects"] if o["sop_class"].endswith(".66.4"))
    (series,) = pydicom.dcmread(tmp_path / "out" / segmented["path"]).ReferencedSeriesSequence
    named = {item.ReferencedSOPInstanceUID for item in series.ReferencedInstanceSequence}
    assert named == {finding["image_uid"] for finding in reading["findings"]} == {"2.25.91", "2.25.92"}
