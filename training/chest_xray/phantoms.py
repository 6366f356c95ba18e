"""Phantom radiographs to learn from, drawn once and kept beside a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.progress import track

from training.datasets.case import Case, CaseImage, Mask
from training.datasets.chest_labels import CLASSES
from training.kept import Arrays, kept
from training.phantoms.radiograph import DRAWING, Radiograph, radiograph

SIZE = 224
_SEEDS = 10_000  # those from there on are for measuring
_MANY = 100
_PARTS = {"right lung": 1, "left lung": 2, "heart": 4}


def phantom_cases(count: int, seed: int, out: Path) -> list[Case]:
    """``count`` phantoms with labels and masks of the lungs and the heart, kept in ``out``; all of the
    split train: those to measure on are of other seeds."""
    drawn = kept(out / "phantoms", (DRAWING, count, seed, SIZE, *_PARTS), partial(_drawn, count, seed))
    names = ("seeds", "pictures", "masks", "labels", "views")
    return [_case(*one) for one in zip(*(drawn[name] for name in names), strict=True)]


def _drawn(count: int, seed: int) -> Arrays:
    seeds = [(seed * 1009 + k) % _SEEDS for k in range(count)]
    found = [radiograph(one, size=SIZE) for one in track(seeds, "phantoms", disable=count < _MANY)]
    return {
        "seeds": np.array(seeds),
        "pictures": np.stack([(drawn.picture >> 4).astype(np.uint8) for drawn in found]),
        "masks": np.stack([_joined(drawn) for drawn in found]),
        "labels": np.array([[drawn.labels[name] for name in CLASSES] for drawn in found]),
        "views": np.array([drawn.view for drawn in found]),
    }


def _joined(drawn: Radiograph) -> npt.NDArray[np.uint8]:
    """Its masks as one picture, each a bit."""
    parts = zip(_PARTS.values(), (*drawn.lungs, drawn.heart), strict=True)
    return np.sum([bit * mask for bit, mask in parts], axis=0, dtype=np.uint8)


def _case(
    seed: int,
    picture: npt.NDArray[np.uint8],
    masks: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.bool_],
    view: str,
) -> Case:
    load_masks: Callable[[], Mapping[str, Mask]] = partial(_masks, masks)
    return Case(
        id=f"phantom-{seed}",
        patient=f"phantom-{seed}",
        load=partial(CaseImage, picture, "grey"),
        load_masks=load_masks,
        labels=dict(zip(CLASSES, map(float, labels), strict=True)),
        split="train",
        notes={"view": str(view)},
    )


def _masks(masks: npt.NDArray[np.uint8]) -> Mapping[str, Mask]:
    return {part: (masks & bit) > 0 for part, bit in _PARTS.items()}
