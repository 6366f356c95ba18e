"""Trains the growth forecaster and puts it into the model repository: some minutes on one core."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from rich.progress import track
from torch import Tensor, nn

from inference.growth.forecast import FEATURES
from training.begun import begin
from training.export import export_one
from training.growth.card import card, text
from training.growth.series import draw_series, tabulate
from training.loop import Batch, Schedule, fit

QUANTILES = (0.05, 0.5, 0.95)
HIDDEN = 48
BATCH = 256
SCHEDULE = Schedule(steps=6000, learning_rate=4e-3, validate_every=300)
_MANY = 1000


class Forecaster(nn.Module):
    """``history`` (n, 8, 8) and ``horizon`` (n, 1) in years to quantiles of the log change of volume (n, 3),
    probabilities of the course (n, 3), and quantiles of the change of the suspicion's logit (n, 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.memory = nn.LSTM(FEATURES, HIDDEN, batch_first=True)
        self.head = nn.Sequential(nn.Linear(HIDDEN + 2, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 9))

    def logits(self, history: Tensor, horizon: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        seen, _ = self.memory(history)
        out = self.head(torch.cat([seen[:, -1], horizon, torch.sqrt(horizon)], 1))
        return _rising(out[:, :3]), out[:, 3:6], _rising(out[:, 6:])

    def forward(self, history: Tensor, horizon: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        change, course, malignancy = self.logits(history, horizon)
        return change, torch.softmax(course, 1), malignancy


@dataclass(frozen=True)
class Plan:
    """How much of everything. ``seed`` is that of the series and of the weights."""

    series: int = 40_000
    seed: int = 0
    device: str = "cpu"
    resume: bool = True
    schedule: Schedule = SCHEDULE


def train(out: Path, plan: Plan) -> Forecaster:
    """A forecaster from simulated series alone; a twentieth as many others choose its weights. A second call
    goes on where the first was stopped.

    Raises:
        BrokenDataError: another run lies in ``out``.
    """
    begin(out / "forecaster", {"series": plan.series, "seed": plan.seed}, resume=plan.resume)
    rng = np.random.default_rng([plan.seed, 1])
    learned, held_out = (_drawn(count, rng) for count in (plan.series, max(1, plan.series // 20)))
    torch.manual_seed(plan.seed)
    network = Forecaster()

    def validate(network: nn.Module) -> Mapping[str, float]:
        parts = loss(network, tuple(column.to(plan.device) for column in held_out))
        return {"score": -sum(float(part) for part in parts.values())}

    fit(
        network,
        partial(_batch, learned, plan.seed),
        loss,
        validate,
        out / "forecaster",
        plan.schedule,
        seed=plan.seed,
        resume=plan.resume,
        device=plan.device,
        title="forecaster",
    )
    return network.to("cpu")


def _drawn(count: int, rng: np.random.Generator) -> Batch:
    table = tabulate([draw_series(rng) for _ in track(range(count), "series", disable=count < _MANY)])
    columns = table.history, table.horizon, table.log_change, table.course, table.malignancy_change
    return tuple(torch.from_numpy(column) for column in columns)


def _batch(series: Batch, seed: int, step: int) -> Batch:
    """All series in turn, in another order each time."""
    count = len(series[0])
    turn, at = divmod(step, max(1, count // BATCH))
    order = np.random.default_rng([seed, 3, turn]).permutation(count)[at * BATCH : (at + 1) * BATCH]
    return tuple(column[torch.from_numpy(order)] for column in series)


def loss(network: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """Of the volume's quantiles, the course, and the quantiles of the suspicion where there is one."""
    history, horizon, change, course, malignancy = batch
    assert isinstance(network, Forecaster)
    guessed, logits, suspected = (part.float() for part in network.logits(history, horizon))
    read = ~malignancy.isnan()
    return {
        "change": _pinball(guessed, change),
        "course": 0.2 * nn.functional.cross_entropy(logits, course),
        "malignancy": 0.5 * _pinball(suspected[read], malignancy[read]),
    }


def export(network: Forecaster, repository: Path, plan: Plan) -> None:
    """Write ONNX, card, text and parity sample into ``repository``; ``inference.model_repository`` writes
    what follows from them."""
    rng = np.random.default_rng([plan.seed, 2])
    table = tabulate([draw_series(rng) for _ in range(4)])
    inputs = {"history": torch.from_numpy(table.history), "horizon": torch.from_numpy(table.horizon)}
    dynamic = {name: {0: "batch"} for name in inputs}
    export_one(network, inputs, dynamic, card(plan.seed, plan.series), repository, text())


def _rising(out: Tensor) -> Tensor:
    """(n, 3): quantiles in their order."""
    middle = out[:, 1:2]
    below, above = nn.functional.softplus(out[:, 0:1]), nn.functional.softplus(out[:, 2:3])
    return torch.cat([middle - below, middle, middle + above], 1)


def _pinball(guessed: Tensor, truth: Tensor) -> Tensor:
    """A mean over what may be nothing at all."""
    levels = torch.tensor(QUANTILES, device=guessed.device)
    missed = truth[:, None] - guessed
    return torch.maximum(levels * missed, (levels - 1) * missed).sum() / max(1, len(truth))
