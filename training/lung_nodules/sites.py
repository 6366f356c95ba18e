"""Where in a lung a nodule lies: free, near the pleura, or on it, which is where real ones are overlooked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from inference.findings import Point
from training.phantoms.fields import Array, Field
from training.phantoms.nodules import Nodule

_MEDIAL_MM = 45.0
_APEX_MM = 32.0

DEPTHS = {"free": (0.5, np.inf), "near": (0.2, 0.5), "attached": (-0.1, 0.2)}
"""How deep below the pleura the centre lies, in diameters; what lies less deep than half a diameter touches
it, and what lies outside of the lung is not seen."""
_SHARES = (0.4, 0.2, 0.4)


def drawn_depths(rng: np.random.Generator, diameter_mm: float) -> tuple[float, float]:
    """The least and the greatest depth (mm) of the centre of a nodule of this diameter."""
    low, high = list(DEPTHS.values())[int(rng.choice(3, p=_SHARES))]
    return low * diameter_mm, high * diameter_mm


def attached_place(rng: np.random.Generator, lungs: Field, diameter_mm: float) -> Point:
    """A centre (LPS mm) on the pleura for a nodule of this diameter, half of the time beside the mediastinum
    or spine or in an apex.

    lungs: depth below the pleura in mm, negative outside of the lungs.
    """
    low, high = DEPTHS["attached"]
    step, origin = np.array(lungs.grid.spacing_mm), np.array(lungs.grid.origin_mm)
    reach = max(high * diameter_mm, 1.1 * float(step.max()))
    at = np.argwhere((lungs.values > low * diameter_mm) & (lungs.values < reach))
    if not len(at):
        raise ValueError("the lungs have no surface on this grid")
    mm: Array = at * step + origin
    if rng.random() < 0.5:
        inside = np.argwhere(lungs.values > 0) * step + origin
        middle, top = np.median(inside[:, 2]), inside[:, 0].max()
        hidden = (np.abs(mm[:, 2] - middle) < _MEDIAL_MM) | (mm[:, 0] > top - _APEX_MM)
        mm = mm[hidden] if hidden.any() else mm
    z, y, x = mm[rng.integers(len(mm))] + rng.uniform(-0.5, 0.5, 3) * step
    return float(x), float(y), float(z)


def with_attached(
    rng: np.random.Generator, lungs: Field, nodules: Sequence[Nodule], every: int
) -> list[Nodule]:
    """The same nodules, every second, third ... moved onto the pleura where that lies clear of the others.

    lungs: depth below the pleura in mm.
    """
    placed = list(nodules)
    for number in range(0, len(placed), every):
        nodule = placed[number]
        center = attached_place(rng, lungs, nodule.diameter_mm)
        others = placed[:number] + placed[number + 1 :]
        if all(
            np.linalg.norm(np.subtract(center, o.center_mm)) > (o.diameter_mm + nodule.diameter_mm) / 2 + 4
            for o in others
        ):
            placed[number] = replace(nodule, center_mm=center)
    return placed
