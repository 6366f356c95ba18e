"""The network for polyps: from a folder of pictures to a model that is installed and measured."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from inference.catalogue import Catalogue
from inference.engine.embedded import EmbeddedEngine
from inference.parity import verify
from inference.readers.polyps import POLYPS
from training.datasets.layouts import read_cases
from training.datasets.splits import write_splits
from training.errors import BrokenDataError
from training.evaluate.polyps import evaluate_pictures
from training.loop import Schedule
from training.phantoms.endoscopy import endoscopy_frame
from training.polyps import recipe
from training.polyps.network import PolypNetwork, dice_of, frames_of
from training.polyps.recipe import Plan, train
from training.segmenter import SegmenterForService
from training.shipped import served_weights

PICTURES = 10


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The layout ``polyp-masks``, in miniature."""
    folder = tmp_path_factory.mktemp("polyp-masks")
    for number in range(PICTURES):
        frame = endoscopy_frame(500 + number, size=64, polyps=1)
        Image.fromarray(frame.picture).save(folder / f"{number}.png")
        Image.fromarray(frame.mask.astype(np.uint8) * 255).save(folder / f"{number}_mask.png")
    return folder


@pytest.fixture(scope="module")
def trained(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run")
    plan = Plan(frames=2, schedule=Schedule(steps=2), activation="silu")
    return train(folder, "polyp-masks", out, plan)


def test_a_run_ends_in_a_model_that_answers_as_recorded(trained: Path) -> None:
    catalogue = Catalogue(trained)
    (row,) = verify(catalogue, EmbeddedEngine(catalogue))
    assert row.passed, row
    learned = {data.name: data for data in catalogue.find(POLYPS).card.training_data}
    assert learned["polyp-masks"].kind == "real" and learned["Overread endoscopy phantoms"].cases == 2


def test_only_the_pictures_of_the_split_train_are_learned_from(trained: Path) -> None:
    splits = json.loads((trained.parent / "splits.json").read_text())
    assert sum(map(len, splits.values())) == PICTURES
    learned = {data.name: data.cases for data in Catalogue(trained).find(POLYPS).card.training_data}
    assert learned["polyp-masks"] == len(splits["train"]) < PICTURES


def test_the_patients_of_the_split_validation_choose_the_weights(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipe, "export", lambda *_, **__: None)
    write_splits(tmp_path / "splits.json", {"3": "validation"})
    train(folder, "polyp-masks", tmp_path, Plan(frames=1, schedule=Schedule(steps=1)))
    (found,) = json.loads((tmp_path / "polyps" / "history.json").read_text())["scores"]
    kept = PolypNetwork()
    kept.load_state_dict(torch.load(tmp_path / "polyps" / "best.pt", weights_only=True))
    held_out = frames_of([case for case in read_cases("polyp-masks", folder) if case.patient == "3"])
    assert found["score"] == pytest.approx(dice_of(kept, held_out)[0], abs=1e-3) and found["score"] > 0


def test_a_run_goes_on_from_an_earlier_one_or_says_what_is_missing(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(BrokenDataError, match=r"polyps/best\.pt is missing"):
        train(None, "phantom", tmp_path, Plan(frames=1, start=tmp_path))


def test_a_run_goes_on_from_a_model_repository(trained: Path, tmp_path: Path) -> None:
    plan = Plan(frames=2, schedule=Schedule(steps=1, learning_rate=1e-9), activation="silu", start=trained)
    train(None, "phantom", tmp_path, plan)
    kept = torch.load(tmp_path / "polyps" / "best.pt", weights_only=True)
    network = PolypNetwork(activation="silu")
    start = served_weights(Catalogue(trained).find(POLYPS), network, SegmenterForService)
    filters = [name for name, values in start.items() if values.ndim == 4]
    assert all(torch.allclose(kept[name], start[name], atol=1e-6) for name in filters)


def test_a_card_says_what_the_weights_had_learned_from_before(trained: Path, tmp_path: Path) -> None:
    """Also where an earlier run is gone on from, and no longer that no real picture was ever seen."""
    schedule = Schedule(steps=1)
    plan = Plan(frames=1, schedule=schedule, activation="silu", start=trained.parent)
    card = Catalogue(train(None, "phantom", tmp_path, plan)).find(POLYPS).card
    (earlier,) = [part for part in card.training_data if part.kind == "real"]
    assert earlier.name == "polyp-masks" and earlier.description.endswith("that these go on from)")
    assert card.training_command.endswith("--from EARLIER")
    assert not any("no real picture" in limit for limit in card.limits)


def test_weights_of_another_network_are_refused(trained: Path, tmp_path: Path) -> None:
    for option, plan in {
        "architecture unet": Plan(start=trained.parent, activation="silu", architecture="deeplab"),
        "activation silu": Plan(start=trained.parent, activation="relu"),
    }.items():
        with pytest.raises(BrokenDataError, match=f"another network .*trained with --{option};"):
            train(None, "phantom", tmp_path, plan)


def test_a_run_on_other_pictures_does_not_go_on_with_this_one(trained: Path, folder: Path) -> None:
    plan = Plan(frames=2, schedule=Schedule(steps=2), activation="silu")
    with pytest.raises(BrokenDataError, match=r"checkpoint\.pt is of a run with another layout, data: give"):
        train(None, "phantom", trained.parent, plan)
    with pytest.raises(BrokenDataError, match="another phantoms, seed: give"):
        train(folder, "polyp-masks", trained.parent, replace(plan, frames=3, seed=2))


def test_a_split_is_the_one_that_the_run_wrote(trained: Path, folder: Path, tmp_path: Path) -> None:
    models = shutil.copytree(trained, tmp_path / "models")
    split = {str(number): "train" for number in range(PICTURES)} | {"3": "test"}
    write_splits(tmp_path / "splits.json", split)
    found = evaluate_pictures("polyp-masks", folder, "test", None, Catalogue(models))
    assert (found["images"], found["splits"]) == (1, str(tmp_path / "splits.json"))


def test_the_installed_model_is_measured_on_each_picture_at_its_own_size(trained: Path, folder: Path) -> None:
    found = evaluate_pictures("polyp-masks", folder, "", None, Catalogue(trained))
    assert found["images"] == PICTURES
    low, high = found["mean_dice_ci"]
    assert 0 <= low <= found["mean_dice"] <= high <= 1
