"""A second network's close look at a candidate of the first: the crop it is shown, what it draws there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import cc3d
import numpy as np
import numpy.typing as npt

from inference.card import ModelCard
from inference.findings import Mask, Point
from inference.masks import overlap
from inference.measure import Measured, measure
from inference.readers.candidates import Candidate
from inference.resample import crop_affine, mask_from_crop
from inference.volume import Volume

SAME = 0.3
"""Masks that overlap by more than this are of one thing."""

Probabilities = npt.NDArray[np.float32]
Steps = tuple[float, float, float]
Judged = TypeVar("Judged")


def crop_spacing(diameter_mm: float, card: ModelCard) -> Steps:
    """Of slices, rows and columns, mm: a candidate spans as many pixels as the card says."""
    p = card.postprocess
    pixel = float(np.clip(diameter_mm / p["pixels_across"], p["least_spacing_mm"], p["most_spacing_mm"]))
    return pixel * p["slice_to_pixel"], pixel, pixel


def middle_piece(mask: Probabilities, spacing_mm: Steps) -> Probabilities | None:
    """The connected part of a crop's mask that lies nearest to its middle, or None; the rest set to 0."""
    parts = cc3d.connected_components(mask >= 0.5, connectivity=18)
    if not parts.any():
        return None
    index = np.argwhere(parts > 0)
    middle = (np.array(mask.shape) - 1) / 2
    away = np.linalg.norm((index - middle) * spacing_mm, axis=1)
    chosen = parts[tuple(index[int(away.argmin())])]
    rest = (parts > 0) & (parts != chosen)
    return np.where(rest, np.float32(0), mask)


def sphere_mm(mask: Probabilities, spacing_mm: Steps) -> float:
    """Diameter of the sphere of a mask's volume."""
    volume = float((mask >= 0.5).sum()) * float(np.prod(spacing_mm))
    return float((6 * volume / np.pi) ** (1 / 3))


def centre_of(mask: Probabilities, spacing_mm: Steps, center_mm: Point) -> Point:
    """The middle (LPS mm) of a mask in a crop about ``center_mm``; that itself where the mask is empty."""
    index = np.argwhere(mask >= 0.5)
    if not len(index):
        return center_mm
    affine = crop_affine(center_mm, (mask.shape[0], mask.shape[1], mask.shape[2]), spacing_mm)
    x, y, z = (float(v) for v in affine[:3, :3] @ index.mean(0) + affine[:3, 3])
    return x, y, z


def on_source(mask: Probabilities, spacing_mm: Steps, candidate: Candidate, volume: Volume) -> Mask | None:
    """The part of a crop's mask that belongs to the candidate, on the source's voxels; None where no voxel of
    the source lies in it."""
    piece = middle_piece(mask, spacing_mm)
    if piece is None:
        return None
    size = (piece.shape[0], piece.shape[1], piece.shape[2])
    return mask_from_crop(piece, crop_affine(candidate.center_mm, size, spacing_mm), volume)


def told_once(
    surest_first: Iterable[Judged],
    draw: Callable[[Judged], Mask | None],
    volume: Volume,
    least_long_axis_mm: float,
) -> Iterator[tuple[Judged, Mask, Measured]]:
    """What can be drawn and is large enough, each thing once: by the first that has drawn it."""
    taken: list[Mask] = []
    for one in surest_first:
        mask = draw(one)
        if mask is None or any(overlap(mask, other) > SAME for other in taken):
            continue
        measured = measure(mask, volume)
        if measured.long_axis.length_mm < least_long_axis_mm:
            continue
        taken.append(mask)
        yield one, mask, measured
