"""Masks scored from files, as other tools write them, and faults named by their file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from node.cli import app
from tests.training.datasets.pictures import half, picture, text
from training.errors import BrokenDataError
from training.score.files import read_arrays
from training.score.images import dice_score


def masks(folder: Path, drawn: Mapping[str, np.ndarray]) -> Path:
    for name, pixels in drawn.items():
        picture(folder / name, pixels)
    return folder


@pytest.mark.parametrize("white", [1, 255])
def test_masks_of_0_and_1_are_masks(tmp_path: Path, white: int) -> None:
    left = half() // 255 * np.uint8(white)
    truth = masks(tmp_path / "t", {"a.png": left, "b.png": left})
    results = masks(tmp_path / "r", {"a.png": left, "b.png": left[:, ::-1]})
    assert dice_score(truth, results).figures["mean_dice"] == 0.5


def test_faint_probabilities_are_no_masks_of_0_and_1(tmp_path: Path) -> None:
    """All of the folder says which of both it is: a 1 among grey levels is one 255th."""
    truth = masks(tmp_path / "t", {"a.png": half(), "b.png": 0 * half()})
    results = masks(tmp_path / "r", {"a.png": half(), "b.png": half() // 255})
    assert dice_score(truth, results).figures["mean_dice"] == 1


def test_the_threshold_is_of_the_results_and_of_their_depth(tmp_path: Path) -> None:
    truth = masks(tmp_path / "t", {"a.png": half()})
    results = masks(tmp_path / "r", {"a.png": (half() > 0) * np.uint16(20_000)})
    assert dice_score(truth, results, threshold=0.3).figures["mean_dice"] == 1
    assert dice_score(truth, results, threshold=0.4).figures["mean_dice"] == 0


def test_masks_of_0_and_255_are_masks_with_16_bits_too(tmp_path: Path) -> None:
    truth = masks(tmp_path / "t", {"a.png": half(), "b.png": half().astype(np.uint16)})
    results = masks(tmp_path / "r", {name: half().astype(np.uint16) for name in ("a.png", "b.png")})
    assert dice_score(truth, results).figures["mean_dice"] == 1


def test_results_of_8_bits_in_pictures_of_16_are_refused(tmp_path: Path) -> None:
    truth = masks(tmp_path / "t", {"a.png": half(), "b.png": half()})
    drawn = {"a.png": half().astype(np.uint16) * 0, "b.png": (half() // 2).astype(np.uint16)}
    with pytest.raises(BrokenDataError, match="nothing above 127"):
        dice_score(truth, masks(tmp_path / "r", drawn))


def test_truth_on_another_scale_is_refused(tmp_path: Path) -> None:
    truth = masks(tmp_path / "t", {"a.png": half() // 100})
    with pytest.raises(BrokenDataError, match=r"t/a\.png is no mask"):
        dice_score(truth, masks(tmp_path / "r", {"a.png": half()}))


def test_two_masks_of_one_name_are_refused(tmp_path: Path) -> None:
    truth = masks(tmp_path / "t", {"a.bmp": half(), "a.png": half()})
    with pytest.raises(BrokenDataError, match=r"two masks for a: a\.bmp, a\.png"):
        dice_score(truth, truth)


def test_a_picture_that_is_cut_short_is_named(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
    whole = masks(tmp_path / "t", {"a.png": noise}) / "a.png"
    whole.write_bytes(whole.read_bytes()[:2000])
    with pytest.raises(BrokenDataError, match=r"a\.png cannot be read as an image"):
        dice_score(tmp_path / "t", tmp_path / "t")


@pytest.mark.parametrize("what", ["cut short", "empty", "one array"])
def test_a_file_that_is_no_npz_is_named(tmp_path: Path, what: str) -> None:
    path = tmp_path / "a.npz"
    with path.open("wb") as file:
        np.save(file, half()) if what == "one array" else np.savez(file, a=half())
    if what != "one array":
        path.write_bytes(path.read_bytes()[: 100 if what == "cut short" else 0])
    with pytest.raises(BrokenDataError, match=r"a\.npz is no NPZ file"):
        read_arrays(path)


def test_masks_of_a_patient_are_resampled_together(tmp_path: Path) -> None:
    patients = np.random.default_rng(0).random(12) < 0.5
    truth = {f"{k}": np.ones(4) for k in range(120)}
    found = {f"{k}": np.full(4, patients[k // 10]) for k in range(120)}
    np.savez(tmp_path / "t.npz", **truth)
    np.savez(tmp_path / "r.npz", **found)
    given = [
        *("--truth", tmp_path / "t.npz"),
        *("--results", tmp_path / "r.npz"),
        *("--json", tmp_path / "s"),
    ]
    table = text(tmp_path / "g.csv", "name,group", *(f"{k},{k // 10}" for k in range(120)))

    def width(*more: object) -> float:
        shown = CliRunner().invoke(app, ["score", "dice", *map(str, (*given, *more))])
        assert shown.exit_code == 0, shown.output
        low, high = json.loads((tmp_path / "s").read_text())["mean_dice_ci"]
        return float(high - low)

    assert width("--group", table) > 2 * width()
    text(table, "name,group", "0,0")
    with pytest.raises(BrokenDataError, match=r"g\.csv has no row for '1' \(119 missing\)"):
        dice_score(tmp_path / "t.npz", tmp_path / "r.npz", group=table)
