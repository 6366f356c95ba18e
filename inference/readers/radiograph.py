"""A chest radiograph as the networks of the ``chest-xray`` reader want it."""

from __future__ import annotations

import cc3d
import numpy as np
import numpy.typing as npt
from PIL import Image

Floats = npt.NDArray[np.float32]
Corners = tuple[float, float, float, float]

LUNGS_SIZE = 128
FINDINGS_SIZE = 128
HEART_SIZE = 128
MARGIN = 0.08  # around the lungs, of their box


def square(pixels: npt.NDArray[np.generic]) -> Corners:
    """Left, top, right, bottom of the square around a whole picture of (rows, columns)."""
    rows, columns = pixels.shape
    side = max(rows, columns)
    left, top = (columns - side) / 2, (rows - side) / 2
    return left, top, left + side, top + side


def sampled(pixels: npt.NDArray[np.generic], corners: Corners, size: int) -> Floats:
    """``size`` x ``size`` values of the part of a picture between ``corners``, averaged where it shrinks and
    standardised by its own brightness and contrast; what lies outside of the picture is black."""
    left, top, right, bottom = corners
    rows, columns = pixels.shape
    room = int(np.ceil(max(0, -left, -top, right - columns, bottom - rows)))
    values = np.asarray(pixels, np.float32)
    padded = np.pad(values, room, constant_values=float(values.min()))
    box = (left + room, top + room, right + room, bottom + room)
    small = Image.fromarray(padded).resize((size, size), Image.Resampling.BILINEAR, box=box, reducing_gap=3.0)
    return standardised(np.asarray(small, np.float32))


def standardised(values: Floats) -> Floats:
    """Zero where the picture is of middling brightness, within -2.5 and 2.5: no scanner's grey scale is
    another's."""
    low, high = np.percentile(values, (2, 98))
    clipped = np.clip(values, low, high)
    spread = float(clipped.std()) or 1.0
    return np.asarray(np.clip((clipped - clipped.mean()) / spread, -2.5, 2.5), np.float32)


def largest_part(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """What hangs together and is largest of it; nothing of nothing."""
    if not mask.any():
        return mask
    largest: npt.NDArray[np.bool_] = cc3d.largest_k(mask, k=1, connectivity=4) > 0
    return largest


def of_one_part(probability: Floats) -> Floats:
    """A probability (rows, columns), zero where it is one half or more apart from the largest place where it
    is. What is less than half stays: it tells, between pixels, where that place ends."""
    drawn = probability >= 0.5
    return np.where(drawn & ~largest_part(drawn), np.float32(0), probability)


def on_picture(probability: Floats, shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Where a probability is one half or more, on the pixels of a picture of ``shape``, (rows, columns).

    probability: (size, size), of the ``square`` around the whole picture.
    """
    rows, columns = shape
    side = max(shape)
    large = Image.fromarray(probability).resize((side, side), Image.Resampling.BILINEAR)
    top, left = (side - rows) // 2, (side - columns) // 2
    return np.asarray(large)[top : top + rows, left : left + columns] >= 0.5


def part_of(mask: npt.NDArray[np.bool_], corners: Corners, size: int) -> npt.NDArray[np.bool_]:
    """(size, size): what a mask of a whole picture is on the part between ``corners``; nothing beside it."""
    part = Image.fromarray(mask.astype(np.uint8)).transform((size, size), Image.Transform.EXTENT, corners)
    return np.asarray(part) > 0


def on_part(probability: Floats, corners: Corners, shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Where a probability is one half or more, on the pixels of a picture of ``shape``, (rows, columns).

    probability: (size, size), of the part of the picture between ``corners``, as ``sampled`` gives it.
    """
    left, top, right, bottom = corners
    rows, columns = shape
    step_x, step_y = (right - left) / probability.shape[1], (bottom - top) / probability.shape[0]
    placed = Image.fromarray(probability).transform(
        (columns, rows),
        Image.Transform.AFFINE,
        (1 / step_x, 0, -left / step_x, 0, 1 / step_y, -top / step_y),
        Image.Resampling.BILINEAR,
    )
    return np.asarray(placed) >= 0.5


def around(lungs: npt.NDArray[np.bool_], within: Corners) -> Corners:
    """The corners, in the picture's pixels, of the box around the lungs with a margin.

    lungs: (size, size), drawn on the part of the picture between ``within``; without any, all of it.
    """
    rows, columns = np.flatnonzero(lungs.any(1)), np.flatnonzero(lungs.any(0))
    if not len(rows):
        return within
    scale = (within[2] - within[0]) / lungs.shape[1]
    left, right = columns[0] * scale + within[0], (columns[-1] + 1) * scale + within[0]
    top, bottom = rows[0] * scale + within[1], (rows[-1] + 1) * scale + within[1]
    width, height = (right - left) * MARGIN, (bottom - top) * MARGIN
    return left - width, top - height, right + width, bottom + height


def strongest(evidence: Floats, close: Corners, shape: tuple[int, int]) -> Corners:
    """The corners, within a picture of ``shape`` and at least a pixel apart, of where evidence is half of its
    peak or more and hangs together with it; where nothing speaks for a finding, of the peak alone. The middle
    of a pixel lies on whole numbers here.

    evidence: (places, places), on the part of the picture between ``close``.
    """
    rows, columns = shape
    size = 8 * len(evidence)
    fine = np.asarray(Image.fromarray(evidence).resize((size, size), Image.Resampling.BICUBIC))
    peak = fine.max()
    parts = cc3d.connected_components(fine >= (peak / 2 if peak > 0 else peak))
    ys, xs = np.nonzero(parts == parts.flat[int(fine.argmax())])
    step_x, step_y = (close[2] - close[0]) / size, (close[3] - close[1]) / size
    left = float(np.clip(close[0] + xs.min() * step_x, 0, columns - 1))
    top = float(np.clip(close[1] + ys.min() * step_y, 0, rows - 1))
    right = float(np.clip(close[0] + (xs.max() + 1) * step_x, left + 1, columns))
    bottom = float(np.clip(close[1] + (ys.max() + 1) * step_y, top + 1, rows))
    return left - 0.5, top - 0.5, right - 0.5, bottom - 0.5
