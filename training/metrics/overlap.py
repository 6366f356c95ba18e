"""Masks against masks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]


def dice(one: npt.ArrayLike, other: npt.ArrayLike) -> float:
    """Twice the shared size over the sum of both sizes; 1 where both are empty."""
    a, b = _pair(one, other)
    size = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / size if size else 1.0


def iou(one: npt.ArrayLike, other: npt.ArrayLike) -> float:
    """The shared size over that of the union; 1 where both are empty."""
    a, b = _pair(one, other)
    union = int((a | b).sum())
    return int((a & b).sum()) / union if union else 1.0


@dataclass(frozen=True)
class PerImage:
    """Dice and IoU image by image. The field's mDice and mIoU are their means, not those of pooled pixels."""

    dice: tuple[float, ...]
    iou: tuple[float, ...]

    @property
    def mean_dice(self) -> float:
        return float(np.mean(self.dice)) if self.dice else float("nan")

    @property
    def mean_iou(self) -> float:
        return float(np.mean(self.iou)) if self.iou else float("nan")


def per_image(pairs: Iterable[tuple[npt.ArrayLike, npt.ArrayLike]]) -> PerImage:
    """Scores of (true, found) masks, each pair at the native size of its image."""
    scores = [(dice(a, b), iou(a, b)) for a, b in pairs]
    return PerImage(tuple(d for d, _ in scores), tuple(i for _, i in scores))


def _pair(one: npt.ArrayLike, other: npt.ArrayLike) -> tuple[Mask, Mask]:
    a, b = np.asarray(one, bool), np.asarray(other, bool)
    if a.shape != b.shape:
        raise ValueError(f"masks of {a.shape} and {b.shape} cannot be compared")
    return a, b
