"""The tasks that can be trained: on which layouts, with which options, and what each run calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

ACTIVATIONS = ("relu", "leaky_relu", "gelu", "silu", "elu")


@dataclass(frozen=True)
class Request:
    """What a run of training was asked for. ``minutes``: at most so long, None until every step is done.
    ``start``: the folder of an earlier run, or a model repository, whose weights this one goes on from."""

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
    ``starts``: whether it can go on from other weights."""

    train: Callable[[Request], Path]
    layouts: tuple[str, ...]
    architectures: tuple[str, ...] = ("unet",)
    activations: tuple[str, ...] = ("relu",)
    starts: bool = False


def _ct_lesions(request: Request) -> Path:
    """On phantoms alone, or with the real scans of a folder as backgrounds, or DeepLesion's, too."""
    from training.ct_lesions import recipe
    from training.ct_lesions.sources import marked_in, scans_in

    plan = recipe.Plan(
        seed=request.seed,
        activation=request.activation,
        architecture=request.architecture,
        device=request.device,
        resume=request.resume,
        minutes=request.minutes,
        start=request.start,
    )
    scans = scans_in(request.data) if request.layout == "backgrounds" and request.data else []
    marked = marked_in(request.data) if request.layout == "deeplesion" and request.data else None
    return recipe.train(scans, request.out, plan, marked)


def _lung_nodules(request: Request) -> Path:
    from training.lung_nodules import recipe
    from training.lung_nodules.sources import Sources, lidc_and_scans, luna16

    plan = recipe.Plan(
        seed=request.seed,
        activation=request.activation,
        device=request.device,
        resume=request.resume,
        minutes=request.minutes,
        start=request.start,
    )
    sources = Sources()
    if request.data is not None and request.layout == "luna16":
        sources = luna16(request.data, request.out / "splits.json")
    elif request.data is not None and request.layout == "lidc-slices":
        sources = lidc_and_scans(request.data)
    return recipe.train(sources, request.out, plan)


def _polyps(request: Request) -> Path:
    from training.polyps import recipe
    from training.polyps.network import SCHEDULE

    plan = recipe.Plan(
        seed=request.seed,
        device=request.device,
        resume=request.resume,
        schedule=replace(SCHEDULE, minutes=request.minutes),
        activation=request.activation,
        architecture=request.architecture,
        start=request.start,
    )
    return recipe.train(request.data, request.layout, request.out, plan)


def _chest_xray(request: Request) -> Path:
    """Two fifths of the ``minutes`` each for lungs and findings, and one for the heart."""
    from training.chest_xray import cnn, heart, lungs, recipe
    from training.chest_xray.sources import found_in

    fifth = None if request.minutes is None else request.minutes / 5
    two = None if fifth is None else 2 * fifth
    plan = recipe.Plan(
        seed=request.seed,
        device=request.device,
        resume=request.resume,
        schedule=replace(lungs.SCHEDULE, minutes=two),
        heart=replace(heart.SCHEDULE, minutes=fifth),
        findings=replace(cnn.SCHEDULE, minutes=two),
        activation=request.activation,
        architecture=request.architecture,
        start=request.start,
    )
    if request.layout == "phantom" or request.data is None:
        return recipe.train("phantom", (), None, request.out, plan)
    labelled, masks = found_in(request.data, request.layout)
    return recipe.train(request.layout, labelled, masks, request.out, plan)


def _growth(request: Request) -> Path:
    from inference.catalogue import Catalogue
    from inference.model_repository import sync
    from training.growth.forecaster import SCHEDULE, Plan, export, train

    schedule = replace(SCHEDULE, minutes=request.minutes)
    plan = Plan(seed=request.seed, device=request.device, resume=request.resume, schedule=schedule)
    repository = request.out / "models"
    export(train(request.out, plan), repository, plan)
    sync(Catalogue(repository))
    return repository


def _registration(request: Request) -> Path:
    from training.registration import recipe

    schedule = replace(recipe.SCHEDULE, minutes=request.minutes)
    plan = recipe.Plan(seed=request.seed, device=request.device, resume=request.resume, schedule=schedule)
    return recipe.train(request.out, plan)


def _pet_ct(request: Request) -> Path:
    from training.pet_ct import recipe
    from training.pet_ct.network import SCHEDULE

    schedule = replace(SCHEDULE, minutes=request.minutes)
    plan = recipe.Plan(
        seed=request.seed,
        activation=request.activation,
        device=request.device,
        resume=request.resume,
        schedule=schedule,
        start=request.start,
    )
    return recipe.train(request.out, plan, request.data if request.layout == recipe.LAYOUT else None)


TASKS: Mapping[str, Task] = {
    "ct-lesions": Task(
        _ct_lesions,
        ("phantom", "backgrounds", "deeplesion"),
        architectures=("unet", "deeplab"),
        activations=ACTIVATIONS,
        starts=True,
    ),
    "lung-nodules": Task(
        _lung_nodules, ("phantom", "lidc-slices", "luna16"), activations=ACTIVATIONS, starts=True
    ),
    "chest-xray": Task(
        _chest_xray,
        ("phantom", "nih", "nih14", "chexpert", "mimic-cxr"),
        ("cnn", "scattering"),
        ACTIVATIONS,
        starts=True,
    ),
    "polyps": Task(
        _polyps,
        ("phantom", "kvasir-seg", "cvc-clinicdb", "polyp-masks"),
        ("unet", "deeplab"),
        ACTIVATIONS,
        starts=True,
    ),
    "pet-ct": Task(_pet_ct, ("phantom", "lung-pet-ct-dx"), ("cnn",), ACTIVATIONS, starts=True),
    "growth": Task(_growth, ("phantom",), ("lstm",)),
    "registration": Task(_registration, ("phantom",), ("cnn",)),
}
