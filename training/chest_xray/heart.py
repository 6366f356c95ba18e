"""Trains the network that draws the heart, on phantoms, whose hearts alone are known at every pixel."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from inference.readers.radiograph import around, square
from training.chest_xray.heart_batches import HeartCase, HeartSource, close_ups
from training.chest_xray.lungs import lung_masks
from training.chest_xray.outlines import parted, train_outlines
from training.datasets.case import Case
from training.loop import Schedule
from training.segmenter import Segmenter
from training.shipped import Weights

SCHEDULE = Schedule(steps=1500, learning_rate=4e-3, warm_up=50, average=0.995)
WIDTHS = (16, 32, 48, 64)


def heart_network() -> Segmenter:
    """(batch, 1, size, size) to the logits of the heart, alike."""
    return Segmenter(1, 1, WIDTHS)


def heart_cases(cases: Sequence[Case]) -> list[HeartCase]:
    """Square radiographs with a mask ``heart`` and those of the lungs, as the network learns from them."""
    return [_fitted(case) for case in cases]


def _fitted(case: Case) -> HeartCase:
    assert case.load_masks is not None
    pixels = case.load().pixels
    lungs = lung_masks(case)
    grey = pixels.astype(np.float32) / max(float(pixels.max()), 1.0)
    close = around(lungs[0] | lungs[1], square(pixels))
    return HeartCase(case.patient, grey, case.load_masks()["heart"], lungs, close)


def train_heart(
    cases: Sequence[HeartCase],
    out: Path,
    schedule: Schedule = SCHEDULE,
    *,
    seed: int = 1,
    resume: bool = True,
    device: str = "cpu",
    start: Weights | None = None,
) -> Segmenter:
    """What a tenth of the phantoms, held out, have drawn best is kept. start: weights to begin with.

    Raises:
        BrokenDataError: a run on other radiographs, with others held out, or of another seed, has begun in
            ``out``.
    """
    learned, held = parted(cases)
    shown = (values for case in cases for values in (case.picture, case.heart))
    return train_outlines(
        heart_network,
        shown,
        (case.patient for case in held),
        HeartSource(learned, seed),
        out,
        schedule,
        title="heart",
        seed=seed,
        resume=resume,
        device=device,
        start=start,
        held_out=close_ups(held, np.random.default_rng((seed, 32))) if held else None,
    )
