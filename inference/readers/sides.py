"""On which side of the patient something in the chest lies, where both lungs are there to tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from inference.findings import Finding, Side
from inference.readers.lungs import Lungs, find_lungs
from inference.volume import Floats, Volume

_LUNG = "39607008"
_LEVEL_MM = 15.0
_MIDDLE_MM = 15.0
_LEAST_WIDTH_MM = 120.0
_MOST_IN_THE_MIDDLE = 0.12


def with_sides(findings: Sequence[Finding], ct: Volume) -> tuple[Finding, ...]:
    """The findings, those whose site is the lung with their side, as far as ``ct`` shows it: a CT in the
    space they lie in, on whichever grid."""
    in_lung = [finding.site is not None and finding.site.value == _LUNG for finding in findings]
    lungs = find_lungs(ct) if any(in_lung) else None
    if lungs is None:
        return tuple(findings)
    sides = sides_of([finding.center_mm for finding in findings], lungs)
    return tuple(
        replace(finding, side=side) if inside else finding
        for finding, side, inside in zip(findings, sides, in_lung, strict=True)
    )


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
