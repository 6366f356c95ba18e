"""On which side of the patient something in the chest lies, where both lungs are there to tell."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from inference.findings import Side
from inference.readers.lungs import Lungs
from inference.volume import Floats

_LEVEL_MM = 15.0
_MIDDLE_MM = 15.0
_LEAST_WIDTH_MM = 120.0
_MOST_IN_THE_MIDDLE = 0.12


def sides_of(points_mm: npt.ArrayLike, lungs: Lungs) -> list[Side | None]:
    """The side of each of (n, 3) LPS points.

    The midline lies half way between the outer borders of the lungs at the level of the point. None near it,
    and where there are no two lungs with something between them.
    """
    inside = np.argwhere(lungs.away_mm == 0) @ lungs.affine[:3, :3].T + lungs.affine[:3, 3]
    points = np.asarray(points_mm, np.float64).reshape(-1, 3)
    return [_side(point, inside[np.abs(inside[:, 2] - point[2]) <= _LEVEL_MM, 0]) for point in points]


def _side(point: Floats, lung_x: Floats) -> Side | None:
    if not len(lung_x):
        return None
    right, left = np.percentile(lung_x, (1, 99))
    midline = (right + left) / 2
    in_the_middle = float((np.abs(lung_x - midline) <= _MIDDLE_MM).mean())
    if left - right < _LEAST_WIDTH_MM or in_the_middle > _MOST_IN_THE_MIDDLE:
        return None
    if abs(point[0] - midline) <= _MIDDLE_MM:
        return None
    return "left" if point[0] > midline else "right"
