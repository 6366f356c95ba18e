"""How the network of ``registration`` is made, from nothing to a model repository."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from inference.catalogue import Catalogue
from inference.model_repository import sync
from inference.parity import write_parity_sample
from training.begun import begin
from training.export import write_model, write_onnx
from training.loop import Batch, Losses, Schedule, fit
from training.registration.bank import bank
from training.registration.cards import TEXT, registration_card
from training.registration.network import Registrar
from training.registration.pairs import BATCH, COARSE, PairSource

SCHEDULE = Schedule(
    steps=400, learning_rate=4e-3, warm_up=20, validate_every=100, checkpoint_every=50, average=0.97
)
_FIRST_CHEST, _FIRST_HELD_OUT, _HELD_OUT = 3000, 3900, 6


@dataclass(frozen=True)
class Plan:
    """How much of everything. ``seed`` is that of the pairs and of the weights."""

    chests: int = 48
    seed: int = 1
    device: str = "cpu"
    resume: bool = True
    schedule: Schedule = SCHEDULE


def train(out: Path, plan: Plan) -> Path:
    """Render chests, train on pairs drawn from them, and write ``out/models``, a model repository; returns
    that folder.

    Raises:
        BrokenDataError: another run lies in ``out``.
    """
    begin(out / "registration", {"chests": plan.chests, "seed": plan.seed}, resume=plan.resume)
    chests = bank(range(_FIRST_CHEST, _FIRST_CHEST + plan.chests), out / "chests")
    held_out = PairSource(bank(range(_FIRST_HELD_OUT, _FIRST_HELD_OUT + _HELD_OUT), out / "chests"), 0)
    seen = [held_out(step) for step in range(4)]
    torch.manual_seed(plan.seed)
    network = Registrar()
    history = fit(
        network,
        PairSource(chests, plan.seed),
        loss,
        lambda network: _figures(network, seen, plan.device),
        out / "registration",
        plan.schedule,
        resume=plan.resume,
        device=plan.device,
        title="registration",
    )
    export(network.to("cpu"), out / "models", chests=plan.chests, pairs=BATCH * history.step)
    return out / "models"


def loss(network: nn.Module, batch: Batch) -> Losses:
    """Mean distances, in cm, of where the places of the body lie to where the motion alone puts them, and
    motion and displacement together. The displacement answers for what the motion leaves over."""
    ct, pet, there, weight = batch
    motion, displacement = network(ct, pet)
    points = COARSE.to(ct.device)
    rigid = there - _turned(points, motion)
    free = rigid.detach() - displacement.flatten(2).mT
    return {"rigid": _mean(rigid, weight), "left": _mean(free, weight)}


def _turned(points: Tensor, motion: Tensor) -> Tensor:
    """(points, 3) under each of (n, 6) motions, by Rodrigues' formula: (n, points, 3)."""
    axis = torch.deg2rad(motion[:, 3:])[:, None]
    angle = axis.norm(dim=-1, keepdim=True).clamp(min=1e-6)
    unit = (axis / angle).expand(-1, len(points), -1)
    given = points.expand(len(motion), -1, -1)
    across = torch.linalg.cross(unit, given)
    along = (unit * given).sum(-1, keepdim=True) * unit
    return given * angle.cos() + across * angle.sin() + along * (1 - angle.cos()) + motion[:, None, :3]


def _mean(vectors: Tensor, weight: Tensor) -> Tensor:
    return (vectors.norm(dim=-1) * weight).sum() / weight.sum().clamp(min=1) / 10


def _figures(network: nn.Module, batches: Sequence[Batch], device: str) -> Mapping[str, float]:
    """Mean errors of one look, in mm; the score is their sum with its sign turned."""
    found = [loss(network, tuple(part.to(device) for part in batch)) for batch in batches]
    means = {name: 10 * float(torch.stack([f[name] for f in found]).mean()) for name in found[0]}
    return {"score": -sum(means.values()), **means}


def export(
    network: Registrar,
    repository: Path,
    *,
    chests: int,
    pairs: int,
    metrics: Sequence[Mapping[str, Any]] = (),
    version: int = 1,
) -> None:
    """The network as ONNX with card, README, parity sample and Triton configuration."""
    card = registration_card(version, chests, pairs, metrics)
    folder = repository / str(card["name"])
    rng = torch.Generator().manual_seed(0)
    coarse = {name: torch.randn((1, 1, 16, 12, 20), generator=rng) for name in ("ct", "pet")}
    inputs = {
        name: nn.functional.interpolate(values, size=card["inputs"][0]["dims"][2:], mode="trilinear")
        for name, values in coarse.items()
    }
    batch = {name: {0: "batch"} for name in inputs}
    path = folder / str(version) / "model.onnx"
    answers = write_onnx(network, inputs, ["motion", "displacement"], batch, path)
    checked = write_model(repository, card, TEXT)
    write_parity_sample(folder, checked, {name: values.numpy() for name, values in inputs.items()}, answers)
    sync(Catalogue(repository))
