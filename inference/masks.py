"""How far two masks of one volume agree."""

from __future__ import annotations

import numpy as np

from inference.findings import Mask


def shared_voxels(one: Mask, other: Mask) -> int:
    """How many voxels two masks of one volume share."""
    low = np.maximum(one.origin, other.origin)
    high = np.minimum(np.add(one.origin, one.voxels.shape), np.add(other.origin, other.voxels.shape))
    if (high <= low).any():
        return 0
    a, b = (
        m.voxels[tuple(slice(i - o, j - o) for i, j, o in zip(low, high, m.origin, strict=True))]
        for m in (one, other)
    )
    return int((a & b).sum())


def overlap(one: Mask, other: Mask) -> float:
    """Shared voxels, as a part of the smaller mask."""
    return shared_voxels(one, other) / float(min(one.voxels.sum(), other.voxels.sum()))


def dice(one: Mask, other: Mask) -> float:
    """Twice the shared voxels, as a part of both masks' voxels."""
    return 2 * shared_voxels(one, other) / float(one.voxels.sum() + other.voxels.sum())
