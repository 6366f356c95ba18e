"""The layout ``lidc-slices``, on a miniature of it."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from training.datasets.lidc_slices import BrokenDataError, hounsfield, read_slices

HEADER = (
    "file,split,patient_id,nodule,n_slices,image_slices,n_masks,n_readers,series_uid,z_first_mm,z_last_mm,"
    "malignancy_median,mean_calcification,mean_texture"
)


def levels() -> np.ndarray:
    """A slice whose left half is lung (level 14) and right half soft tissue (level 105)."""
    out = np.full((128, 128), 14, np.uint8)
    out[:, 64:] = 105
    out[0, 0], out[0, 1] = 0, 255
    return out


@pytest.fixture
def miniature(tmp_path: Path) -> Path:
    tmp_path = tmp_path / "slices"
    tmp_path.mkdir()
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    rows = "P1_n0,train,P1,0,3,0 1 2,2,2,1.2.3,-10,-15,4.5,6.0,5.0"
    (tmp_path / "nodules.csv").write_text(f"{HEADER}\n{rows}\n")
    marks = "file,slice,x,y,kind,reader\nP1_n0,1,20,30,non_nodule,0\nP1_n0,1,64,64,non_nodule,1\n"
    (tmp_path / "non_nodule_marks_in_crops.csv").write_text(marks)
    stack = np.concatenate([levels()] * 3)
    Image.fromarray(np.repeat(stack[..., None], 3, 2)).save(tmp_path / "images" / "P1_n0.webp", lossless=True)
    mask = np.zeros((3, 128, 128), np.uint8)
    mask[:, 60:70, 60:70] = 1
    mask[:, 60:70, 60:66] |= 2
    Image.fromarray(mask.reshape(-1, 128)).save(tmp_path / "masks" / "P1_n0.png")
    return tmp_path


def test_a_nodule_comes_with_its_readers_masks_and_ratings(miniature: Path) -> None:
    (nodule,) = read_slices(miniature)
    assert (nodule.patient_id, nodule.malignancy, nodule.kind, nodule.masks) == ("P1", 4.5, "solid", 2)
    assert nodule.consensus.sum() == 3 * 100
    assert nodule.z_mm.tolist() == [-15, -12.5, -10]


def test_a_mark_on_what_another_reader_drew_is_no_negative(miniature: Path) -> None:
    (nodule,) = read_slices(miniature)
    assert nodule.marks == ((1.0, 30.0, 20.0),)


def test_lung_and_soft_tissue_get_their_hounsfield_units_back() -> None:
    hu = hounsfield(levels())
    assert hu[64, 20] == pytest.approx(-860, abs=40)
    assert hu[64, 100] == pytest.approx(45, abs=15)


def test_a_missing_picture_is_named(miniature: Path) -> None:
    (miniature / "masks" / "P1_n0.png").unlink()
    with pytest.raises(BrokenDataError, match=r"P1_n0\.png is missing"):
        list(read_slices(miniature))


@pytest.mark.parametrize(
    ("there", "instead", "said"),
    [
        ("n_masks", "masks", "has no column n_masks"),
        ("0 1 2", "0 1 7", r"line 2: image_slices is '0 1 7', not numbers from 0 to 2"),
        ("-15,4.5", "low,4.5", "line 2: z_last_mm is 'low', not a number"),
        (",6.0,5.0\n", "", "line 2: the line ends before its last column"),
    ],
)
def test_a_row_that_is_not_as_described_is_named(
    miniature: Path, there: str, instead: str, said: str
) -> None:
    table = miniature / "nodules.csv"
    table.write_text(table.read_text().replace(there, instead))
    with pytest.raises(BrokenDataError, match=f"nodules.csv.*{said}"):
        list(read_slices(miniature))


def test_a_picture_that_is_damaged_and_a_table_that_is_missing_are_named(miniature: Path) -> None:
    (miniature / "images" / "P1_n0.webp").write_bytes(b"RIFF")
    with pytest.raises(BrokenDataError, match=r"P1_n0\.webp cannot be read as an image"):
        list(read_slices(miniature))
    (miniature / "non_nodule_marks_in_crops.csv").unlink()
    with pytest.raises(BrokenDataError, match=r"non_nodule_marks_in_crops\.csv is missing"):
        list(read_slices(miniature))


def test_what_pixels_spacing_is_told_by_is_named_where_it_is_damaged(miniature: Path) -> None:
    tables = miniature.parent / "luna16_annotations"
    tables.mkdir()
    (tables / "annotations.csv").write_text("seriesuid,coordX,coordY,coordZ,diameter_mm\n")
    with gzip.open(miniature / "lidc_annotations.json.gz", "wt") as file:
        file.write("{}")
    with pytest.raises(BrokenDataError, match=r"annotations_excluded\.csv is missing"):
        list(read_slices(miniature))
    (miniature / "lidc_annotations.json.gz").write_bytes(b"no archive")
    with pytest.raises(BrokenDataError, match=r"lidc_annotations\.json\.gz is damaged"):
        list(read_slices(miniature))


def test_another_folder_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(BrokenDataError, match="lidc-slices"):
        list(read_slices(tmp_path))
