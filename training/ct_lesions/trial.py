"""A short training of the first network of ``ct-lesions``, to compare networks by."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from rich.progress import track
from torch import nn

from training.contest import Trial, Variant, tried
from training.ct_lesions.detector import PatchBatches, dice, train_detector
from training.ct_lesions.patches import SIZE, Shard, phantom_shard
from training.loop import Schedule

METRIC = "Dice of lesions in held-out phantom patches"
_LEARNED, _HELD_OUT = range(3000, 3006), range(3006, 3008)
_AT_ONCE = 4


def trial(out: Path, variant: Variant) -> Trial:
    """The same patches for every network and seed; they are kept in ``out``, and so is what came of it."""
    steps = variant.steps
    schedule = Schedule(steps, 3e-3, warm_up=min(100, steps // 4 + 1), validate_every=steps)

    def train(folder: Path) -> nn.Module:
        network, _ = train_detector(
            _shards(_LEARNED, out),
            _shards(_HELD_OUT, out),
            folder,
            schedule,
            seed=variant.seed,
            activation=variant.activation,
            architecture=variant.architecture,
        )
        return network

    def score(network: nn.Module) -> float:
        batches = PatchBatches(_shards(_HELD_OUT, out), 0, _AT_ONCE, SIZE, perturbed=False)
        drawn = []
        with torch.no_grad():
            for batch in map(batches, range(batches.round)):
                _, inside = network(batch[0])
                drawn.append(dice(inside[:, 0], batch[-2], batch[-1]))
        return float(np.mean(drawn))

    return tried(out, variant, train, score)


def _shards(seeds: Iterable[int], folder: Path) -> list[Shard]:
    """The patches of phantom trunks, which are kept in ``folder``."""
    names = [phantom_shard(seed, folder) for seed in track(list(seeds), "phantom trunks", transient=True)]
    return [Shard.opened(folder, name) for name in names]
