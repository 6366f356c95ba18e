"""Where an X-ray beam throws a chest: a source, a detector, and the shadows of points, planes and tubes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import fft

from training.phantoms.fields import Array
from training.phantoms.tubes import Tubes

_STEP_MM = 0.7
_RADIUS_RATIO = 1.22
_POINT_PX = 0.7
_LARGEST_PX = 48.0


@dataclass(frozen=True)
class Beam:
    """A divergent beam along the y axis of the patient, who is turned by ``turn`` about z (radians).

    view: PA has the detector in front of the chest, AP behind it. source_mm: from source to detector.
    detector_y: where the detector stands on y. lift: tangent of the angle by which the beam comes from above.
    center_mm: (x, z) on the detector of its middle.
    shape: (rows, columns). spacing_mm: of the detector's elements.
    """

    view: Literal["PA", "AP"]
    source_mm: float
    detector_y: float
    turn: float
    lift: float
    center_mm: tuple[float, float]
    shape: tuple[int, int]
    spacing_mm: float

    def magnification(self, y: Array | float) -> Array:
        """Of what lies at depth ``y`` (mm, towards the back) in the turned patient."""
        away = np.abs(np.asarray(y, np.float32) - np.float32(self.detector_y))
        out: Array = np.float32(self.source_mm) / (np.float32(self.source_mm) - away)
        return out

    def shadows(self, points: Array) -> tuple[Array, Array, Array]:
        """Columns, rows (pixels, fractions) and magnifications of points (n, 3) in LPS mm."""
        cos, sin = np.cos(self.turn), np.sin(self.turn)
        x = points[:, 0] * cos - points[:, 1] * sin
        y = points[:, 0] * sin + points[:, 1] * cos
        larger = self.magnification(y)
        u = x * larger - self.center_mm[0]
        v = (points[:, 2] - self.lift * y) * larger - self.center_mm[1]
        rows, columns = self.shape
        return u / self.spacing_mm + (columns - 1) / 2, (rows - 1) / 2 - v / self.spacing_mm, larger

    def plane(self, y: float) -> tuple[Array, Array]:
        """x (1, columns) and z (rows, 1) in LPS mm of what each pixel sees at the depth ``y``."""
        rows, columns = self.shape
        u = (np.arange(columns, dtype=np.float32) - (columns - 1) / 2) * self.spacing_mm + self.center_mm[0]
        v = ((rows - 1) / 2 - np.arange(rows, dtype=np.float32)) * self.spacing_mm + self.center_mm[1]
        larger = float(self.magnification(y * np.cos(self.turn)))
        x = (u / larger + y * np.sin(self.turn)) / np.cos(self.turn)
        return x[None].astype(np.float32), (v / larger + self.lift * y)[:, None].astype(np.float32)

    def through(self, *drawn: tuple[Tubes, float]) -> Array:
        """How long the rays run within tubes, mm (rows, columns), each set by its weight; where tubes lie in
        each other, both count.

        Each tube is a row of discs that hold its volume: their sum across it is the chord of a cylinder.
        """
        tubes = Tubes.joined([one for one, _ in drawn])
        weights = np.repeat([weight for _, weight in drawn], [len(one) for one, _ in drawn])
        lengths = np.linalg.norm(tubes.ends - tubes.starts, axis=1)
        count = np.maximum(np.ceil(lengths / _STEP_MM), 1).astype(int)
        which = np.repeat(np.arange(len(tubes)), count)
        number = np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)
        share = ((number + 0.5) / count[which])[:, None]
        points = tubes.starts[which] * (1 - share) + tubes.ends[which] * share
        columns, rows, larger = self.shadows(points)
        volume = np.pi * tubes.radii[which] ** 2 * (lengths / count)[which]
        weight = weights[which] * volume * larger**2 / self.spacing_mm**2
        radius = tubes.radii[which] * larger / self.spacing_mm
        room = int(_LARGEST_PX) + 2 if radius.max(initial=0) > 14 else 16
        padded = tuple(fft.next_fast_len(n + 2 * room, real=True) for n in self.shape)
        inside = (rows > 1 - room) & (rows < self.shape[0] + room - 2)
        inside &= (columns > 1 - room) & (columns < self.shape[1] + room - 2)
        kind = np.rint(np.log(np.maximum(radius, _POINT_PX) / _POINT_PX) / np.log(_RADIUS_RATIO)).astype(int)
        spectrum = np.zeros((padded[0], padded[1] // 2 + 1), np.complex64)
        for one in np.unique(kind[inside]):
            at = inside & (kind == one)
            dots = _dots(rows[at] + room, columns[at] + room, weight[at], padded)
            spectrum += fft.rfft2(dots) * _disc(_POINT_PX * _RADIUS_RATIO**one, padded)
        whole: Array = fft.irfft2(spectrum, padded)
        return whole[room : room + self.shape[0], room : room + self.shape[1]]


def _dots(rows: Array, columns: Array, weight: Array, shape: tuple[int, ...]) -> Array:
    top, left = np.floor(rows).astype(int), np.floor(columns).astype(int)
    down, right = (rows - top).astype(np.float32), (columns - left).astype(np.float32)
    flat = top * shape[1] + left
    corners = (
        (0, (1 - down) * (1 - right)),
        (1, (1 - down) * right),
        (shape[1], down * (1 - right)),
        (shape[1] + 1, down * right),
    )
    out = np.zeros(shape[0] * shape[1])
    for step, share in corners:
        out += np.bincount(flat + step, weight * share, len(out))
    return out.reshape(shape).astype(np.float32)


@lru_cache(maxsize=64)
def _disc(radius_px: float, shape: tuple[int, ...]) -> npt.NDArray[np.complex64]:
    """The spectrum of a disc of unit sum about the first pixel."""
    radius = min(radius_px, _LARGEST_PX)
    half = int(np.ceil(radius)) + 1
    fine = (np.arange((2 * half + 1) * 4) + 0.5) / 4 - 0.5 - half
    inside = (fine[:, None] ** 2 + fine[None] ** 2 <= radius**2).astype(np.float32)
    disc = inside.reshape(2 * half + 1, 4, 2 * half + 1, 4).mean((1, 3))
    kernel = np.zeros(shape, np.float32)
    kernel[: 2 * half + 1, : 2 * half + 1] = disc / disc.sum()
    out: npt.NDArray[np.complex64] = fft.rfft2(np.roll(kernel, (-half, -half), (0, 1)))
    return out
