"""No run goes on with what one of other data, seed, weights or options has learned."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from training.begun import begin, noted
from training.ct_lesions import recipe as ct_lesions
from training.errors import BrokenDataError
from training.lung_nodules import recipe as lung_nodules
from training.lung_nodules.sources import Sources
from training.pet_ct import recipe as pet_ct
from training.registration import recipe as registration

PARTS = {"data": "abc", "seed": 1, "phantoms": (40, 6)}
RECIPES: dict[str, Callable[[Path], object]] = {
    "detector": lambda out: lung_nodules.train(Sources(), out, lung_nodules.Plan()),
    "network": lambda out: ct_lesions.train([], out, ct_lesions.Plan()),
    "hot-spots": lambda out: pet_ct.train(out, pet_ct.Plan()),
    "registration": lambda out: registration.train(out, registration.Plan()),
}


@pytest.fixture
def stopped(tmp_path: Path) -> Path:
    """A run that has learned something."""
    begin(tmp_path, PARTS, resume=True)
    for name in ("checkpoint.pt", "best.pt"):
        (tmp_path / name).write_bytes(b"learned")
    return tmp_path


def test_the_same_run_goes_on(stopped: Path) -> None:
    begin(stopped, PARTS, resume=True)
    assert (stopped / "checkpoint.pt").read_bytes() == b"learned"


@pytest.mark.parametrize(
    ("changed", "start", "said"),
    [
        ({"data": "abd"}, None, "another data:"),
        ({"seed": 2, "phantoms": (40, 7)}, None, "another seed, phantoms:"),
        ({}, {"weight": torch.ones(1)}, "another from:"),
    ],
)
def test_another_run_is_refused_until_it_begins_anew(
    stopped: Path, changed: dict[str, object], start: dict[str, torch.Tensor] | None, said: str
) -> None:
    with pytest.raises(BrokenDataError, match=f"checkpoint.pt is of a run with {said} .*--out.*--fresh"):
        begin(stopped, PARTS | changed, resume=True, start=start)
    assert noted(stopped)["data"] == "abc" and (stopped / "best.pt").exists()
    begin(stopped, PARTS | changed, resume=False, start=start)
    assert [path.name for path in stopped.iterdir()] == ["run.json"]
    begin(stopped, PARTS | changed, resume=True, start=start)


def test_weights_to_begin_with_are_told_by_their_values(stopped: Path) -> None:
    begin(stopped, PARTS, resume=False, start={"weight": torch.ones(1)})
    (stopped / "checkpoint.pt").touch()
    begin(stopped, PARTS, resume=True, start={"weight": torch.ones(1)})
    with pytest.raises(BrokenDataError, match="another from"):
        begin(stopped, PARTS, resume=True, start={"weight": 2 * torch.ones(1)})


def test_a_run_without_a_note_goes_on_and_one_that_learned_nothing_is_in_nobody_s_way(stopped: Path) -> None:
    (stopped / "run.json").unlink()
    begin(stopped, PARTS, resume=True)
    assert (stopped / "checkpoint.pt").exists()
    (stopped / "checkpoint.pt").unlink()
    begin(stopped, PARTS | {"seed": 2}, resume=True)


def test_a_broken_note_is_named(stopped: Path) -> None:
    (stopped / "run.json").write_text("{")
    with pytest.raises(BrokenDataError, match=r"run\.json does not say"):
        begin(stopped, PARTS, resume=True)


@pytest.mark.parametrize("stage", RECIPES)
def test_every_recipe_looks_before_it_begins(stage: str, tmp_path: Path) -> None:
    (tmp_path / stage).mkdir()
    (tmp_path / stage / "run.json").write_text(json.dumps({"seed": "99"}))
    (tmp_path / stage / "checkpoint.pt").touch()
    with pytest.raises(BrokenDataError, match="of a run with another seed"):
        RECIPES[stage](tmp_path)
