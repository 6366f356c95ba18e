"""One case of a data set, whatever its layout: who, an image to load, and what is known of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class CaseImage:
    """Pixels as they lie in the file, resampled by nobody.

    pixels: (row, column), (row, column, 3) for rgb, or (slice, row, column). spacing_mm: along the same
    axes, None where it is not known. affine: voxel (slice, row, column) to LPS mm, of volumes.
    """

    pixels: npt.NDArray[Any]
    units: Literal["HU", "grey", "rgb"]
    spacing_mm: tuple[float, ...] | None = None
    affine: npt.NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Box:
    """A rectangle, corners as (column, row) pixels. ``image``: the SOP instance it lies on, of a series."""

    label: str
    low: tuple[float, float]
    high: tuple[float, float]
    image: str = ""


@dataclass(frozen=True)
class Place:
    """A point in a volume, LPS mm; the diameter is None where none was measured."""

    label: str
    center_mm: tuple[float, float, float]
    diameter_mm: float | None = None


@dataclass(frozen=True, eq=False)
class Case:
    """What a data set says of one image or series.

    Attributes:
        load: reads the image.
        load_masks: reads the masks by label, of the image's shape; None where the data set has none.
        labels: 1 or 0 by class, NaN where the data set leaves it open.
        split: as released, None where the release has none.
        notes: whatever else matters, such as ``view``.
        file: that ``load`` reads, where it is known to read one.

    Raises (by load and load_masks):
        BrokenDataError: a file that cannot be read; the message names it.
    """

    id: str
    patient: str
    load: Callable[[], CaseImage]
    load_masks: Callable[[], Mapping[str, Mask]] | None = None
    labels: Mapping[str, float] = field(default_factory=dict)
    boxes: tuple[Box, ...] = ()
    places: tuple[Place, ...] = ()
    split: str | None = None
    notes: Mapping[str, str] = field(default_factory=dict)
    file: Path | None = None
