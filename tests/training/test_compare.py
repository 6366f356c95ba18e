"""Activations and architectures side by side."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from training import compare as comparison
from training.compare import compare
from training.contest import Contest, Trial
from training.errors import TaskError
from training.segmenter import ARCHITECTURES
from training.tasks import ACTIVATIONS, TASKS


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_network_draws_on_every_pixel_and_learns(architecture: str, activation: str) -> None:
    network = ARCHITECTURES[architecture](3, 2, activation=activation)
    pictures = torch.rand(2, 3, 32, 48)
    drawn = network(pictures)
    assert drawn.shape == (2, 2, 32, 48)
    drawn.square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters() if p.dim() > 1)


def test_the_networks_that_are_compared_can_be_trained() -> None:
    for task, contest in comparison.CONTESTS.items():
        known, compared = TASKS[task], contest()
        for architecture, activation in compared.variants():
            assert architecture in known.architectures and activation in known.activations


def test_rows_are_means_over_seeds_best_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def trial(out: Path, architecture: str, activation: str, steps: int, seed: int) -> Trial:
        return Trial({"relu": 0.5, "elu": 0.7}[activation] + 0.1 * seed, 10, 0.01)

    contest = Contest(trial, "score", ("unet", "deeplab"), ("relu", "elu"))
    monkeypatch.setattr(comparison, "CONTESTS", {"polyps": lambda: contest})
    found = compare("polyps", tmp_path, steps=3, seeds=2)
    assert [(row["architecture"], row["activation"]) for row in found["rows"]] == [
        ("unet", "elu"),
        ("unet", "relu"),
        ("deeplab", "relu"),
    ]
    best = found["rows"][0]
    assert best["score"] == pytest.approx(0.85) and best["deviation"] == pytest.approx(0.0707, abs=1e-3)


def test_a_task_without_variants_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="nothing can be compared of 'growth'; there is: polyps"):
        compare("growth", tmp_path, steps=1, seeds=1)
