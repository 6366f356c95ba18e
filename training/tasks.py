"""The tasks that can be trained: on which layouts, with which options, and what each run calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from training.errors import BrokenDataError

ACTIVATIONS = ("relu", "leaky_relu", "gelu", "silu", "elu")


@dataclass(frozen=True)
class Request:
    """What a run of training was asked for. ``minutes``: at most so long, None until every step is done.
    ``start``: the folder of an earlier run whose weights this one goes on from."""

    data: Path | None
    layout: str
    out: Path
    seed: int
    minutes: float | None
    resume: bool
    start: Path | None
    activation: str
    architecture: str
    device: str


@dataclass(frozen=True)
class Task:
    """How a task is trained, on what, and which options it knows; the first of each is the usual one.
    ``starts``: whether it can go on from an earlier run's weights."""

    train: Callable[[Request], Path]
    layouts: tuple[str, ...]
    architectures: tuple[str, ...] = ("unet",)
    activations: tuple[str, ...] = ("relu",)
    starts: bool = False


def _lung_nodules(request: Request) -> Path:
    from training.lung_nodules import recipe

    plan = recipe.Plan(
        seed=request.seed,
        activation=request.activation,
        device=request.device,
        resume=request.resume,
        minutes=request.minutes,
        start=request.start,
    )
    sources = recipe.Sources()
    if request.layout == "lidc-slices" and request.data is not None:
        sources = recipe.Sources.within(request.data)
    return recipe.train(sources, request.out, plan)


def _polyps(request: Request) -> Path:
    from training.polyps import recipe
    from training.polyps.network import SCHEDULE

    schedule = replace(SCHEDULE, minutes=request.minutes)
    plan = recipe.Plan(seed=request.seed, device=request.device, resume=request.resume, schedule=schedule)
    return recipe.train(request.out, plan)


def _chest_xray(request: Request) -> Path:
    """Labels and lung masks come from different sets: ``data`` is one folder of layout ``nih`` with one of
    layout ``lung-masks`` in it, or holds folders of both."""
    from training.chest_xray import recipe
    from training.chest_xray.lungs import SCHEDULE

    assert request.data is not None
    folders = [request.data, *sorted(p for p in request.data.iterdir() if p.is_dir())]
    labelled = [f for f in folders if (f / "labels.csv").is_file() and (f / "images").is_dir()]
    masked = [f for f in folders if (f / "index.csv").is_file() and (f / "masks").is_dir()]
    if not labelled or len(masked) != 1:
        raise BrokenDataError(
            f"{request.data} needs folders with labels.csv and images (there are {len(labelled)}), and one "
            f"with index.csv and masks to learn lungs from (there are {len(masked)})"
        )
    schedule = replace(SCHEDULE, minutes=request.minutes)
    plan = recipe.Plan(request.seed, request.device, request.resume, schedule)
    return recipe.train(labelled, masked[0], request.out, plan)


def _growth(request: Request) -> Path:
    from inference.catalogue import Catalogue
    from inference.model_repository import sync
    from training.growth.forecaster import export, train

    network, figures = train(request.seed)
    repository = request.out / "models"
    export(network, figures, repository, request.seed)
    sync(Catalogue(repository))
    return repository


def _registration(request: Request) -> Path:
    from training.registration import recipe

    schedule = replace(recipe.SCHEDULE, minutes=request.minutes)
    plan = recipe.Plan(seed=request.seed, device=request.device, resume=request.resume, schedule=schedule)
    return recipe.train(request.out, plan)


TASKS: Mapping[str, Task] = {
    "lung-nodules": Task(_lung_nodules, ("phantom", "lidc-slices"), activations=ACTIVATIONS, starts=True),
    "chest-xray": Task(_chest_xray, ("nih",)),
    "polyps": Task(_polyps, ("phantom",)),
    "growth": Task(_growth, ("phantom",), ("lstm",)),
    "registration": Task(_registration, ("phantom",), ("cnn",)),
}
