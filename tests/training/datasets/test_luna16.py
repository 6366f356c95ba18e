"""LUNA16, laid out as released."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from tests.training.datasets.pictures import text
from training.datasets.case import Place
from training.datasets.luna16 import read_luna16
from training.errors import BrokenDataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for subset, uid in (("subset0", "1.2.3"), ("subset3", "1.2.4")):
        image = SimpleITK.GetImageFromArray(np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6))
        image.SetOrigin((-10.0, -20.0, -30.0))
        image.SetSpacing((0.7, 0.8, 2.5))
        (tmp_path / subset).mkdir()
        SimpleITK.WriteImage(image, str(tmp_path / subset / f"{uid}.mhd"))
    place = "seriesuid,coordX,coordY,coordZ"
    text(tmp_path / "annotations.csv", f"{place},diameter_mm", "1.2.3,1,2,3,6.5")
    excluded = tmp_path / "evaluationScript/annotations/annotations_excluded.csv"
    text(excluded, f"{place},diameter_mm", "1.2.3,4,5,6,-1")
    text(tmp_path / "candidates_V2.csv", f"{place},class", "1.2.4,7,8,9,0", "1.2.3,1,2,3,1")
    return tmp_path


def test_a_scan_has_its_places_and_its_subset(folder: Path) -> None:
    first, second = read_luna16(folder)
    assert first.places == (
        Place("nodule", (1, 2, 3), 6.5),
        Place("excluded", (4, 5, 6), None),
        Place("candidate nodule", (1, 2, 3), None),
    )
    assert second.places == (Place("candidate", (7, 8, 9), None),)
    assert (first.split, second.split) == ("subset0", "subset3")


def test_voxels_and_where_they_lie(folder: Path) -> None:
    image = read_luna16(folder)[0].load()
    assert image.pixels.shape == (4, 5, 6)
    assert image.spacing_mm == (2.5, 0.8, 0.7)
    assert image.affine is not None
    assert (image.affine @ [1, 2, 3, 1])[:3] == pytest.approx([-10 + 3 * 0.7, -20 + 2 * 0.8, -30 + 2.5])


def test_missing_voxels_are_named(folder: Path) -> None:
    (folder / "subset3/1.2.4.raw").unlink()
    with pytest.raises(BrokenDataError, match=r"1\.2\.4\.raw is missing"):
        read_luna16(folder)


def test_a_missing_header_is_named(folder: Path) -> None:
    (folder / "subset3/1.2.4.mhd").unlink()
    with pytest.raises(BrokenDataError, match=r"1\.2\.4\.mhd is missing, though there is .*1\.2\.4\.raw"):
        read_luna16(folder)


def test_annotated_scans_of_subsets_that_are_not_here_are_counted(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    read_luna16(folder)
    assert not caplog.messages
    with (folder / "annotations.csv").open("a") as table:
        table.write("1.2.8,1,2,3,5\n1.2.9,1,2,3,5\n1.2.9,4,2,3,5\n")
    assert len(read_luna16(folder)) == 2
    (said,) = caplog.messages
    assert said.startswith("2 of the 3 scans that ")
    assert said.endswith("such as 1.2.8")


@pytest.mark.parametrize("sides", ["24 twenty 6", "", "24 20"])
def test_a_header_without_three_sides_is_named(folder: Path, sides: str) -> None:
    header = folder / "subset3/1.2.4.mhd"
    header.write_text(header.read_text().replace("DimSize = 6 5 4", f"DimSize = {sides}"))
    with pytest.raises(BrokenDataError, match=rf"1\.2\.4\.mhd: DimSize is '{sides}', not three sides"):
        read_luna16(folder)


def test_voxels_cut_short_are_named(folder: Path) -> None:
    (folder / "subset3/1.2.4.raw").write_bytes(b"\0" * 10)
    with pytest.raises(BrokenDataError, match=r"1\.2\.4\.raw has 10 bytes, not the 240"):
        read_luna16(folder)


def test_a_missing_table_is_named(folder: Path) -> None:
    (folder / "candidates_V2.csv").unlink()
    with pytest.raises(BrokenDataError, match=r"candidates_V2\.csv, candidates\.csv"):
        read_luna16(folder)
    assert len(read_luna16(folder, candidates=False)) == 2


def test_annotations_of_other_scans_are_said(folder: Path) -> None:
    for path in folder.rglob("*.csv"):
        path.write_text(path.read_text().replace("1.2.", "9.9."))
    with pytest.raises(BrokenDataError, match="names none of the 2 scans"):
        read_luna16(folder)
