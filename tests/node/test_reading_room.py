"""The identity of a reading covers whatever has a say in its results, and nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from inference.catalogue import SHIPPED_MODELS, Catalogue
from node.reading_room import ReadingRoom, kinds_for
from node.settings import Settings

READER, SERIES = "lung-nodules", "1.9"
IMAGES = [Path("1.1.dcm"), Path("1.2.dcm")]
PRIORS = [("20240101", "ab" * 32)]
DETECTOR, FORECASTER = "lung-nodules-detector", "growth-forecaster"


@pytest.fixture
def models(tmp_path: Path) -> Path:
    for name in (DETECTOR, "lung-nodules-characteriser", FORECASTER):
        (tmp_path / name).mkdir()
        shutil.copy(SHIPPED_MODELS / name / "model.yaml", tmp_path / name)
    return tmp_path


def room_with(models: Path, **engine: str) -> ReadingRoom:
    settings = Settings.model_validate({"engine": engine})
    return ReadingRoom(settings, None, None, Catalogue(models), None)  # type: ignore[arg-type]


def identities(models: Path, **engine: str) -> tuple[str, str]:
    """Of a reading alone, and compared with a prior."""
    room = room_with(models, **engine)
    return room.identity(READER, SERIES, IMAGES), room.identity(READER, SERIES, IMAGES, PRIORS)


def edit(models: Path, name: str, change: Callable[[dict[str, Any]], object]) -> None:
    path = models / name / "model.yaml"
    card = yaml.safe_load(path.read_text())
    change(card)
    path.write_text(yaml.safe_dump(card))


def other_threshold(card: dict[str, Any]) -> None:
    point = next(iter(card["operating_points"].values()))
    point["threshold"] += 0.01


def other_intensity(card: dict[str, Any]) -> None:
    card["inputs"][0]["intensity"]["divide"] *= 2


def other_figures(card: dict[str, Any]) -> None:
    card["metrics"], card["limits"] = [], ["Other words."]
    card["inputs"][0]["description"] = "said otherwise"


@pytest.mark.parametrize("change", [other_threshold, other_intensity])
def test_a_threshold_or_preparation_in_the_card_changes_every_identity(
    models: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    before = identities(models)
    edit(models, DETECTOR, change)
    after = identities(models)
    assert before[0] != after[0] and before[1] != after[1]


def test_figures_and_explanations_in_the_card_change_none(models: Path) -> None:
    before = identities(models)
    edit(models, DETECTOR, other_figures)
    assert identities(models) == before


def test_the_forecaster_has_a_say_in_what_is_compared_and_in_nothing_else(models: Path) -> None:
    before = identities(models)
    edit(models, FORECASTER, lambda card: card.update(sha256="cd" * 32))
    other = identities(models)
    assert other[0] == before[0] and other[1] != before[1]
    shutil.rmtree(models / FORECASTER)
    without = identities(models)
    assert without[0] == before[0] and without[1] not in (before[1], other[1])


def test_a_provider_whose_numbers_differ_changes_the_identity(models: Path) -> None:
    assert identities(models, provider="openvino")[0] != identities(models)[0]


def test_other_images_or_priors_change_the_identity(models: Path) -> None:
    room = room_with(models)
    known = {
        room.identity(READER, SERIES, IMAGES),
        room.identity(READER, SERIES, IMAGES[:1]),
        room.identity(READER, SERIES, IMAGES, PRIORS),
        room.identity(READER, SERIES, IMAGES, [("20240102", PRIORS[0][1])]),
        room.identity(READER, SERIES, IMAGES, [*PRIORS, ("20230101", "cd" * 32)]),
    }
    assert len(known) == 5


def test_what_is_made_is_what_destinations_show_and_what_is_wanted_besides(models: Path) -> None:
    pacs = {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": 4242, "objects": ["sc"]}
    wanted = kinds_for(
        Settings.model_validate({"destinations": [pacs, pacs | {"name": "b", "objects": ["ko"]}]})
    )
    assert wanted == {"sc", "ko"}
    assert room_with(models).kinds == {"seg", "sr"}
    assert replace(room_with(models), wanted=wanted).kinds == wanted
