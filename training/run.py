"""Trains and evaluates a task: the two functions behind ``overread train`` and ``overread evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from training.errors import TaskError, refuse_unknown
from training.evaluate.layouts import measure_of
from training.tasks import TASKS, Request


def train(
    task: str,
    data: Path | None,
    layout: str,
    out: Path,
    *,
    seed: int = 1,
    minutes: float | None = None,
    resume: bool = True,
    start: Path | None = None,
    activation: str = "relu",
    architecture: str | None = None,
    device: str = "auto",
) -> Path:
    """Train ``task`` on ``data`` and return the model repository with the result, under ``out``.

    Args:
        layout: how ``data`` is laid out; ``phantom`` needs none.
        start: the folder of an earlier run, or a model repository, whose weights this run goes on from.
        architecture: of the network; the task's usual one where None.
        device: as torch names it; ``auto`` takes a GPU where there is one.

    Raises:
        TaskError: an unknown task, layout, activation or architecture, a layout without its data, or a
            device that is not there.
        BrokenDataError: data that is not laid out so.
    """
    refuse_unknown("task", task, TASKS)
    chosen = TASKS[task]
    architecture = architecture or chosen.architectures[0]
    refuse_unknown("layout", layout, chosen.layouts)
    refuse_unknown("architecture", architecture, chosen.architectures)
    refuse_unknown("activation", activation, chosen.activations)
    _with_data(layout, data)
    if start is not None and not chosen.starts:
        raise TaskError(f"{task} always starts afresh: leave out --from")
    if start is not None and not start.is_dir():
        raise TaskError(
            f"{start} is not the folder of an earlier run, nor of models; name what --out was then, or what "
            "engine.models is, or say installed"
        )
    device = _device(device)
    return chosen.train(
        Request(data, layout, out, seed, minutes, resume, start, activation, architecture, device)
    )


def evaluate(
    task: str,
    data: Path | None,
    layout: str,
    split: str = "",
    pictures: Path | None = None,
    models: Path | None = None,
) -> dict[str, Any]:
    """Figures of the models of ``task`` on ``data``, ready for JSON; ``models`` among them says where these
    lie, unless they are the shipped ones.

    Args:
        layout: how ``data`` is laid out; ``phantom`` needs none.
        split: which part of it; the layout's own default where empty.
        pictures: a folder for curves and sheets; None for none.
        models: a model repository, such as ``train`` returns; None for the one that came with Overread.

    Raises:
        TaskError: an unknown task, layout or split, or a layout without its data.
        BrokenDataError: data that is not laid out so.
        CatalogueError: ``models`` is no folder, or lacks a model of the task, or its card is not sound.
    """
    measure = measure_of(task, layout, split)
    _with_data(layout, data)
    from inference.catalogue import SHIPPED_MODELS, Catalogue
    from inference.readers import READERS

    catalogue = Catalogue(models)
    for model in READERS[task].models if task in READERS else ():
        catalogue.find(model)
    figures = measure.imported()(data, split, pictures, catalogue)
    root = catalogue.root.resolve()
    return figures if root == SHIPPED_MODELS else {**figures, "models": str(root)}


_WITHOUT_DATA = frozenset({"phantom", "simulated"})
"""Layouts: what is learned from, or measured on, is drawn."""


def _with_data(layout: str, data: Path | None) -> None:
    if layout not in _WITHOUT_DATA and data is None:
        raise TaskError(f"the layout {layout} needs a folder of data: give --data DIR")
    if data is not None and not data.is_dir():
        raise TaskError(f"{data} is not a folder; --data names the one that holds the data set")


def _device(name: str) -> str:
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = str(torch.device(name))
    except RuntimeError as error:
        raise TaskError(f"device {name!r} is not known; there is: auto, cpu, cuda, cuda:1…") from error
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, ImportError) as error:  # torch has no one error for it
        raise TaskError(
            f"nothing can be computed on {name} here: give --device cpu, or auto, which takes a GPU where "
            "torch finds one"
        ) from error
    return device
