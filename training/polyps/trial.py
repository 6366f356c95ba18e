"""A short training of one network for polyps, at half the usual size, to compare networks by."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from inference.readers.endoscopic import SIZE
from training.contest import Trial, Variant, tried
from training.phantoms.endoscopy import Frame
from training.polyps.network import SCHEDULE, dice_of, train_polyps
from training.polyps.recipe import Plan, kept_frames

METRIC = "mean Dice on held-out phantom frames"
_LEARNED, _HELD_OUT = 240, 80
_SIDE = SIZE // 2


def trial(out: Path, variant: Variant) -> Trial:
    """The same frames for every network and seed; they are kept in ``out``, and so is what came of it."""
    schedule = replace(SCHEDULE, steps=variant.steps, warm_up=min(SCHEDULE.warm_up, variant.steps // 4 + 1))

    def train(folder: Path) -> nn.Module:
        learned = kept_frames(out / "learned.npz", Plan(frames=_LEARNED, seed=1))
        return train_polyps(
            [_half(frame) for frame in learned],
            folder,
            schedule,
            seed=variant.seed,
            activation=variant.activation,
            architecture=variant.architecture,
        )

    def score(network: nn.Module) -> float:
        held_out = kept_frames(out / "held-out.npz", Plan(frames=_HELD_OUT, seed=2))
        with torch.no_grad():
            return float(np.mean(dice_of(network, [_half(frame) for frame in held_out if frame.mask.any()])))

    return tried(out, variant, train, score)


def _half(frame: Frame) -> Frame:
    size = (_SIDE, _SIDE)
    mask = Image.fromarray(frame.mask.astype(np.float32)).resize(size, Image.Resampling.BOX)
    picture = Image.fromarray(frame.picture).resize(size, Image.Resampling.BOX)
    return Frame(np.asarray(picture), np.asarray(mask) >= 0.5)
