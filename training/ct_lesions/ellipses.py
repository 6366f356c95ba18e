"""A lesion's outline on the slice it was measured on, told by its long and its short axis."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.datasets.deeplesion import Ends
from training.phantoms.fields import Array, coverage

_LEAST_MM = 0.5


@dataclass(frozen=True)
class Ellipse:
    """Four quarters of ellipses through the ends of two axes at right angles, (x, y) mm.

    crossing: where the axes meet. along: the direction of the long one. ahead, behind: how far the long one
    reaches from there; left, right: the short one, to either side of it.
    """

    crossing: tuple[float, float]
    along: tuple[float, float]
    ahead: float
    behind: float
    left: float
    right: float

    @classmethod
    def through(cls, long_axis: Ends, short_axis: Ends, pixel_mm: tuple[float, float]) -> Ellipse:
        """Ends in (column, row) pixels; pixel_mm: (x, y). What the short axis leans from a right angle does
        not count."""
        a, b = np.array(long_axis) * pixel_mm
        ends = np.array(short_axis) * pixel_mm
        long_mm = float(np.linalg.norm(b - a))
        along = (b - a) / long_mm if long_mm > 0 else np.array([1.0, 0.0])
        across = np.array([-along[1], along[0]])
        at = float(np.clip(((ends - a) @ along).mean(), 0, long_mm))
        crossing = a + at * along
        sides = (ends - crossing) @ across
        return cls(
            (float(crossing[0]), float(crossing[1])),
            (float(along[0]), float(along[1])),
            max(long_mm - at, _LEAST_MM),
            max(at, _LEAST_MM),
            max(float(sides.max()), _LEAST_MM),
            max(float(-sides.min()), _LEAST_MM),
        )

    @property
    def middle(self) -> tuple[float, float]:
        """Between the ends of both axes."""
        (x, y), (u, v) = self.crossing, self.along
        ahead, aside = (self.ahead - self.behind) / 2, (self.left - self.right) / 2
        return x + ahead * u - aside * v, y + ahead * v + aside * u

    @property
    def diameter_mm(self) -> float:
        """Of the sphere of the ellipsoid whose third axis is the mean (geometric) of the two."""
        return float(np.sqrt((self.ahead + self.behind) * (self.left + self.right)))

    def share(self, x: Array, y: Array, pixel_mm: float) -> Array:
        """The part of each pixel that it fills. x, y: centres, mm, shaped to broadcast."""
        dx, dy = x - self.crossing[0], y - self.crossing[1]
        ahead = dx * self.along[0] + dy * self.along[1]
        aside = dy * self.along[0] - dx * self.along[1]
        out = np.sqrt(ahead**2 + aside**2)
        scaled = np.hypot(
            ahead / np.where(ahead > 0, self.ahead, self.behind),
            aside / np.where(aside > 0, self.left, self.right),
        )
        inwards = out * (1 / np.maximum(scaled, 1e-3) - 1)
        least = min(self.ahead, self.behind, self.left, self.right)
        return coverage(np.where(scaled < 1e-3, least, inwards), pixel_mm)
