"""Trains the growth forecaster and puts it into the model repository: some minutes on one core."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from inference.growth.forecast import FEATURES
from training.export import export_one
from training.growth.card import card, text
from training.growth.series import draw_series, tabulate

QUANTILES = (0.05, 0.5, 0.95)
HIDDEN = 48
SERIES = 40_000


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


def train(seed: int = 0, series: int = SERIES, epochs: int = 40) -> Forecaster:
    """A forecaster from simulated series alone."""
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, 1])
    learned = tabulate([draw_series(rng) for _ in range(series)])
    network = Forecaster()
    optimizer = torch.optim.AdamW(network.parameters(), 4e-3, weight_decay=1e-4)
    batch = 256
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * (series // batch))
    columns = learned.history, learned.horizon, learned.log_change, learned.course, learned.malignancy_change
    data = [torch.from_numpy(column) for column in columns]
    for _ in range(epochs):
        order = torch.randperm(series)
        for start in range(0, series - batch + 1, batch):
            history, horizon, change, course, malignancy = (
                each[order[start : start + batch]] for each in data
            )
            guessed, logits, suspected = network.logits(history, horizon)
            read = ~malignancy.isnan()
            loss = (
                _pinball(guessed, change)
                + 0.2 * nn.functional.cross_entropy(logits, course)
                + 0.5 * _pinball(suspected[read], malignancy[read])
            )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            rate.step()
    return network.eval()


def export(network: Forecaster, repository: Path, seed: int = 0, series: int = SERIES) -> None:
    """Write ONNX, card, text and parity sample into ``repository``; ``inference.model_repository`` writes
    what follows from them."""
    rng = np.random.default_rng([seed, 2])
    table = tabulate([draw_series(rng) for _ in range(4)])
    inputs = {"history": torch.from_numpy(table.history), "horizon": torch.from_numpy(table.horizon)}
    dynamic = {name: {0: "batch"} for name in inputs}
    export_one(network, inputs, dynamic, card(seed, series), repository, text())


def _rising(out: Tensor) -> Tensor:
    """(n, 3): quantiles in their order."""
    middle = out[:, 1:2]
    below, above = nn.functional.softplus(out[:, 0:1]), nn.functional.softplus(out[:, 2:3])
    return torch.cat([middle - below, middle, middle + above], 1)


def _pinball(guessed: Tensor, truth: Tensor) -> Tensor:
    levels = torch.tensor(QUANTILES)
    missed = truth[:, None] - guessed
    return torch.maximum(levels * missed, (levels - 1) * missed).sum(1).mean()
