"""Tables of truth and results scored, and cells that mean nothing refused by line."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from tests.training.datasets.pictures import text
from training.errors import BrokenDataError
from training.score.classes import auroc_score
from training.score.detections import node21_score, volumes_score


@pytest.mark.parametrize("cell", ["-1", "2", "0.3"])
def test_a_label_that_is_neither_1_nor_0_nor_empty_is_refused(tmp_path: Path, cell: str) -> None:
    results = text(tmp_path / "r.csv", "name,edema", "a,0.8", "b,0.1", "c,0.9")
    truth = text(tmp_path / "t.csv", "name,edema", "a,1", "b,0", "c,")
    assert auroc_score(truth, results, resamples=5).figures["classes"]["edema"]["cases"] == 2
    text(truth, "name,edema", "a,1", "b,0", f"c,{cell}")
    with pytest.raises(
        BrokenDataError, match=rf"t\.csv, line 4: edema is {cell}, not 1 or 0; leave it empty"
    ):
        auroc_score(truth, results)


@pytest.mark.parametrize("file", ["t.csv", "r.csv"])
def test_a_box_without_size_is_refused(tmp_path: Path, file: str) -> None:
    size = {"t.csv": "4,4", "r.csv": "4,4"} | {file: "4,-4"}
    header = "img_name,x,y,width,height"
    truth = text(tmp_path / "t.csv", f"{header},label", f"a,1,1,{size['t.csv']},1")
    results = text(tmp_path / "r.csv", f"{header},probability", f"a,1,1,{size['r.csv']},0.9")
    with pytest.raises(BrokenDataError, match=rf"{file}, line 2: the box .* has no size"):
        node21_score(truth, results)


def test_volumes_without_any_lesion_have_no_sensitivity(tmp_path: Path) -> None:
    header = "volume,x1,y1,z1,x2,y2,z2"
    truth = text(tmp_path / "t.csv", header, "a,,,,,,", "b,,,,,,")
    results = text(tmp_path / "r.csv", f"{header},score", "a,1,1,1,2,2,2,0.9")
    found = volumes_score(truth, results, resamples=5)
    assert math.isnan(found.figures["mean_sensitivity"])
    assert found.figures["false_positives"] == 1
