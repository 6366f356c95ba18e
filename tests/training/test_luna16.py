"""LUNA16's files scored: results whose score is known by construction, and faults named."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from training.errors import BrokenDataError
from training.metrics.froc import Mark
from training.metrics.luna16 import read_nodules, read_series, score_luna16, strongest

PLACE = "seriesuid,coordX,coordY,coordZ"


def written(path: Path, header: str, rows: Iterable[tuple[object, ...]]) -> Path:
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return path


@pytest.fixture
def luna(shared_data: Path) -> Path:
    return shared_data / "luna16_annotations"


def files(folder: Path) -> tuple[Path, Path, Path]:
    return folder / "annotations.csv", folder / "annotations_excluded.csv", folder / "seriesuids.csv"


def results(path: Path, marks: Iterable[tuple[str, tuple[float, ...], float]]) -> Path:
    return written(path, f"{PLACE},probability", ((uid, *place, score) for uid, place, score in marks))


def test_every_nodule_marked_and_nothing_else_is_1(luna: Path, tmp_path: Path) -> None:
    marks = [(n.scan, n.center_mm, 0.5) for n in read_nodules(luna / "annotations.csv")]
    found = score_luna16(*files(luna), results(tmp_path / "r.csv", marks), resamples=20)
    assert found.froc.cpm == 1.0
    assert (found.froc.low, found.froc.high) == (1.0, 1.0)
    assert (found.nodules, found.found, len(found.scans)) == (1186, 1186, 888)


def test_every_other_nodule_found_is_a_half(luna: Path, tmp_path: Path) -> None:
    nodules = read_nodules(luna / "annotations.csv")
    marks = [(n.scan, n.center_mm, 0.5) for n in nodules[::2]]
    found = score_luna16(*files(luna), results(tmp_path / "r.csv", marks), resamples=200)
    assert found.froc.cpm == pytest.approx(0.5, abs=0.005)
    assert found.froc.low < found.froc.cpm < found.froc.high


def test_a_false_mark_in_every_scan_costs_all_below_one_per_scan(luna: Path, tmp_path: Path) -> None:
    """No nodule is found above the threshold that lets one false mark into each scan."""
    nodules = read_nodules(luna / "annotations.csv")
    marks = [(n.scan, n.center_mm, 0.5) for n in nodules]
    marks += [(uid, (900.0, 900.0, 900.0), 0.9) for uid in read_series(luna / "seriesuids.csv")]
    found = score_luna16(*files(luna), results(tmp_path / "r.csv", marks), resamples=0)
    assert found.froc.at_rates == (0, 0, 0, 1, 1, 1, 1)
    assert found.froc.cpm == pytest.approx(4 / 7)


def test_marks_on_excluded_findings_cost_nothing(luna: Path, tmp_path: Path) -> None:
    annotations, excluded, series = files(luna)
    marks = [(n.scan, n.center_mm, 0.5) for n in read_nodules(annotations)]
    marks += [(n.scan, n.center_mm, 0.9) for n in read_nodules(excluded)]
    path = results(tmp_path / "r.csv", marks)
    found = score_luna16(annotations, excluded, series, path, most_marks=None, resamples=0)
    assert found.froc.cpm == 1.0
    assert sum(scan.ignored for scan in found.scans) > 30_000


def test_of_too_many_marks_those_above_the_one_too_many_count() -> None:
    marks = [Mark("a", (0, 0, 0), score) for score in (0.9, 0.8, 0.7, 0.7, 0.1)]
    assert [m.score for m in strongest(marks, 4)] == [0.9, 0.8, 0.7, 0.7]
    assert [m.score for m in strongest(marks, 3)] == [0.9, 0.8]  # the third shares its score with the fourth


def test_a_header_is_no_series(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("seriesuid\na\nb\n")
    assert read_series(tmp_path / "s.csv") == ("a", "b")


@pytest.fixture
def small(tmp_path: Path) -> tuple[Path, Path, Path]:
    (tmp_path / "s.csv").write_text("a\nb\n")
    header = f"{PLACE},diameter_mm"
    annotations = written(tmp_path / "a.csv", header, [("a", 0, 0, 0, 10)])
    return annotations, written(tmp_path / "e.csv", header, []), tmp_path / "s.csv"


def test_a_mark_of_an_unlisted_series_is_left_out(small: tuple[Path, Path, Path], tmp_path: Path) -> None:
    path = results(tmp_path / "r.csv", [("a", (0, 0, 0), 0.5), ("z", (0, 0, 0), 0.9)])
    assert score_luna16(*small, path, resamples=0).marks == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{PLACE}\na,0,0,0\n", "r.csv has no column probability"),
        (f"{PLACE},probability\na,0,0,,0.5\n", "r.csv, line 2: coordZ is '', not a number"),
        (f"{PLACE},probability\na,0,0,0,nan\n", "line 2: probability is 'nan'"),
        (f"{PLACE},probability\nz,0,0,0,1\n", "no result for any of the 2 series"),
    ],
)
def test_a_fault_is_named(small: tuple[Path, Path, Path], tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "r.csv").write_text(text)
    with pytest.raises(BrokenDataError, match=said):
        score_luna16(*small, tmp_path / "r.csv", resamples=0)


def test_a_missing_file_is_named(small: tuple[Path, Path, Path], tmp_path: Path) -> None:
    with pytest.raises(BrokenDataError, match=r"r\.csv is missing"):
        score_luna16(*small, tmp_path / "r.csv", resamples=0)
