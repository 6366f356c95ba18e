"""DeepLesion, laid out as released."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.training.datasets.pictures import picture, text
from training.datasets.case import Box
from training.datasets.deeplesion import read_deeplesion, read_key_slices
from training.datasets.deeplesion_slices import read_deeplesion_slices
from training.errors import BrokenDataError

HEADER = (
    "File_name,Patient_index,Study_index,Series_ID,Key_slice_index,Measurement_coordinates,Bounding_boxes,"
    "Lesion_diameters_Pixel_,Normalized_lesion_location,Coarse_lesion_type,Possibly_noisy,Slice_range,"
    "Spacing_mm_px_,Image_size,DICOM_windows,Patient_gender,Patient_age,Train_Val_Test"
)


def row(name: str, box: str, kind: int = -1, split: int = 1, slices: str = "108, 109") -> str:
    patient = int(name[:6])
    return (
        f'{name},{patient},1,1,109,"1, 2, 3, 4, 5, 6, 7, 8","{box}","10.5, 8.2","0.4, 0.5, 0.6",{kind},0,'
        f'"{slices}","0.8, 0.7, 5","512, 512","-175, 275",F,62,{split}'
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    text(
        tmp_path / "DL_info.csv",
        HEADER,
        row("000001_01_01_109.png", "226, 90, 241, 111"),
        row("000001_01_01_109.png", "10, 20, 30, 40"),
        row("000002_03_01_014.png", "5, 5, 9, 9", 5, 3, "14, 14"),
    )
    for series, numbers in (("000001_01_01", (108, 109)), ("000002_03_01", (14,))):
        for number in numbers:
            hu = np.full((6, 8), number, np.int32)
            stored = (hu + 32768).astype(np.uint16)
            picture(tmp_path / "Images_png" / series / f"{number:03d}.png", stored)
    return tmp_path


def test_a_key_slice_has_all_its_boxes(folder: Path) -> None:
    first, second = read_deeplesion(folder)
    assert first.boxes == (Box("lesion", (225, 89), (241, 111)), Box("lesion", (9, 19), (30, 40)))
    assert (first.patient, first.split) == ("000001", "train")
    assert (second.boxes[0].label, second.patient, second.split) == ("lung", "000002", "test")


def test_pixels_are_hounsfield_units(folder: Path) -> None:
    image = read_deeplesion(folder)[0].load()
    assert image.pixels.shape == (6, 8)
    assert set(image.pixels.ravel().tolist()) == {109}
    assert image.spacing_mm == (0.7, 0.8)


def test_slices_beside_come_along_from_the_feet_up_and_the_last_is_repeated(folder: Path) -> None:
    image = read_deeplesion(folder, context=2)[0].load()
    assert image.pixels[:, 0, 0].tolist() == [109, 109, 109, 108, 108]
    assert image.spacing_mm == (5, 0.7, 0.8)


def test_a_stack_goes_from_the_feet_up_as_far_as_slices_follow_each_other(folder: Path) -> None:
    first, _ = read_key_slices(folder)
    for number in (105, 107, 110, *range(112, 120)):
        picture(first.path.with_name(f"{number}.png"), np.full((6, 8), number + 32768, np.uint16))
    voxels, key = first.stack()
    assert voxels[:, 0, 0].tolist() == [110, 109, 108, 107]
    assert key == 1
    for number in range(90, 120):
        picture(first.path.with_name(f"{number:03d}.png"), np.full((6, 8), number + 32768, np.uint16))
    voxels, key = first.stack()
    assert (voxels[0, 0, 0], voxels[-1, 0, 0], key) == (115, 103, 6), "30 mm are 6 slices of 5 mm"


def test_a_slice_of_another_size_is_named(folder: Path) -> None:
    first, _ = read_key_slices(folder)
    picture(first.path.with_name("110.png"), np.full((6, 9), 32768, np.uint16))
    with pytest.raises(BrokenDataError, match=r"110\.png is of another size than 109\.png"):
        first.stack()


def test_a_lesion_has_its_axes_and_its_box_and_the_release_counts_pixels_from_one(folder: Path) -> None:
    lesion = read_key_slices(folder)[0].lesions[0]
    assert (lesion.long_axis, lesion.short_axis) == (((0, 1), (2, 3)), ((4, 5), (6, 7)))
    assert lesion.box == Box("lesion", (225, 89), (241, 111))


def test_a_missing_slice_is_named(folder: Path) -> None:
    (folder / "Images_png/000002_03_01/014.png").unlink()
    with pytest.raises(BrokenDataError, match=r"000002_03_01/014\.png is missing"):
        read_deeplesion(folder)


def test_a_slice_beside_that_the_release_has_is_named_where_it_is_missing(folder: Path) -> None:
    (folder / "Images_png/000001_01_01/108.png").unlink()
    with pytest.raises(
        BrokenDataError, match=r"01_01/108\.png is missing, though .*DL_info\.csv, line 2, names"
    ):
        read_key_slices(folder)


def test_a_range_without_its_key_slice_is_named(folder: Path) -> None:
    text(folder / "DL_info.csv", HEADER, row("000001_01_01_109.png", "5, 5, 9, 9", slices="110, 120"))
    with pytest.raises(BrokenDataError, match=r"line 2: Slice_range is 110, 120, without the key slice 109"):
        read_key_slices(folder)


def test_a_broken_slice_is_named(folder: Path) -> None:
    (folder / "Images_png/000002_03_01/014.png").write_bytes(b"no picture")
    with pytest.raises(BrokenDataError, match=r"014\.png cannot be read"):
        read_deeplesion(folder)[1].load()


@pytest.mark.parametrize(("box", "said"), [("1, 2, 3", "not 4 numbers"), ("9, 9, 5, 5", "no size")])
def test_a_broken_box_is_named_by_its_line(folder: Path, box: str, said: str) -> None:
    text(folder / "DL_info.csv", HEADER, row("000001_01_01_109.png", box))
    with pytest.raises(BrokenDataError, match=rf"DL_info\.csv, line 2: .*{said}"):
        read_deeplesion(folder)


def test_no_table_is_said(tmp_path: Path) -> None:
    with pytest.raises(BrokenDataError, match=r"DL_info\.csv is missing"):
        read_deeplesion(tmp_path)


def test_single_slices_are_read_with_their_boxes_in_pixels(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    Image.fromarray(np.full((512, 512), 67, np.uint8)).save(tmp_path / "images" / "000001_01_01_010.png")
    (tmp_path / "boxes.csv").write_text(
        "file,patient,study,series,slice,repo_split,lesion_class,ymin,xmin,ymax,xmax\n"
        "000001_01_01_010.png,000001,01,01,010,test,4,0.25,0.5,0.375,0.75\n"
    )
    (case,) = read_deeplesion_slices(tmp_path)
    assert (case.boxes[0].label, case.boxes[0].low, case.boxes[0].high) == ("liver", (256, 128), (384, 192))
    image = case.load()
    assert image.pixels.shape[1:] == (512, 512)
    assert float(image.pixels.mean()) == pytest.approx(67 * 4095 / 255 - 1024)
    (tmp_path / "images" / "000001_01_01_010.png").unlink()
    with pytest.raises(BrokenDataError, match="000001_01_01_010"):
        read_deeplesion_slices(tmp_path)
