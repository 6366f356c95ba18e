"""Detections as boxes: DeepLesion's sensitivities, their volumetric variant, and NODE21's score.

Boxes are arrays (count, 2, axes) of lower and upper corners, two or three axes, in pixels or mm.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.metrics.classification import auroc
from training.metrics.froc import Outcome, froc

DEEPLESION_RATES = (0.5, 1.0, 2.0, 4.0)
"""False positives per image at which DeepLesion's sensitivities are given."""

Floats = npt.NDArray[np.float64]
Overlap = Callable[[Floats, Floats], Floats]


def iou(found: Floats, true: Floats) -> Floats:
    """(found, true): intersection over union."""
    shared = _shared(found, true)
    union = _size(found)[:, None] + _size(true)[None] - shared
    return shared / np.where(union > 0, union, 1)


def iobb(found: Floats, true: Floats) -> Floats:
    """(found, true): intersection over the size of the found box."""
    size = _size(found)[:, None]
    return _shared(found, true) / np.where(size > 0, size, 1)


def center_inside(found: Floats, true: Floats) -> Floats:
    """(found, true): 1 where the centre of the found box lies in the true one, else 0."""
    center = found.mean(1)[:, None]
    inside = (center >= true[None, :, 0]) & (center <= true[None, :, 1])
    return inside.all(-1).astype(np.float64)


def _shared(found: Floats, true: Floats) -> Floats:
    low = np.maximum(found[:, None, 0], true[None, :, 0])
    high = np.minimum(found[:, None, 1], true[None, :, 1])
    shared: Floats = np.clip(high - low, 0, None).prod(-1)
    return shared


def _size(boxes: Floats) -> Floats:
    size: Floats = np.clip(boxes[:, 1] - boxes[:, 0], 0, None).prod(-1)
    return size


def box_outcome(
    true: Floats, found: Floats, scores: Floats, *, overlap: Overlap = iou, above: float = 0.5
) -> Outcome:
    """One image as DeepLesion counts: a box hits every lesion it overlaps by more than ``above``, further
    boxes on a lesion count as neither, boxes on none are false."""
    if not len(true):
        return Outcome((), tuple(scores.tolist()))
    if not len(found):
        return Outcome((None,) * len(true), ())
    hit = overlap(found, true) > above
    best = [float(scores[column].max()) if column.any() else None for column in hit.T]
    return Outcome(
        tuple(best),
        tuple(scores[~hit.any(1)].tolist()),
        double=int(np.maximum(hit.sum(0) - 1, 0).sum()),
    )


def greedy_outcome(true: Floats, found: Floats, scores: Floats, *, above: float = 0.2) -> Outcome:
    """One image as NODE21 counts: boxes by falling score each take the free lesion they overlap most, by an
    IoU of more than ``above``; every other box is false, a second one on a lesion too."""
    best: list[float | None] = [None] * len(true)
    false = []
    overlaps = iou(found, true) if len(found) and len(true) else np.zeros((len(found), len(true)))
    for number in np.argsort(-scores, kind="stable"):
        free = [k for k in range(len(true)) if best[k] is None and overlaps[number, k] > above]
        if free:
            best[max(free, key=lambda k: overlaps[number, k])] = float(scores[number])
        else:
            false.append(float(scores[number]))
    return Outcome(tuple(best), tuple(false))


@dataclass(frozen=True)
class Node21:
    """``score``: 0.75 times the AUROC of images by their highest score, and 0.25 times the sensitivity at
    0.25 false positives per image."""

    auroc: float
    sensitivity: float

    @property
    def score(self) -> float:
        return 0.75 * self.auroc + 0.25 * self.sensitivity


def node21(images: Sequence[Outcome]) -> Node21:
    """The combined score; an image is positive if it holds a nodule, and one without boxes scores lowest."""
    positive = np.array([bool(image.nodules) for image in images])
    highest = [max((s for s in (*i.nodules, *i.false) if s is not None), default=-np.inf) for i in images]
    floor = min((s for s in highest if np.isfinite(s)), default=0.0) - 1
    image_scores = np.array([s if np.isfinite(s) else floor for s in highest])
    curve = froc(images, rates=(0.25,), resamples=0)
    return Node21(auroc(positive, image_scores), curve.at(0.25))
