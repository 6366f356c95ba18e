"""Trains a task: the one function behind ``overread train``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from training.lung_nodules import recipe as lung_nodules

TASKS = {"lung-nodules": ("phantom", "lidc-slices")}
ARCHITECTURES = {"lung-nodules": ("unet",)}


def train(
    task: str,
    data: Path | None,
    layout: str,
    out: Path,
    *,
    seed: int = 1,
    minutes: float | None = None,
    resume: bool = True,
    activation: str = "relu",
    architecture: str = "unet",
    device: str = "auto",
    plan: lung_nodules.Plan | None = None,
) -> Path:
    """Train ``task`` on ``data`` and return the model repository with the result, under ``out``.

    Args:
        layout: how ``data`` is laid out; ``phantom`` needs none.
        minutes: at most so long; None until every step is done.
        plan: how much of everything, for those who know better than the defaults.

    Raises:
        ValueError: an unknown task, layout, activation, architecture, or data that is not laid out so.
    """
    from training.lung_nodules.networks import ACTIVATIONS

    for what, value, known in (
        ("task", task, tuple(TASKS)),
        ("layout", layout, TASKS.get(task, ())),
        ("architecture", architecture, ARCHITECTURES.get(task, ())),
        ("activation", activation, tuple(ACTIVATIONS)),
    ):
        if value not in known:
            raise ValueError(f"{what} {value!r} is not known; there is: {', '.join(known)}")
    if layout != "phantom" and data is None:
        raise ValueError(f"the layout {layout} needs a folder of data")
    chosen = replace(
        plan or lung_nodules.Plan(),
        seed=seed,
        activation=activation,
        device=_device(device),
        resume=resume,
        minutes=minutes,
    )
    return lung_nodules.train(data if layout == "lidc-slices" else None, (), out, chosen)


def _device(name: str) -> str:
    import torch

    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"
