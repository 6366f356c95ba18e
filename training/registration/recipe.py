"""How the network of ``registration`` is made, from nothing to a model repository."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from inference.catalogue import Catalogue
from inference.model_repository import sync
from inference.parity import write_parity_sample
from training.export import write_model, write_onnx
from training.loop import Batch, Losses, Schedule, fit
from training.registration.bank import bank
from training.registration.cards import TEXT, registration_card
from training.registration.network import Registrar
from training.registration.pairs import COARSE, PairSource

SCHEDULE = Schedule(
    steps=650, learning_rate=3e-3, warm_up=40, validate_every=100, checkpoint_every=50, average=0.98
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
    that folder."""
    chests = bank(range(_FIRST_CHEST, _FIRST_CHEST + plan.chests), out / "chests")
    held_out = PairSource(bank(range(_FIRST_HELD_OUT, _FIRST_HELD_OUT + _HELD_OUT), out / "chests"), 0)
    seen = [held_out(step) for step in range(4)]
    torch.manual_seed(plan.seed)
    network = Registrar()
    fit(
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
    export(network.to("cpu"), out / "models", chests=plan.chests)
    return out / "models"


def loss(network: nn.Module, batch: Batch) -> Losses:
    """Mean distance, in cm, of where the network finds the places of the body and where they are."""
    ct, pet, there, weight = batch
    (displacement,) = network(ct, pet)
    missed = (displacement.flatten(2).mT - (there - COARSE.to(ct.device))).norm(dim=-1)
    return {"missed": (missed * weight).sum() / weight.sum().clamp(min=1) / 10}


def _figures(network: nn.Module, batches: Sequence[Batch], device: str) -> Mapping[str, float]:
    """The mean error of one look in mm, and its negative as the score."""
    found = [loss(network, tuple(part.to(device) for part in batch))["missed"] for batch in batches]
    missed = 10 * float(torch.stack(found).mean())
    return {"score": -missed, "missed": missed}


def export(
    network: Registrar,
    repository: Path,
    *,
    chests: int,
    metrics: Sequence[Mapping[str, Any]] = (),
    version: int = 1,
) -> None:
    """The network as ONNX with card, README, parity sample and Triton configuration."""
    card = registration_card(version, chests, metrics)
    folder = repository / str(card["name"])
    rng = torch.Generator().manual_seed(0)
    coarse = {name: torch.randn((1, 1, 16, 12, 20), generator=rng) for name in ("ct", "pet")}
    inputs = {
        name: nn.functional.interpolate(values, size=card["inputs"][0]["dims"][2:], mode="trilinear")
        for name, values in coarse.items()
    }
    batch = {name: {0: "batch"} for name in inputs}
    path = folder / str(version) / "model.onnx"
    answers = write_onnx(network, inputs, ["displacement"], batch, path)
    checked = write_model(repository, card, TEXT)
    write_parity_sample(folder, checked, {name: values.numpy() for name, values in inputs.items()}, answers)
    sync(Catalogue(repository))
