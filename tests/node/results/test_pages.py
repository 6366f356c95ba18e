"""The pages say all that was found, cut nothing off, and measure nothing that has no measure."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from PIL import Image

from inference.findings import Change, ClassProbability, Response
from inference.growth.assess import assessed
from node.results import ResultFile, codes
from node.results.layout import (
    AMBER,
    BLUE,
    HEIGHT,
    MARGIN,
    WHITE,
    WIDTH,
    Line,
    Rgb,
    pages,
    table,
    text_block,
)
from tests.node.results.phantoms import Case
from tests.validators.cases import incomplete, radiograph, without_findings

LONG = (
    ClassProbability("Cardiomegaly", codes.CARDIOMEGALY.code, 0.12, 0.5, 0.1),
    ClassProbability("Enlarged cardiomediastinal silhouette", codes.CARDIOMEGALY.code, 0.12, 0.5, 0.1),
)


@pytest.fixture
def chest(tmp_path: Path) -> Case:
    return radiograph(tmp_path / "dx")


def pages_of(case: Case, out: Path) -> list[Rgb]:
    return [pydicom.dcmread(file.path).pixel_array for file in case.write(out, "sc").values()]


def of_colour(page: Rgb, colour: tuple[int, int, int]) -> npt.NDArray[np.bool_]:
    near: npt.NDArray[np.bool_] = (np.abs(page.astype(int) - colour) < 40).all(axis=-1)
    return near


def test_nothing_is_cut_off_however_long_the_names_are(chest: Case, out: Path) -> None:
    negative = replace(without_findings(chest), reading=replace(chest.reading, findings=(), classes=LONG))
    for page in pages_of(negative, out):
        assert page[:, WIDTH - MARGIN :].max() == 0
        assert page[HEIGHT - MARGIN :].max() == 0


def test_text_is_broken_and_a_table_shrunk_to_the_width_they_have() -> None:
    words = Line("as long as a line can be " * 10)
    assert np.asarray(text_block([words], 300)).shape[1] == 300
    assert np.asarray(text_block([words], 300)).shape[0] > 5 * words.height
    _, *rows = table(("finding", "", "size"), [("a rather long name", "", "12 mm")] * 2, [BLUE] * 2, 180)
    assert len(rows) == 2
    assert (
        of_colour(np.asarray(rows[0])[:, -8:], BLUE).sum() == 0 < of_colour(np.asarray(rows[0]), BLUE).sum()
    )


def test_what_is_higher_than_a_page_is_made_smaller_and_not_cut_off() -> None:
    high = Image.new("RGB", (200, 2 * HEIGHT))
    high.paste(BLUE, (0, 2 * HEIGHT - 40, 200, 2 * HEIGHT))
    (page,) = pages([Line("AI result, not verified", AMBER)], [high])
    assert of_colour(page, BLUE).any(axis=1).sum() > 10
    assert page[HEIGHT - MARGIN :].max() == 0


def test_pages_have_one_size_and_each_says_whose_result_it_is(case: Case, out: Path) -> None:
    many = [replace(f, tracking_uid=f"2.25.{n}") for n, f in enumerate(case.reading.findings * 12)]
    pages = pages_of(case.with_findings(*many), out)
    assert len(pages) > 5
    for page in pages:
        assert page.shape == (HEIGHT, WIDTH, 3)
        assert of_colour(page[:60], AMBER).sum() > 500


def test_however_many_lesions_are_gone_all_of_them_are_told(case: Case, out: Path) -> None:
    gone = Change("1.2.3.4", "20230115", 365, "resolved", None, None, True, 0.97)
    lesion = replace(case.reading.findings[0], change=gone)

    def blue_rows(count: int) -> int:
        reading = replace(case.reading, resolved=(lesion,) * count)
        pages = pages_of(replace(case, reading=reading), out / str(count))
        return sum(int(of_colour(page, BLUE)[:, :200].any(axis=1).sum()) for page in pages)

    without, of_ten, of_sixty = map(blue_rows, (0, 10, 60))
    assert of_sixty - without == pytest.approx(6 * (of_ten - without), rel=0.1)


def test_evidence_on_a_radiograph_is_boxed_and_not_measured(chest: Case, out: Path) -> None:
    unmeasured = replace(chest, reading=replace(chest.reading, measurements=()))
    (page,) = pages_of(unmeasured, out)
    assert of_colour(page[120:, :650], AMBER).sum() > 200
    assert not of_colour(page, BLUE).any()


def test_lesions_that_are_gone_are_told_and_the_response(case: Case, out: Path) -> None:
    gone = Change("1.2.3.4", "20230115", 365, "resolved", None, None, True, 0.97)
    reading = replace(
        case.reading,
        resolved=tuple(replace(f, change=gone) for f in case.reading.findings),
        response=Response("RECIST 1.1", "PR", "Partial response: 40 % smaller", 50, 30, 30, ("2.25.1",)),
    )
    told, *_ = pages_of(replace(case, reading=reading), out)
    before, *_ = pages_of(case, out / "before")
    assert of_colour(told[:300], BLUE).sum() > of_colour(before[:300], BLUE).sum() + 200


def test_what_guidelines_make_of_a_first_ct_is_on_its_page(case: Case, out: Path) -> None:
    told, *_ = pages_of(replace(case, reading=assessed(case.reading, case.volume)), out)
    before, *_ = pages_of(case, out / "before")
    assert of_colour(told, WHITE).sum() > of_colour(before, WHITE).sum() + 200


def test_a_page_says_first_what_was_not_read(case: Case, out: Path) -> None:
    none, *_ = pages_of(case.with_findings(), out / "whole")
    told, *_ = pages_of(incomplete(case), out)
    assert not of_colour(none[120:], AMBER).any()
    assert of_colour(told[120:240, :640], AMBER).sum() > 500
    assert of_colour(told[120:, 680:], AMBER).sum() > 200  # "incomplete", beside the image


def test_a_negative_page_shows_the_image_that_was_read(chest: Case, out: Path) -> None:
    (page,) = pages_of(without_findings(chest), out)
    assert page[200:700, 100:600].std() > 40
    files: dict[str, ResultFile] = chest.write(out / "again", "sc")
    assert pydicom.dcmread(files["sc-1"].path).BurnedInAnnotation == "YES"
