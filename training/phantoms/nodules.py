"""Lung nodules as recipes: what one is, where, and how it will grow."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Self

from inference.findings import Mask, Point

NoduleType = Literal["solid", "part-solid", "ground-glass", "calcified"]
NODULE_TYPES: tuple[NoduleType, ...] = ("solid", "part-solid", "ground-glass", "calcified")


@dataclass(frozen=True)
class Nodule:
    """A nodule's recipe; the same recipe renders to the same nodule on any grid.

    diameter_mm: of the sphere with the nodule's volume. lobulation and spiculation: 0 to 1.
    seed: of its shape and texture.
    """

    center_mm: Point
    diameter_mm: float
    kind: NoduleType = "solid"
    malignant: bool = False
    lobulation: float = 0.2
    spiculation: float = 0.0
    seed: int = 0

    def grown(self, volume_factor: float) -> Self:
        """The same nodule at another date, its volume times ``volume_factor``."""
        return replace(self, diameter_mm=self.diameter_mm * volume_factor ** (1 / 3))


@dataclass(frozen=True, eq=False)
class Lesion:
    """What is true of a nodule on a rendered grid: ``mask`` indexes the phantom's voxels."""

    nodule: Nodule
    center_mm: Point
    diameter_mm: float
    volume_mm3: float
    kind: NoduleType
    malignant: bool
    mask: Mask
