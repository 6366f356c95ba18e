"""A short training of one network for polyps, at half the usual size, to compare networks by."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from inference.readers.endoscopic import SIZE
from training.contest import Trial
from training.phantoms.endoscopy import Frame
from training.polyps.network import SCHEDULE, dice_of, train_polyps
from training.polyps.recipe import Plan, kept_frames

_LEARNED, _HELD_OUT = 240, 80
_SIDE = SIZE // 2


def trial(out: Path, architecture: str, activation: str, steps: int, seed: int) -> Trial:
    """The same frames for every network and seed; they are kept in ``out``, and so is what came of it."""
    folder = out / f"{architecture}-{activation}-{steps}-{seed}"
    if (folder / "trial.json").is_file():
        return Trial(**json.loads((folder / "trial.json").read_text()))
    learned = kept_frames(out / "learned.npz", Plan(frames=_LEARNED, seed=1))
    held_out = kept_frames(out / "held-out.npz", Plan(frames=_HELD_OUT, seed=2))
    schedule = replace(SCHEDULE, steps=steps, warm_up=min(SCHEDULE.warm_up, steps // 4 + 1))
    started = time.process_time()
    network = train_polyps(
        [_half(frame) for frame in learned],
        folder,
        schedule,
        seed=seed,
        activation=activation,
        architecture=architecture,
    )
    seconds = time.process_time() - started
    scored = [_half(frame) for frame in held_out if frame.mask.any()]
    with torch.no_grad():
        score = float(np.mean(dice_of(network, scored)))
    found = Trial(score, sum(p.numel() for p in network.parameters()), seconds / steps)
    (folder / "trial.json").write_text(json.dumps(asdict(found)) + "\n")
    return found


def _half(frame: Frame) -> Frame:
    size = (_SIDE, _SIDE)
    mask = Image.fromarray(frame.mask.astype(np.float32)).resize(size, Image.Resampling.BOX)
    picture = Image.fromarray(frame.picture).resize(size, Image.Resampling.BOX)
    return Frame(np.asarray(picture), np.asarray(mask) >= 0.5)
