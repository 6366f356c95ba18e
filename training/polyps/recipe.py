"""How the network of ``polyps`` is made, from nothing to a model repository."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from inference.catalogue import Catalogue
from inference.model_repository import sync
from inference.readers.polyps import POLYPS
from training.begun import begin
from training.datasets.layouts import read_cases
from training.datasets.splits import kept_splits
from training.kept import digest
from training.loop import Schedule
from training.phantoms.endoscopy import Frame
from training.polyps.cards import polyps_card
from training.polyps.growing import load_grown
from training.polyps.network import SCHEDULE, PolypNetwork, frames_of, phantom_frames, train_polyps
from training.segmenter import SegmenterForService, export_picture_network
from training.shipped import earlier_weights, learned_before

_CHECKED = 200  # at most
_OTHERS = 1000  # seeds beyond those of the frames that are learned from


@dataclass(frozen=True)
class Plan:
    """How much of everything. ``frames``: procedural ones. ``seed`` is that of the frames and of the weights;
    ``start``: the folder of an earlier run or of models, whose weights are gone on from."""

    frames: int = 3200
    seed: int = 1
    device: str = "cpu"
    resume: bool = True
    schedule: Schedule = SCHEDULE
    activation: str = "relu"
    architecture: str = "unet"
    start: Path | None = None


def train(data: Path | None, layout: str, out: Path, plan: Plan) -> Path:
    """Train and write ``out/models``, a model repository; returns that folder.

    layout: ``phantom`` needs no ``data``. Of a data set, the patients that ``out/splits.json`` calls train
    are learned from, as much as the procedural frames; those of validation, or other procedural frames where
    there are none, choose the weights.

    Raises:
        BrokenDataError: no weights in ``plan.start``, data that is not laid out so, or ``out`` of another
            run.
    """
    options = {"activation": plan.activation, "architecture": plan.architecture}
    network = PolypNetwork(**options)
    start = earlier_weights(
        plan.start, "polyps", POLYPS, network, SegmenterForService, take=load_grown, options=options
    )
    real: list[Frame] = []
    checked: list[Frame] = []
    if layout != "phantom":
        assert data is not None
        cases = read_cases(layout, data)
        split = kept_splits(out / "splits.json", (case.patient for case in cases))
        real = frames_of([case for case in cases if split[case.patient] == "train"])
        held = [case for case in cases if split[case.patient] == "validation"]
        checked = frames_of(held[:: max(1, -(-len(held) // _CHECKED))])
    seen = (*real, *checked)
    shown = digest(*(values.tobytes() for frame in seen for values in (frame.picture, frame.mask)))
    made_from = {"layout": layout, "data": shown, "phantoms": plan.frames, "seed": plan.seed, **options}
    begin(out / "polyps", made_from, resume=plan.resume, start=start)
    frames = kept_frames(out / f"frames-varied-{plan.seed}-{plan.frames}.npz", plan)
    others = replace(plan, frames=min(max(1, plan.frames // 10), _CHECKED), seed=plan.seed + _OTHERS)
    trained = train_polyps(
        frames,
        out / "polyps",
        plan.schedule,
        real=real,
        checked=checked or kept_frames(out / f"frames-checked-{others.seed}-{others.frames}.npz", others),
        seed=plan.seed,
        resume=plan.resume,
        device=plan.device,
        activation=plan.activation,
        architecture=plan.architecture,
        start=start,
    )
    name = "" if layout == "phantom" else layout
    export(
        trained.to("cpu"),
        out / "models",
        phantoms=plan.frames,
        real=len(real),
        data_set=name,
        before=learned_before(plan.start, POLYPS),
    )
    return out / "models"


def kept_frames(path: Path, plan: Plan) -> list[Frame]:
    """The procedural frames of a plan; those of an earlier run that was ended lie in ``path``."""
    if not (plan.resume and path.exists()):
        frames = phantom_frames(plan.frames, plan.seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part.npz")
        np.savez(part, pictures=[f.picture for f in frames], masks=[f.mask for f in frames])
        part.replace(path)
    with np.load(path) as kept:
        return [Frame(*pair) for pair in zip(kept["pictures"], kept["masks"], strict=True)]


def export(
    network: nn.Module,
    repository: Path,
    *,
    phantoms: int,
    real: int = 0,
    data_set: str = "",
    before: Sequence[dict[str, Any]] = (),
    metrics: Sequence[dict[str, Any]] = (),
    version: int = 1,
) -> None:
    """The network as ONNX with card, README, parity sample and Triton configuration."""
    card = polyps_card(version, phantoms, metrics, real=real, data_set=data_set, before=before)
    export_picture_network(SegmenterForService(network), card, repository)
    sync(Catalogue(repository))
