"""What is asked of training and evaluation is checked before any of it starts."""

from __future__ import annotations

from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

import pytest

from inference.catalogue import CatalogueError
from training.datasets.layouts import LAYOUTS, read_cases
from training.errors import BrokenDataError, TaskError
from training.evaluate.layouts import TASKS as MEASURED
from training.run import _WITHOUT_DATA, TASKS, evaluate, train


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"task": "hips"}, "task 'hips' is not known; there is: .*lung-nodules"),
        ({"layout": "jsrt"}, "layout 'jsrt' is not known; there is: phantom, lidc-slices"),
        ({"architecture": "vgg"}, "architecture 'vgg' is not known; there is: unet"),
        ({"activation": "sine"}, "activation 'sine' is not known; there is: relu"),
        ({"device": "abacus"}, "device 'abacus' is not known"),
        ({"device": "cuda:99"}, "nothing can be computed on cuda:99 here: give --device cpu"),
        ({"layout": "lidc-slices"}, "needs a folder of data: give --data DIR"),
        ({"data": Path("nowhere")}, "nowhere is not a folder"),
        ({"start": Path("nowhere")}, "not the folder of an earlier run"),
    ],
)
def test_a_wrong_request_is_refused_with_what_there_is(
    wrong: dict[str, Any], said: str, tmp_path: Path
) -> None:
    asked = {"task": "lung-nodules", "data": None, "layout": "phantom", "out": tmp_path / "out"}
    with pytest.raises(TaskError, match=said):
        train(**(asked | wrong))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("task", "layout", "split", "said"),
    [
        ("hips", "phantom", "", "task 'hips'"),
        ("lung-nodules", "jsrt", "", "layout 'jsrt'"),
        ("lung-nodules", "phantom", "third", "split 'third' is not known; there is: held-out, shifted"),
        ("lung-nodules", "lidc-slices", "", "give --data"),
        ("polyps", "kvasir-seg", "", "give --data"),
        ("growth", "phantom", "third", "split 'third' is not known; there is: installed, stand-in"),
        ("growth", "warped-ct", "none", "split 'none' is not known; there are none: leave it out"),
    ],
)
def test_a_wrong_evaluation_is_refused(task: str, layout: str, split: str, said: str) -> None:
    with pytest.raises(TaskError, match=said):
        evaluate(task, None, layout, split)


@pytest.mark.parametrize("task", MEASURED)
def test_every_layout_has_what_measures_it(task: str) -> None:
    for measure in MEASURED[task].values():
        takes = [one.name for one in signature(measure.imported()).parameters.values()]
        assert takes[:4] == ["data", "split", "out", "catalogue"]


@pytest.mark.parametrize("task", MEASURED)
def test_what_is_drawn_by_split_is_drawn_for_each_split_that_may_be_asked_for(task: str) -> None:
    for layout in MEASURED[task].keys() & _WITHOUT_DATA:
        measure = MEASURED[task][layout]
        module = vars(import_module(f"training.evaluate.{measure.function.rpartition('.')[0]}"))
        tables = [module[name] for name in ("_SPLITS", "_FIRST_SEED", "READERS") if name in module]
        assert [{*table} for table in tables] == [{*measure.splits}]


@pytest.mark.parametrize("task", MEASURED)
def test_a_folder_without_the_models_of_a_task_is_named_before_anything_is_read(
    task: str, tmp_path: Path
) -> None:
    layout = "phantom" if "phantom" in MEASURED[task] else next(iter(MEASURED[task]))
    with pytest.raises(CatalogueError, match=f"{tmp_path}: there is no model '.*'; there are: none"):
        evaluate(task, tmp_path, layout, models=tmp_path)


@pytest.mark.parametrize("task", TASKS)
def test_an_option_that_a_task_would_pass_over_is_refused(task: str, tmp_path: Path) -> None:
    known = TASKS[task]
    layout = known.layouts[0]
    asked: dict[str, Any] = {"data": tmp_path, "layout": layout, "out": tmp_path / "out"}
    if not known.starts:
        with pytest.raises(TaskError, match="leave out --from"):
            train(task, **asked, start=tmp_path)
    if known.activations == ("relu",):
        with pytest.raises(TaskError, match="activation 'gelu' is not known; there is: relu"):
            train(task, **asked, activation="gelu")
    with pytest.raises(TaskError, match="architecture 'vgg'"):
        train(task, **asked, architecture="vgg")


def test_a_folder_without_radiographs_is_no_data_for_chest_radiographs(tmp_path: Path) -> None:
    with pytest.raises(BrokenDataError, match=r"a folder of layout nih holds labels\.csv and images"):
        train("chest-xray", tmp_path, "nih", tmp_path / "out")


def test_an_earlier_run_without_weights_is_said_before_training(tmp_path: Path) -> None:
    with pytest.raises(BrokenDataError, match=r"detector/best\.pt is missing"):
        train("lung-nodules", None, "phantom", tmp_path / "out", start=tmp_path)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_empty_folder_is_no_data_set_of_any_layout(layout: str, tmp_path: Path) -> None:
    with pytest.raises(BrokenDataError, match=rf"{tmp_path}.*; a folder of layout {layout} holds "):
        read_cases(layout, tmp_path)


def test_an_unknown_layout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="layout 'sheet' is not known; there is: chexpert"):
        read_cases("sheet", tmp_path)
