"""Activations and architectures side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from training import compare as comparison
from training.compare import compare
from training.contest import Contest, Trial, Variant, tried
from training.ct_lesions import trial as ct_lesions
from training.ct_lesions.networks import LesionNet
from training.ct_lesions.patches import Shard, Spot, keep
from training.errors import TaskError
from training.loop import History, Schedule
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
        for architecture, activation in compared.networks():
            assert architecture in known.architectures and activation in known.activations


def test_rows_are_means_over_seeds_best_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def trial(out: Path, variant: Variant) -> Trial:
        return Trial({"relu": 0.5, "elu": 0.7}[variant.activation] + 0.1 * variant.seed, 10, 0.01)

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
    with pytest.raises(TaskError, match="nothing can be compared of 'growth'; there is: ct-lesions, polyps"):
        compare("growth", tmp_path, steps=1, seeds=1)


def test_a_trial_is_made_once_and_kept_by_its_network_steps_and_seed(tmp_path: Path) -> None:
    trained: list[Path] = []

    def train(folder: Path) -> torch.nn.Module:
        folder.mkdir()
        torch.save({"history": {"step": 10, "seconds": 2.5}}, folder / "checkpoint.pt")
        trained.append(folder)
        return torch.nn.Linear(3, 1)

    def score(network: torch.nn.Module) -> float:
        return 0.5

    variants = [Variant("unet", "relu", 10, 1), Variant("unet", "elu", 10, 1)]
    found = [tried(tmp_path, one, train, score) for one in (*variants, variants[0])]
    assert trained == [tmp_path / "unet-relu-10-1", tmp_path / "unet-elu-10-1"]
    assert found[2] == found[0] and found[0] == Trial(0.5, 4, 0.25)


def test_first_networks_of_ct_lesions_are_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def shard(seed: int, folder: Path) -> str:
        hu = np.random.default_rng(seed).normal(40, 20, (1, 64, 64, 64)).astype(np.int16)
        share = np.zeros(hu.shape, np.uint8)
        share[0, 28:36, 28:36, 28:36] = 255
        keep(folder, f"trunk-{seed}", {"hu": hu, "share": share}, [[Spot((63.0,) * 3, 19.9, "liver", True)]])
        return f"trunk-{seed}"

    def train(
        learned: Sequence[Shard], held_out: Sequence[Shard], out: Path, schedule: Schedule, **options: Any
    ) -> tuple[LesionNet, History]:
        assert (len(learned), len(held_out)) == (6, 2)
        assert not any(np.array_equal(a.hu, b.hu) for a in learned for b in held_out)
        assert (schedule.steps, options) == (7, {"seed": 3, "activation": "elu", "architecture": "deeplab"})
        out.mkdir()
        torch.save({"history": {"step": 7, "seconds": 14.0}}, out / "checkpoint.pt")
        return LesionNet(options["activation"], options["architecture"]).eval(), History()

    monkeypatch.setattr(ct_lesions, "phantom_shard", shard)
    monkeypatch.setattr(ct_lesions, "train_detector", train)
    found = ct_lesions.trial(tmp_path, Variant("deeplab", "elu", 7, 3))
    assert 0 <= found.score < 1 and found.seconds_per_step == 2.0
