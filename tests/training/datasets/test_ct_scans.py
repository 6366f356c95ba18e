"""CT scans with known lesions, by a table or by the public ones that are there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.training.datasets.pictures import text
from training.datasets.ct_scans import PUBLIC_SCANS, read_scans
from training.errors import BrokenDataError
from training.lung_nodules.sources import lidc_and_scans

HEAD = "name,folder,use,license,x_mm,y_mm,z_mm,radius_mm"


def test_a_scan_has_every_lesion_that_the_table_gives_it(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    lines = ("one,a,test,CC0,1,2,3,6", "one,a,test,CC0,7,8,9,4", "two,b,background,,,,,")
    text(tmp_path / "scans.csv", HEAD, *lines)
    one, two = read_scans(tmp_path)
    assert one.lesions == (((1, 2, 3), 6), ((7, 8, 9), 4))
    assert (two.use, two.lesions, two.folder) == ("background", (), tmp_path / "b")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("one,a,training,,,,,", "line 2: use is 'training', not one of background, test"),
        ("one,c,test,,,,,", "c is missing, though scans.csv, line 2, names it"),
        ("one,a,test,,1,2,x,4", "line 2: z_mm is 'x', not a number"),
    ],
)
def test_what_is_wrong_in_the_table_is_named_by_its_line(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "a").mkdir()
    text(tmp_path / "scans.csv", HEAD, line)
    with pytest.raises(BrokenDataError, match=message):
        read_scans(tmp_path)


def test_a_folder_without_table_or_public_scan_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BrokenDataError, match=r"scans\.csv is missing"):
        read_scans(tmp_path)


def test_slices_of_nodules_are_learned_from_without_scans_beside_them(tmp_path: Path) -> None:
    (tmp_path / "lidc").mkdir()
    text(tmp_path / "lidc" / "nodules.csv", "nodule")
    sources = lidc_and_scans(tmp_path)
    assert (sources.lidc, sources.scans) == (tmp_path / "lidc", ())


def test_no_scan_is_both_learned_from_and_tested_on(shared_data: Path) -> None:
    learned = {s.name for s in lidc_and_scans(shared_data).scans}
    tested = {s.name for s in PUBLIC_SCANS if s.use == "test"}
    assert learned
    assert tested
    assert not learned & tested
