"""lung-nodules measured on LUNA16: which scans, and what marks on them are worth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from inference.catalogue import Catalogue
from inference.errors import UnreadableSeriesError
from inference.findings import Axis, Code, Finding, Point
from inference.volume import Volume
from training.errors import BrokenDataError, TaskError
from training.evaluate.lung_nodules import luna16 as measured
from training.evaluate.splits import splits_of
from training.lung_nodules.sources import luna16
from training.metrics.luna16 import score_luna16

PLACE = "seriesuid,coordX,coordY,coordZ"
NONE = Axis((0, 0, 0), (0, 0, 0))
MARKS: dict[str, list[tuple[Point, float]]] = {
    "1.1": [((1, 2, 3), 0.9), ((1.5, 2, 3), 0.4), ((40, 0, 0), 0.2)],
    "1.2": [((-9, 0, 0), 0.8)],
    "1.3": [],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three scans: a nodule that is marked twice, a finding to be ignored, and a nodule that is missed."""
    folder = tmp_path / "LUNA16"
    for number, uid in enumerate(MARKS):
        (folder / f"subset{number}").mkdir(parents=True)
        image = sitk.GetImageFromArray(np.zeros((3, 4, 5), np.int16))
        sitk.WriteImage(image, str(folder / f"subset{number}/{uid}.mhd"))
    (folder / "annotations.csv").write_text(f"{PLACE},diameter_mm\n1.1,1,2,3,8\n1.3,0,0,0,6\n")
    (folder / "annotations_excluded.csv").write_text(f"{PLACE},diameter_mm\n1.2,-9,0,0,-1\n")
    (folder / "candidates.csv").write_text(f"{PLACE},class\n1.1,1,2,3,1\n")
    return folder


@pytest.fixture(autouse=True)
def marks(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(volume: Volume, *_: object) -> list[Finding]:
        if volume.series_uid == "1.3":
            raise UnreadableSeriesError("no lungs")
        return [
            Finding("nodule", Code("SCT", "27925004", "Nodule"), at, (at, at), "", score, NONE, NONE, 0.0)
            for at, score in MARKS[volume.series_uid]
        ]

    monkeypatch.setattr(measured, "found_in", found)


def test_marks_are_scored_as_the_challenge_does(folder: Path, tmp_path: Path) -> None:
    found = measured.evaluate_luna16(folder, "", tmp_path / "out", Catalogue())
    assert (found["scans"], found["nodules"], found["refused"]) == (3, 2, ["1.3"])
    assert (found["double_detections"], found["marks_on_excluded"]) == (1, 1)
    assert found["reported_sensitivity"] == 0.5
    assert found["cpm"] == pytest.approx(0.5)
    assert (tmp_path / "out/froc-luna16.png").stat().st_size > 1000
    assert found["node21"] == pytest.approx(0.75 * found["auroc_of_scans"] + 0.25 * 0.5)


def test_what_is_written_scores_the_same_by_the_files(folder: Path, tmp_path: Path) -> None:
    found = measured.evaluate_luna16(folder, "", tmp_path, Catalogue())
    tables = folder / "annotations.csv", folder / "annotations_excluded.csv", tmp_path / "seriesuids.csv"
    assert score_luna16(*tables, tmp_path / "results.csv").froc.cpm == found["cpm"]


def test_a_subset_as_released_is_a_split(folder: Path) -> None:
    found = measured.evaluate_luna16(folder, "subset1", None, Catalogue())
    assert (found["scans"], found["nodules"], found["marks_on_excluded"]) == (1, 0, 1)
    with pytest.raises(TaskError, match="no scans of the split 'subset7'"):
        measured.evaluate_luna16(folder, "subset7", None, Catalogue())


def test_a_split_that_a_run_wrote_is_measured_and_named(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits = tmp_path / "run/splits.json"
    (splits.parent / "models").mkdir(parents=True)
    splits.write_text('{"test": ["1.1", "1.3"]}')
    monkeypatch.setattr(measured, "report_threshold", lambda _: 0.5)
    for split, scans, named in (("test", 2, str(splits)), ("subset0", 1, None), ("", 3, None)):
        found = measured.evaluate_luna16(folder, split, None, Catalogue(splits.parent / "models"))
        assert (found["scans"], found.get("splits")) == (scans, named)


def test_what_a_run_left_for_its_test_is_what_is_measured(folder: Path, tmp_path: Path) -> None:
    splits = tmp_path / "run/splits.json"
    (splits.parent / "models").mkdir(parents=True)
    splits.write_text('{"train": ["1.1"], "validation": ["1.2"], "test": ["1.3"]}')
    learned = luna16(folder, splits)
    assert [(scan.name, scan.held_out) for scan in learned.scans] == [("1.1", False), ("1.2", True)]
    of_patient = splits_of(Catalogue(splits.parent / "models"))
    assert [of_patient(uid) for uid in MARKS] == ["train", "validation", "test"]
    splits.write_text('{"test": ["1.1", "1.2", "1.3"]}')
    with pytest.raises(BrokenDataError, match="leaves none of the 3 scans"):
        luna16(folder, splits)


def test_splits_are_written_where_there_are_none(folder: Path, tmp_path: Path) -> None:
    splits = tmp_path / "run/splits.json"
    try:
        luna16(folder, splits)
    finally:
        assert {split for split in ("train", "validation", "test") if split in splits.read_text()}
