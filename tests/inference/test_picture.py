"""Radiographs and endoscopy frames as pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom import Dataset
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless

from inference.errors import UnreadableSeriesError
from inference.findings import Caveat
from inference.picture import Pictures, load_pictures
from inference.series import load_series
from tests.inference.pictures import CR, DX, ENDOSCOPIC, VIDEO_LIKE, chest, write_picture


def coded(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def radiograph(bits: int) -> np.ndarray:
    return np.rint(chest(160) * (2**bits - 1)).astype(np.uint16)


def test_monochrome1_shows_what_monochrome2_shows(tmp_path: Path) -> None:
    stored = radiograph(12)
    light = {"BitsStored": 12, "HighBit": 11}
    one = write_picture(
        tmp_path / "1.dcm", 4095 - stored, "DX", DX, PhotometricInterpretation="MONOCHROME1", **light
    )
    two = write_picture(tmp_path / "2.dcm", stored, "DX", DX, **light)
    first, second = load_pictures([one]).voxels[0], load_pictures([two]).voxels[0]
    assert np.abs(first.astype(int) - second.astype(int)).max() <= 1


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_any_bit_depth_shows_the_same(bits: int, tmp_path: Path) -> None:
    path = write_picture(tmp_path / "1.dcm", radiograph(bits), "CR", CR, BitsStored=bits, HighBit=bits - 1)
    eight = np.rint(np.clip(chest(160), 0, 1) * 255)
    low, high = np.percentile(chest(160), (0.1, 99.9))
    expected = np.clip((eight / 255 - low) / (high - low), 0, 1) * 255
    assert np.abs(load_pictures([path]).voxels[0] - expected).max() <= 3


def test_a_window_is_applied(tmp_path: Path) -> None:
    stored = radiograph(12)
    path = write_picture(
        tmp_path / "1.dcm", stored, "DX", DX, BitsStored=12, HighBit=11, WindowCenter=2000, WindowWidth=200
    )
    shown = load_pictures([path]).voxels[0]
    assert (shown[stored < 1880] == 0).all() and (shown[stored > 2120] == 255).all()


@pytest.mark.parametrize(
    "flaw",
    [
        {"WindowCenter": "2000"},
        {"WindowCenter": "2000", "WindowWidth": "0"},
        {"WindowCenter": "", "WindowWidth": ""},
        {"RescaleSlope": "", "RescaleIntercept": ""},
    ],
    ids=str,
)
def test_numbers_that_are_missing_from_a_header_transform_nothing(
    flaw: dict[str, str], tmp_path: Path
) -> None:
    stored = radiograph(12)
    usual = {"BitsStored": 12, "HighBit": 11}
    sound = write_picture(tmp_path / "1.dcm", stored, "DX", DX, **usual)
    flawed = write_picture(tmp_path / "2.dcm", stored, "DX", DX, **usual, **flaw)
    assert np.array_equal(load_pictures([flawed]).voxels, load_pictures([sound]).voxels)


def test_view_and_spacing_come_from_the_header(tmp_path: Path) -> None:
    path = write_picture(
        tmp_path / "1.dcm",
        radiograph(8).astype(np.uint8),
        "DX",
        DX,
        ViewPosition="AP",
        ImagerPixelSpacing=[0.2, 0.2],
    )
    (view,) = load_pictures([path]).views
    assert (view.position, view.spacing_mm) == ("AP", (0.2, 0.2))


def test_a_lateral_view_is_left_out_beside_a_frontal_one(tmp_path: Path) -> None:
    pixels = radiograph(8).astype(np.uint8)
    paths = [
        write_picture(tmp_path / f"{view}.dcm", pixels, "DX", DX, ViewPosition=view) for view in ("LL", "PA")
    ]
    pictures = load_pictures(paths)
    assert [view.position for view in pictures.views] == ["PA"]
    assert pictures.caveats == (Caveat("left out", "1 view that is not frontal left out.", 1),)


@pytest.mark.parametrize(
    "elements",
    [
        {"ViewPosition": "LL"},
        {"ViewPosition": "RLD"},
        {"PatientOrientation": ["A", "F"]},
        {"PatientOrientation": ["P", "F"]},
        {"ViewCodeSequence": [coded("399198007", "SCT", "right lateral")]},
        {"ViewCodeSequence": [coded("X-1", "99SITE", "Lateral, left")]},
    ],
    ids=str,
)
def test_a_view_that_is_not_frontal_is_known_however_the_header_says_so(
    elements: dict[str, Any], tmp_path: Path
) -> None:
    path = write_picture(tmp_path / "1.dcm", radiograph(8).astype(np.uint8), "DX", DX, **elements)
    (view,) = load_pictures([path]).views
    assert view.not_frontal.startswith("The view is ")


@pytest.mark.parametrize(
    ("elements", "projection"),
    [
        ({"ViewPosition": "AP"}, "AP"),
        ({"ViewPosition": "PA", "ViewCodeSequence": [coded("399348003", "SCT", "antero-posterior")]}, "PA"),
        ({"ViewCodeSequence": [coded("399348003", "SCT", "antero-posterior")]}, "AP"),
        ({"ViewCodeSequence": [coded("R-10206", "SRT", "antero-posterior")]}, "AP"),
        ({"ViewPosition": "", "ViewCodeSequence": [coded("272479007", "SCT", "postero-anterior")]}, "PA"),
        ({"ViewCodeSequence": [coded("R-10214", "SRT", "postero-anterior")]}, "PA"),
        ({}, ""),
    ],
)
def test_a_projection_is_known_by_position_or_else_by_code(
    elements: dict[str, Any], projection: str, tmp_path: Path
) -> None:
    path = write_picture(tmp_path / "1.dcm", radiograph(8).astype(np.uint8), "DX", DX, **elements)
    (view,) = load_pictures([path]).views
    assert view.projection == projection


def test_a_frontal_view_is_not_taken_for_another(tmp_path: Path) -> None:
    frontal = {
        "PatientOrientation": ["L", "F"],
        "ViewCodeSequence": [coded("R-10214", "SRT", "postero-anterior")],
    }
    path = write_picture(tmp_path / "1.dcm", radiograph(8).astype(np.uint8), "DX", DX, **frontal)
    (view,) = load_pictures([path]).views
    assert (view.not_frontal, view.orientation) == ("", ("L", "F"))


def test_a_voi_table_is_looked_up_by_rescaled_values(tmp_path: Path) -> None:
    """Stored 0 to 1000 rescale to 1000 to 2000, for which alone the table makes a difference."""
    stored = np.tile(np.linspace(0, 1000, 160).round().astype(np.uint16), (160, 1))
    table = Dataset()
    table.LUTDescriptor = [1000, 1000, 16]
    table.LUTData = np.linspace(0, 60_000, 1000).astype("<u2").tobytes()
    path = write_picture(
        tmp_path / "1.dcm",
        stored,
        "CR",
        CR,
        RescaleSlope=1,
        RescaleIntercept=1000,
        RescaleType="US",
        VOILUTSequence=[table],
    )
    shown = load_pictures([path]).voxels[0].astype(float)
    assert np.abs(shown - stored / 1000 * 255).max() < 3


def test_the_frames_of_a_video_are_pictures_with_their_numbers(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (3, 64, 80, 3), np.uint8)
    pictures = load_series([write_picture(tmp_path / "v.dcm", frames, "ES", VIDEO_LIKE)])
    assert isinstance(pictures, Pictures) and pictures.is_colour and pictures.shape == (3, 64, 80)
    assert [frame for _, frame in pictures.images if _] == [1, 2, 3]
    assert (pictures.voxels == frames).all()


def test_an_endoscopy_still_keeps_its_colours(tmp_path: Path) -> None:
    still = np.random.default_rng(0).integers(0, 255, (64, 80, 3), np.uint8)
    pictures = load_series([write_picture(tmp_path / "s.dcm", still, "ES", ENDOSCOPIC)])
    assert (pictures.voxels[0] == still).all()


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless])
def test_a_compressed_still_keeps_its_colours(syntax: str, tmp_path: Path) -> None:
    still = np.random.default_rng(0).integers(0, 255, (64, 80, 3), np.uint8)
    path = write_picture(tmp_path / "s.dcm", still, "ES", ENDOSCOPIC)
    image = pydicom.dcmread(path)
    image.compress(syntax, generate_instance_uid=False)
    image.save_as(path)
    pictures = load_series([path])
    assert (pictures.voxels[0] == still).all()


def test_damaged_pixels_are_refused_with_a_sentence(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "s.dcm", radiograph(8).astype(np.uint8), "DX", DX)
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(UnreadableSeriesError, match=r"s\.dcm cannot be decoded; send it again"):
        load_pictures([path])
