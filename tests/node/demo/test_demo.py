"""The demo: ends well only if everything that has to arrive did."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from inference.catalogue import Catalogue
from inference.findings import Mask, Point
from inference.readers import READERS
from node.demo.course import Sight
from node.demo.patients import RECIPES, make
from node.demo.truth import compare
from tests.programs import absent
from training.phantoms.nodules import Lesion, Nodule

ROOT = Path(__file__).parents[3]
SCOUT = next(recipe for recipe in RECIPES if recipe.scout_only)
NODULES = next(recipe for recipe in RECIPES if recipe.nodules)


def lesion(center_mm: Point, diameter_mm: float = 10.0) -> Lesion:
    mask = Mask((0, 0, 0), np.ones((1, 1, 1), bool))
    return Lesion(Nodule(center_mm, diameter_mm), center_mm, diameter_mm, 500.0, "solid", False, mask)


def finding(center_mm: Point, score: float = 0.9) -> dict[str, Any]:
    return {"center_mm": list(center_mm), "score": score, "label": "nodule"}


def test_a_finding_in_a_lesion_is_its_own_and_the_rest_stand_alone() -> None:
    near, far = lesion((0, 0, 0)), lesion((50, 0, 0))
    on, off = finding((3, 0, 0)), finding((0, 40, 0))
    matches = compare([near, far], [{"findings": [off, on]}])
    assert [(m.lesion, m.finding) for m in matches] == [(near, on), (far, None), (None, off)]


def test_two_findings_on_one_lesion_count_once() -> None:
    weak, strong = finding((0, 0, 0), 0.5), finding((2, 0, 0), 0.8)
    matches = compare([lesion((0, 0, 0))], [{"findings": [weak]}, {"findings": [strong]}])
    assert [(m.lesion is None, m.finding) for m in matches] == [(False, strong), (True, weak)]


def arrived(*modalities: str) -> tuple[Dataset, ...]:
    headers = []
    for modality in modalities:
        header = Dataset()
        header.Modality = modality
        headers.append(header)
    return tuple(headers)


def test_what_did_not_arrive_is_named() -> None:
    assert not Sight(NODULES, "delivered", arrived=arrived("SEG", "SR")).missing
    assert "SEG of DEMO-1" in Sight(NODULES, "delivered", arrived=arrived("SR")).missing
    assert "SEG and SR" in Sight(NODULES, "failed", "no model").missing


def test_a_study_that_has_to_be_skipped_may_not_be_delivered() -> None:
    assert not Sight(SCOUT, "skipped", "a localizer").missing
    assert "should have been skipped" in Sight(SCOUT, "delivered").missing


def test_the_scout_is_one_frontal_localizer_and_always_the_same(tmp_path: Path) -> None:
    first, second = make(SCOUT, tmp_path / "a"), make(SCOUT, tmp_path / "b")
    assert len(first.paths) == 1
    assert first.paths[0].read_bytes() == second.paths[0].read_bytes()
    image = dcmread(first.paths[0])
    assert "LOCALIZER" in image.ImageType
    assert list(image.ImageOrientationPatient) == [1, 0, 0, 0, 0, -1]


def play(expression: str) -> subprocess.CompletedProcess[str]:
    code = (
        "from dataclasses import replace; from node.demo.patients import RECIPES; "
        f"from node.demo.play import play; play(True, False, {expression})"
    )
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=280)


@pytest.fixture(scope="module")
def ended() -> subprocess.CompletedProcess[str]:
    """A demo that has ended, of a study that has to be skipped."""
    return play("[r for r in RECIPES if r.scout_only]")


def test_a_demo_whose_study_has_to_be_skipped_ends_well(ended: subprocess.CompletedProcess[str]) -> None:
    assert ended.returncode == 0, ended.stderr
    assert "skipped: nothing to read: a localizer" in " ".join(ended.stdout.split())
    assert "status page http://127.0.0.1:" in ended.stdout


def test_at_its_end_a_demo_names_neither_a_page_nor_a_folder_that_is_gone(
    ended: subprocess.CompletedProcess[str],
) -> None:
    after = ended.stdout.split("Arrived")[1]
    assert "http://" not in after
    assert "overread-demo-" not in after


def test_without_a_terminal_a_demo_tells_in_lines_how_far_it_is(
    ended: subprocess.CompletedProcess[str],
) -> None:
    told = ended.stderr.splitlines()
    assert told[0] == "DEMO-3 rendering"
    assert told[-1].startswith("DEMO-3 skipped: nothing to read: a localizer")
    assert "\x1b" not in ended.stdout + ended.stderr


def test_a_demo_whose_result_does_not_arrive_fails_and_says_so() -> None:
    ended = play("[replace(r, expects=frozenset({'SR'})) for r in RECIPES if r.scout_only]")
    assert ended.returncode != 0
    assert "SR of DEMO-3 did not arrive (skipped: nothing to read" in ended.stderr


def test_every_patient_has_a_study_of_its_own() -> None:
    assert len({recipe.study_uid for recipe in RECIPES}) == len(RECIPES)


@pytest.mark.timeout(900)
@pytest.mark.only_on("sqlite", "a demo brings its own database")
def test_the_whole_demo_ends_with_every_expected_object_at_the_pacs(tmp_path: Path) -> None:
    if not set(READERS["lung-nodules"].models) <= set(Catalogue().names):
        absent("triton_models holds no models for lung-nodules")
    command = [sys.executable, "-c", "from node.cli import app; app()", "demo", "--exit", "--keep"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    ended = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=850
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    kept = [dcmread(path) for path in (tmp_path / "overread-demo" / "pacs").glob("*.dcm")]
    for recipe in RECIPES:
        came = {image.Modality for image in kept if image.StudyInstanceUID == recipe.study_uid}
        assert recipe.expects <= came
        assert recipe.expects or not came
    assert "Arrived" in ended.stdout
    assert f"All data lies in {tmp_path / 'overread-demo'}" in ended.stdout
