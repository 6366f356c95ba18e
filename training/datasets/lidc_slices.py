"""LIDC-IDRI nodules as stacks of slice crops with readers' masks and ratings (layout ``lidc-slices``).

The folder holds ``nodules.csv``, ``images/NAME.webp`` (slices of 128 x 128 stacked downwards, 8 bit),
``masks/NAME.png`` (bit k: reader k, every slice) and ``non_nodule_marks_in_crops.csv``. Intensities are
scaled per slice: HU are recovered from the peaks of lung and soft tissue, to within some 50 HU. The pixel
spacing is not in the folder: ``pixel_spacing`` finds most of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from training.datasets.files import pixels, there
from training.datasets.lidc_spacing import pixel_spacing
from training.errors import BrokenDataError
from training.phantoms.nodules import NODULE_TYPES, NoduleType
from training.tables import Row, read_table

SIDE = 128
USUAL_SPACING_MM = 0.70
_COLUMNS = (
    "file",
    "split",
    "patient_id",
    "n_slices",
    "image_slices",
    "n_masks",
    "series_uid",
    "z_first_mm",
    "z_last_mm",
    "malignancy_median",
    "mean_calcification",
    "mean_texture",
)


@dataclass(frozen=True, eq=False)
class SliceNodule:
    """hu: int16 (slices, 128, 128). z_mm: of each slice. bits: bit k where reader k drew it; ``masks`` drew.
    malignancy: median rating 1 to 5, or None. marks: (slice, row, column) of non-nodules in the crop."""

    name: str
    split: str
    patient_id: str
    hu: npt.NDArray[np.int16]
    z_mm: npt.NDArray[np.float64]
    bits: npt.NDArray[np.uint8]
    masks: int
    spacing_mm: float
    spacing_known: bool
    malignancy: float | None
    kind: NoduleType | None
    marks: tuple[tuple[float, float, float], ...]

    @property
    def consensus(self) -> npt.NDArray[np.bool_]:
        """Where at least half of the readers who drew the nodule drew it."""
        votes = np.sum([(self.bits >> bit) & 1 for bit in range(4)], axis=0)
        inside: npt.NDArray[np.bool_] = 2 * votes >= self.masks
        return inside


def read_slices(folder: Path, spacing: Mapping[str, float] | None = None) -> Iterator[SliceNodule]:
    """Every nodule of the layout, in the order of ``nodules.csv``.

    Raises:
        BrokenDataError: a file is missing or damaged, or does not fit its row.
    """
    table = folder / "nodules.csv"
    if not table.is_file():
        raise BrokenDataError(f"{table} is missing: this is no folder of the layout lidc-slices")
    if spacing is None:
        spacing = pixel_spacing(folder)
    marks: dict[str, list[tuple[float, float, float]]] = {}
    for row in read_table(folder / "non_nodule_marks_in_crops.csv", ("file", "slice", "x", "y", "kind")):
        if row.text("kind") == "non_nodule":
            place = (row.number("slice"), row.number("y"), row.number("x"))
            marks.setdefault(row.text("file"), []).append(place)
    for row in read_table(table, _COLUMNS):
        yield _nodule(folder, row, marks.get(row.text("file"), []), spacing)


def _nodule(
    folder: Path, row: Row, marks: list[tuple[float, float, float]], spacing: Mapping[str, float]
) -> SliceNodule:
    name, series = row.required("file"), row.text("series_uid")
    count, kept = _slices(row)
    images = _stack(folder / "images" / f"{name}.webp", len(kept), row)
    masks = _stack(folder / "masks" / f"{name}.png", count, row)[kept]
    z = (
        np.linspace(row.number("z_first_mm"), row.number("z_last_mm"), count)[kept]
        if row.text("z_first_mm")
        else np.asarray(2 * kept, np.float64)
    )
    hu = np.stack([hounsfield(image) for image in images])
    order = np.argsort(z)
    where = {int(k): int(np.flatnonzero(order == i)[0]) for i, k in enumerate(kept)}
    return SliceNodule(
        name=name,
        split=row.text("split"),
        patient_id=row.required("patient_id"),
        hu=hu[order],
        z_mm=z[order],
        bits=masks[order],
        masks=int(row.number("n_masks")),
        spacing_mm=spacing.get(series, USUAL_SPACING_MM),
        spacing_known=series in spacing,
        malignancy=row.number("malignancy_median") if row.text("malignancy_median") else None,
        kind=_kind(row),
        marks=_places(marks, where, masks[order] > 0),
    )


def _slices(row: Row) -> tuple[int, npt.NDArray[np.int64]]:
    """How many slices the nodule was drawn on, and the numbers of those with a picture."""
    count, said = int(row.number("n_slices")), row.text("image_slices").split()
    if not said or not all(number.isdecimal() and int(number) < count for number in said):
        raise row.broken(f"image_slices is {row.text('image_slices')!r}, not numbers from 0 to {count - 1}")
    return count, np.array([int(number) for number in said])


def _places(
    marks: list[tuple[float, float, float]], where: Mapping[int, int], drawn: npt.NDArray[np.bool_]
) -> tuple[tuple[float, float, float], ...]:
    """One place for each marked thing, not one for each slice it is marked on; what another reader drew
    as the nodule is none."""
    nodule = ndimage.binary_dilation(drawn.any(0), iterations=4)
    placed: list[tuple[float, float, float]] = []
    for k, y, x in marks:
        nearest = min(where, key=lambda kept: abs(kept - k))
        if (
            abs(nearest - k) > 1
            or nodule[int(y), int(x)]
            or any(np.hypot(y - b, x - c) < 8 for _, b, c in placed)
        ):
            continue
        placed.append((where[nearest], y, x))
    return tuple(placed)


def _stack(path: Path, count: int, row: Row) -> npt.NDArray[np.uint8]:
    levels = pixels(there(path, f"{row.file}, line {row.line},"))
    levels = levels[..., 0] if levels.ndim == 3 else levels
    if levels.shape != (SIDE * count, SIDE):
        raise BrokenDataError(f"{path} is {levels.shape}, not {count} slices of 128 x 128")
    return levels.reshape(count, SIDE, SIDE)


def _kind(row: Row) -> NoduleType | None:
    """Type from mean ratings: texture 1 (ground glass) to 5 (solid), calcification 6 for none."""
    if not row.text("mean_texture") or not row.text("mean_calcification"):
        return None
    if row.number("mean_calcification") <= 4:
        return NODULE_TYPES[3]
    texture = row.number("mean_texture")
    return NODULE_TYPES[0 if texture > 4.3 else 1 if texture > 2.3 else 2]


def hounsfield(levels: npt.NDArray[np.uint8]) -> npt.NDArray[np.int16]:
    """HU of one slice whose darkest pixel became 0 and brightest 255.

    Soft tissue, where there is enough of it, lies at 45 HU and the darkest pixel at -1000 HU. Where the
    circle outside of the reconstruction was padded with a value far below air, lung at -860 HU takes its
    place.
    """
    raw = np.bincount(levels.ravel(), minlength=256).astype(float)
    counts = ndimage.gaussian_filter1d(raw, 2)
    padded = raw[:2].sum() > 0.01 * levels.size and raw[4:22].sum() < 0.1 * raw[:2].sum()
    if padded:
        lung = 40 + int(np.argmax(counts[40:145]))
        soft = lung + 35 + int(np.argmax(counts[lung + 35 : 235]))
        slope = float(np.clip(905 / (soft - lung), 9, 18)) if counts[soft] > 30 else 12.0
        zero = -860 - slope * lung
    else:
        soft = 85 + int(np.argmax(counts[85:254]))
        slope = float(np.clip(1045 / soft, 4, 12.3)) if counts[soft] > 40 else 9.3
        zero = -1000.0
    return np.clip(levels * slope + zero, -1024, 3071).astype(np.int16)
