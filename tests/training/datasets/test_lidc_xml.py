"""LIDC-IDRI's readings, as the released XML has them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.training.datasets.pictures import text
from training.datasets.lidc_xml import RATINGS, NonNodule, read_lidc_xml
from training.errors import BrokenDataError

ROI = """<roi><imageZposition>-125.5</imageZposition><imageSOP_UID>1.2.9</imageSOP_UID>
<inclusion>{}</inclusion><edgeMap><xCoord>312</xCoord><yCoord>355</yCoord></edgeMap>
<edgeMap><xCoord>311</xCoord><yCoord>356</yCoord></edgeMap></roi>"""
RATED = "".join(
    f"<{name}>{value}</{name}>" for name, value in zip(RATINGS, (5, 1, 6, 3, 3, 3, 4, 5, 5), strict=True)
)
MESSAGE = f"""<?xml version="1.0" encoding="UTF-8"?>
<LidcReadMessage uid="1.3.6" xmlns="http://www.nih.gov">
<ResponseHeader><SeriesInstanceUid>1.2.3</SeriesInstanceUid><StudyInstanceUID>1.2.1</StudyInstanceUID></ResponseHeader>
<readingSession><unblindedReadNodule><noduleID>Nodule 001</noduleID>
<characteristics>{RATED}</characteristics>{ROI.format("TRUE")}{ROI.format("FALSE")}</unblindedReadNodule>
</readingSession>
<readingSession><unblindedReadNodule><noduleID>IL057_127364</noduleID>{ROI.format("TRUE")}</unblindedReadNodule>
<nonNodule><nonNoduleID>1</nonNoduleID><imageZposition>-80</imageZposition><imageSOP_UID>1.2.8</imageSOP_UID>
<locus><xCoord>215</xCoord><yCoord>312</yCoord></locus></nonNodule></readingSession>
</LidcReadMessage>"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    text(tmp_path / "LIDC-IDRI-0001/study/series/069.xml", MESSAGE)
    text(tmp_path / "LIDC-IDRI-0001/radiograph/070.xml", '<IdriReadMessage xmlns="http://www.nih.gov"/>')
    return tmp_path


def test_what_each_reader_said(folder: Path) -> None:
    (reading,) = read_lidc_xml(folder)
    assert (reading.series_uid, reading.study_uid, reading.patient) == ("1.2.3", "1.2.1", "LIDC-IDRI-0001")
    large, small = reading.nodules
    assert (large.reader, large.malignancy, dict(large.ratings)["calcification"]) == (0, 5, 6)
    assert large.outlines[0].points == ((312, 355), (311, 356))
    assert [outline.inclusion for outline in large.outlines] == [True, False]
    assert (small.reader, small.malignancy, small.ratings) == (1, None, ())
    assert reading.non_nodules == (NonNodule(1, "1.2.8", -80.0, (215, 312)),)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("<malignancy>5</malignancy>", "", "characteristics has no malignancy"),
        ("<malignancy>5</malignancy>", "<malignancy>9</malignancy>", "malignancy is rated 9"),
        ("<xCoord>312</xCoord>", "<xCoord>?</xCoord>", "invalid literal"),
        ("<SeriesInstanceUid>1.2.3</SeriesInstanceUid>", "", "no SeriesInstanceUid"),
        ("</LidcReadMessage>", "", "no element found"),
    ],
)
def test_a_broken_file_is_named(folder: Path, old: str, new: str, said: str) -> None:
    text(folder / "LIDC-IDRI-0001/study/series/069.xml", MESSAGE.replace(old, new))
    with pytest.raises(BrokenDataError, match=rf"069\.xml is no reading of LIDC-IDRI: .*{said}"):
        list(read_lidc_xml(folder))


def test_a_folder_without_readings_is_named(tmp_path: Path) -> None:
    with pytest.raises(BrokenDataError, match="holds no XML"):
        list(read_lidc_xml(tmp_path))
