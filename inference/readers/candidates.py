"""Where a detector's heat map peaks: the candidates a second look is taken at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from inference.volume import Floats

_HALO = 48
_MOST_VOXELS = 20_000_000
_LEAST_RADIUS_MM = 3.0


@dataclass(frozen=True)
class Candidate:
    """A place in LPS mm, how large the thing there looks, and the detector's probability."""

    center_mm: tuple[float, float, float]
    diameter_mm: float
    score: float


def peaks(
    heat: npt.NDArray[np.floating],
    diameter_mm: npt.NDArray[np.floating],
    affine: Floats,
    *,
    threshold: float,
    most: int,
) -> list[Candidate]:
    """Local maxima of at least ``threshold``, strongest first, at most ``most``; one that lies inside a
    stronger one is the same thing.

    Args:
        heat, diameter_mm: (slices, rows, columns) on the grid of ``affine``, its index to LPS mm.
    """
    top = (ndimage.maximum_filter(heat, 3) == heat) & (heat >= threshold)
    index = np.argwhere(top)
    index = index[np.argsort(-heat[top], kind="stable")]
    centers = index @ affine[:3, :3].T + affine[:3, 3]
    left = np.ones(len(index), bool)
    found: list[Candidate] = []
    for number, (at, center) in enumerate(zip(index, centers, strict=True)):
        if not left[number]:
            continue
        x, y, z = center.tolist()
        size = float(diameter_mm[tuple(at)])
        found.append(Candidate((x, y, z), size, float(heat[tuple(at)])))
        if len(found) == most:
            break
        left &= ~(np.linalg.norm(centers - center, axis=1) < max(size / 2, _LEAST_RADIUS_MM))
    return found


def slabs(shape: tuple[int, int, int], multiple_of: int) -> list[tuple[slice, slice]]:
    """Pieces of a volume along its slices that fit into memory one at a time: what to run the network on,
    and what of that to keep. One piece for all but the largest volumes."""
    depth = shape[0]
    most = max(_MOST_VOXELS // max(shape[1] * shape[2], 1), 4 * _HALO) // multiple_of * multiple_of
    if depth <= most:
        return [(slice(0, depth), slice(0, depth))]
    step = most - 2 * _HALO
    pieces = []
    for start in range(0, depth, step):
        stop = min(start + step, depth)
        low, high = max(start - _HALO, 0), min(stop + _HALO, depth)
        pieces.append((slice(low, high), slice(start - low, stop - low)))
    return pieces
