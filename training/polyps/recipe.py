"""How the network of ``polyps`` is made and measured, from nothing to a model repository."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from inference.catalogue import Catalogue
from inference.model_repository import sync
from inference.parity import write_parity_sample
from training.export import random_input, write_model, write_onnx
from training.loop import Schedule
from training.polyps.cards import polyps_card
from training.polyps.network import PolypCase, dice_of, phantom_frames, train_polyps
from training.segmenter import Segmenter, SegmenterForService

_HELD_OUT_SEED = 99


@dataclass(frozen=True)
class Plan:
    """How much of everything. ``seed`` is that of the frames and of the weights."""

    frames: int = 400
    seed: int = 1
    device: str = "cpu"
    resume: bool = True
    schedule: Schedule | None = None


def train(out: Path, plan: Plan) -> Path:
    """Train on procedural frames and write ``out/models``, a model repository; returns that folder."""
    chosen = {} if plan.schedule is None else {"schedule": plan.schedule}
    network, _ = train_polyps(
        phantom_frames(plan.frames, plan.seed),
        out / "polyps",
        seed=plan.seed,
        resume=plan.resume,
        device=plan.device,
        **chosen,
    )
    export(network.to("cpu"), out / "models", frames=plan.frames, metrics=[])
    return out / "models"


def evaluate(network: Segmenter, cases: Sequence[PolypCase] | None = None) -> list[float]:
    """Dice of each picture; of held-out phantoms where no ``cases`` are given."""
    if cases is None:
        frames = phantom_frames(200, _HELD_OUT_SEED)
        cases = [PolypCase(str(k), f.picture, f.mask) for k, f in enumerate(frames) if f.mask.any()]
    return dice_of(network, cases)


def export(
    network: Segmenter,
    repository: Path,
    *,
    frames: int,
    metrics: Sequence[dict[str, Any]],
    version: int = 1,
) -> None:
    """The network as ONNX with card, README, parity sample and Triton configuration."""
    card = polyps_card(version, frames, metrics)
    folder = repository / str(card["name"])
    size = card["inputs"][0]["dims"][-1]
    picture = torch.nn.functional.interpolate(
        random_input((2, 3, 16, 16)), size=(size, size), mode="bilinear"
    )
    path = folder / str(version) / "model.onnx"
    batch = {"picture": {0: "batch"}}
    answers = write_onnx(SegmenterForService(network), {"picture": picture}, ["polyps"], batch, path)
    checked = write_model(repository, card, f"# {card['name']}\n\n{card['task']}.\n")
    write_parity_sample(folder, checked, {"picture": picture.numpy()}, answers)
    sync(Catalogue(repository))
