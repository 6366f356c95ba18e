"""Trains the growth forecaster and puts it into the model repository: under a minute on one core."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from inference.growth.forecast import FEATURES, log_linear
from training.export import export_one
from training.growth.card import Figures, card, text
from training.growth.series import Series, course_of, draw_series, tabulate

QUANTILES = (0.05, 0.5, 0.95)
HIDDEN = 32


class Forecaster(nn.Module):
    """``history`` (n, 8, 5) and ``horizon`` (n, 1) in years to quantiles of the log change (n, 3) and
    probabilities of the course (n, 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.memory = nn.LSTM(FEATURES, HIDDEN, batch_first=True)
        self.head = nn.Sequential(nn.Linear(HIDDEN + 2, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 6))

    def logits(self, history: Tensor, horizon: Tensor) -> tuple[Tensor, Tensor]:
        seen, _ = self.memory(history)
        out = self.head(torch.cat([seen[:, -1], horizon, torch.sqrt(horizon)], 1))
        middle = out[:, 1:2]
        low, high = middle - nn.functional.softplus(out[:, 0:1]), middle + nn.functional.softplus(out[:, 2:3])
        return torch.cat([low, middle, high], 1), out[:, 3:]

    def forward(self, history: Tensor, horizon: Tensor) -> tuple[Tensor, Tensor]:
        change, course = self.logits(history, horizon)
        return change, torch.softmax(course, 1)


def train(seed: int = 0, series: int = 20_000, epochs: int = 40) -> tuple[Forecaster, Figures]:
    """A forecaster from simulated series alone, and how it does on 4,000 that it never saw."""
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, 1])
    learned = tabulate([draw_series(rng) for _ in range(series)])
    held_out = [draw_series(rng) for _ in range(4000)]
    network = Forecaster()
    optimizer = torch.optim.AdamW(network.parameters(), 4e-3, weight_decay=1e-4)
    batch = 256
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * (series // batch))
    data = [
        torch.from_numpy(a) for a in (learned.history, learned.horizon, learned.log_change, learned.course)
    ]
    for _ in range(epochs):
        order = torch.randperm(series)
        for start in range(0, series - batch + 1, batch):
            history, horizon, change, course = (each[order[start : start + batch]] for each in data)
            guessed, logits = network.logits(history, horizon)
            loss = _pinball(guessed, change) + 0.2 * nn.functional.cross_entropy(logits, course)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            rate.step()
    network.eval()
    return network, measure(network, held_out)


def measure(network: Forecaster, series: list[Series]) -> Figures:
    table = tabulate(series)
    with torch.no_grad():
        change, course = (
            t.numpy() for t in network(torch.from_numpy(table.history), torch.from_numpy(table.horizon))
        )
    fitted = np.array(
        [math.log(log_linear(s.points, s.horizon_days) / s.points[-1].volume_mm3) for s in series]
    )
    pace = fitted / np.array([s.horizon_days for s in series])
    rule = course_of(pace)
    inside = (table.log_change >= change[:, 0]) & (table.log_change <= change[:, 2])
    return Figures(
        mae=float(np.abs(change[:, 1] - table.log_change).mean()),
        mae_log_linear=float(np.abs(fitted - table.log_change).mean()),
        mae_last_value=float(np.abs(table.log_change).mean()),
        course_accuracy=float((course.argmax(1) == table.course).mean()),
        course_accuracy_rule=float((rule == table.course).mean()),
        coverage=float(inside.mean()),
        cases=len(series),
    )


def export(network: Forecaster, figures: Figures, repository: Path, seed: int = 0) -> None:
    """Write ONNX, card, text and parity sample into ``repository``; ``inference.model_repository`` writes
    what follows from them."""
    rng = np.random.default_rng([seed, 2])
    table = tabulate([draw_series(rng) for _ in range(4)])
    inputs = {"history": torch.from_numpy(table.history), "horizon": torch.from_numpy(table.horizon)}
    dynamic = {name: {0: "batch"} for name in inputs}
    export_one(network, inputs, dynamic, card(figures), repository, text())


def _pinball(guessed: Tensor, truth: Tensor) -> Tensor:
    levels = torch.tensor(QUANTILES)
    missed = truth[:, None] - guessed
    return torch.maximum(levels * missed, (levels - 1) * missed).sum(1).mean()
