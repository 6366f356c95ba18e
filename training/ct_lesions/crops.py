"""What the second stage learns from: a mark of the first one, closely and with what lies around it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt

from inference.findings import Point
from inference.resample import sample_crops
from inference.volume import Volume
from training.ct_lesions.known import KNOWN
from training.ct_lesions.looks import UNKNOWN_KIND, UNKNOWN_LOOK, kind_of, look_of
from training.kept import Arrays, kept
from training.phantoms.acquisition import stored
from training.phantoms.bodies import Recipe
from training.phantoms.fields import Array

SHAPE = (16, 40, 40)
PIXELS_ACROSS = 16.0
LEAST_SPACING_MM, MOST_SPACING_MM = 0.5, 6.0
SLICE_TO_PIXEL = 2.0
AROUND = (28, 28, 28)
AROUND_MM = 6.0
UNKNOWN = -1


@dataclass(frozen=True, eq=False)
class Crop:
    """close: HU, int16, ``SHAPE`` with rows and columns ``spacing_mm`` apart. mask: of that shape, per cent
    inside. known: what is known of each of its slices (see ``training.ct_lesions.known``). around: HU, int16,
    ``AROUND``. malignant, site (its number in ``SITES``), look and kind (see
    ``training.ct_lesions.looks``): ``UNKNOWN`` where they are."""

    close: npt.NDArray[np.int16]
    mask: npt.NDArray[np.uint8]
    known: npt.NDArray[np.uint8]
    around: npt.NDArray[np.int16]
    spacing_mm: float
    lesion: float
    malignant: float
    site: int
    look: tuple[float, ...]
    kind: int
    real: bool


_FIELDS = tuple(field.name for field in fields(Crop))


def crop_spacing(diameter_mm: float) -> float:
    """Spacing of rows and columns for a mark of this diameter, which then spans 16 of 40 pixels."""
    return float(np.clip(diameter_mm / PIXELS_ACROSS, LEAST_SPACING_MM, MOST_SPACING_MM))


def crop_steps(spacing_mm: float) -> tuple[float, float, float]:
    """Of slices, rows and columns, mm."""
    return spacing_mm * SLICE_TO_PIXEL, spacing_mm, spacing_mm


def cut(
    volume: Volume,
    body: Volume,
    center_mm: Point,
    diameter_mm: float,
    *,
    share: Volume | None = None,
    recipe: Recipe | None = None,
    site: int = UNKNOWN,
    real: bool = False,
) -> Crop:
    """A place of a scan (LPS mm).

    body: the scan on the first stage's grid. share: the part of each voxel that the lesion of ``recipe``
    there fills; both are None where there is no lesion.
    """
    spacing = crop_spacing(diameter_mm)
    steps = crop_steps(spacing)
    mask: Array = np.zeros(SHAPE, np.float32)
    if share is not None:
        mask = sample_crops(share, [center_mm], SHAPE, steps, fill=0)[0]
    return Crop(
        stored(sample_crops(volume, [center_mm], SHAPE, steps)[0]),
        np.rint(100 * mask).astype(np.uint8),
        np.full(SHAPE[0], KNOWN, np.uint8),
        stored(sample_crops(body, [center_mm], AROUND, AROUND_MM)[0]),
        spacing,
        float(share is not None),
        UNKNOWN if recipe is None else float(recipe.malignant),
        site,
        UNKNOWN_LOOK if recipe is None else look_of(recipe),
        UNKNOWN_KIND if recipe is None else kind_of(recipe),
        real,
    )


def kept_crops(path: Path, made_from: Iterable[object], make: Callable[[], Sequence[Crop]]) -> list[Crop]:
    """The crops of ``make``, or of an earlier run that made them from the same (``training.kept.kept``)."""
    columns = kept(path, (*_FIELDS, *made_from), lambda: _as_arrays(make()))
    return [
        Crop(
            columns["close"][i],
            columns["mask"][i],
            columns["known"][i],
            columns["around"][i],
            float(columns["spacing_mm"][i]),
            float(columns["lesion"][i]),
            float(columns["malignant"][i]),
            int(columns["site"][i]),
            tuple(columns["look"][i].tolist()),
            int(columns["kind"][i]),
            bool(columns["real"][i]),
        )
        for i in range(len(columns["lesion"]))
    ]


def _as_arrays(crops: Sequence[Crop]) -> Arrays:
    return {name: np.array([getattr(crop, name) for crop in crops]) for name in _FIELDS}
