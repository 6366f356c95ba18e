"""Where findings lie on an image: outlines and axes in the image's own pixel coordinates.

Coordinates are (column, row) with the top left corner of the top left pixel at (0, 0), so that a pixel's
centre lies at halves: the convention of SCOORD (PS3.3 C.18.6.1.2) and of graphic annotations (C.10.5.1.2).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from inference.findings import Axis, Box, Finding, Mask
from inference.picture import Pictures
from inference.volume import Volume

Points = npt.NDArray[np.float64]
_OBLIQUE = 0.35  # some 20 degrees
_RIGHT, _DOWN, _LEFT, _UP = (1, 0), (0, 1), (-1, 0), (0, -1)


def outlines(mask: Mask, index: int) -> list[Points]:
    """Closed outlines of a mask on one slice of its volume, the longest first; holes are left out.

    Each is (points, 2) with the first point repeated at the end. It passes through the middles of the
    pixel edges around the mask: every pixel of the mask has its centre inside, no other pixel has.
    """
    first, top, left = mask.origin
    if not 0 <= index - first < len(mask.voxels):
        return []
    loops = [_middles(loop) for loop in _border_loops(mask.voxels[index - first])]
    outer = [loop for loop in loops if _signed_area(loop) > 0]
    return [loop + np.array((left, top)) for loop in sorted(outer, key=lambda loop: -_signed_area(loop))]


@dataclass(frozen=True, eq=False)
class Place:
    """A finding on its key slice. outline: closed, (points, 2); axes: (2, 2)."""

    outline: Points
    long_axis: Points
    short_axis: Points


def place_on_image(finding: Finding, volume: Volume) -> Place:
    """Where to draw a finding on its key slice; without a mask there, its box stands for the outline."""
    drawn = outlines(finding.mask, slice_of(finding, volume)) if finding.mask is not None else []
    return Place(
        outline=drawn[0] if drawn else box_on_image(finding.box_mm, volume),
        long_axis=axis_on_image(finding.long_axis, volume),
        short_axis=axis_on_image(finding.short_axis, volume),
    )


def slice_of(finding: Finding, volume: Volume) -> int:
    """Index of a finding's key slice in the volume.

    Raises:
        ValueError: the volume has no such image.
    """
    for index, image in enumerate(volume.images):
        if image is not None and image[0] == finding.image_uid and finding.frame in (None, image[1]):
            return index
    raise ValueError(
        f"image {finding.image_uid}, frame {finding.frame}, is not part of series {volume.series_uid}"
    )


def axis_on_image(axis: Axis, volume: Volume) -> Points:
    """The two end points of an axis, (2, 2), on the slice it was measured on."""
    indices = [np.linalg.solve(volume.affine, (*point, 1.0)) for point in (axis.start, axis.end)]
    return np.array([(column + 0.5, row + 0.5) for _, row, column, _ in indices])


def box_on_image(box_mm: Box, volume: Volume) -> Points:
    """A box in patient space as a closed rectangle on the image plane, (5, 2)."""
    corners = [(x, y, z, 1.0) for x in _ends(box_mm, 0) for y in _ends(box_mm, 1) for z in _ends(box_mm, 2)]
    indices = np.linalg.solve(volume.affine, np.array(corners).T)[:3]
    top, left = indices[1:].min(axis=1) + 0.5
    bottom, right = indices[1:].max(axis=1) + 0.5
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom), (left, top)])


def edges(volume: Volume, index: int) -> tuple[str, str]:
    """What the left and the upper edge of an image are marked with: the patient's side they lie on, as in
    Patient Orientation (PS3.3 C.7.6.1.1.1); empty where nothing says."""
    if isinstance(volume, Pictures):
        along = volume.views[index].orientation if index < len(volume.views) else None
        return (_opposite(along[0]), _opposite(along[1])) if along else ("", "")
    columns, rows = (volume.affine[:3, axis] / np.linalg.norm(volume.affine[:3, axis]) for axis in (2, 1))
    return _letters(-columns), _letters(-rows)


def _opposite(direction: str) -> str:
    return direction.translate(str.maketrans("LRAPHF", "RLPAFH"))


def _letters(direction: Points) -> str:
    """The side of the patient that a unit vector, LPS, points to, and the next where it points there too."""
    named = sorted(zip(direction, ("LR", "PA", "HF"), strict=True), key=lambda pair: -abs(pair[0]))
    return "".join(sides[int(part < 0)] for part, sides in named if abs(part) > _OBLIQUE)


def _ends(box_mm: Box, axis: int) -> tuple[float, float]:
    return box_mm[0][axis], box_mm[1][axis]


def _border_loops(pixels: npt.NDArray[np.bool_]) -> list[list[tuple[int, int]]]:
    """Corners (column, row) along the pixel edges around each 4-connected region, clockwise on the screen;
    the edges of holes run the other way."""
    padded = np.pad(pixels, 1)
    inside = padded[1:-1, 1:-1]
    steps: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for neighbour, corner, direction in (
        (padded[:-2, 1:-1], (0, 0), _RIGHT),
        (padded[1:-1, 2:], (1, 0), _DOWN),
        (padded[2:, 1:-1], (1, 1), _LEFT),
        (padded[1:-1, :-2], (0, 1), _UP),
    ):
        for row, column in np.argwhere(inside & ~neighbour).tolist():
            steps.setdefault((column + corner[0], row + corner[1]), []).append(direction)
    loops = []
    while steps:
        start = next(iter(steps))
        corners, corner, heading = [start], start, steps[start][0]
        while True:
            heading = _turn(steps[corner], heading)
            steps[corner].remove(heading)
            if not steps[corner]:
                del steps[corner]
            corner = (corner[0] + heading[0], corner[1] + heading[1])
            if corner == start:
                break
            corners.append(corner)
        loops.append(corners)
    return loops


def _turn(choices: list[tuple[int, int]], heading: tuple[int, int]) -> tuple[int, int]:
    """Where two regions touch at a corner, right first: that keeps them apart."""
    right = (-heading[1], heading[0])
    return right if right in choices else choices[0]


def _middles(corners: list[tuple[int, int]]) -> Points:
    around = np.array(corners, float)
    middles = (around + np.roll(around, -1, axis=0)) / 2
    before, after = middles - np.roll(middles, 1, axis=0), np.roll(middles, -1, axis=0) - middles
    bends = before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]
    kept = middles[bends]
    return np.vstack([kept, kept[:1]])


def _signed_area(loop: Points) -> float:
    x, y = loop.T
    return float(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1]) / 2)
