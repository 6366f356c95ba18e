"""LIDC-IDRI nodules as stacks of slice crops with readers' masks and ratings (layout ``lidc-slices``).

The folder holds ``nodules.csv``, ``images/NAME.webp`` (slices of 128 x 128 stacked downwards, 8 bit),
``masks/NAME.png`` (bit k: reader k, every slice) and ``non_nodule_marks_in_crops.csv``. Intensities are
scaled per slice: HU are recovered from the peaks of lung and soft tissue, to within some 50 HU. The pixel
spacing is not in the folder: ``pixel_spacing`` finds most of it.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from training.datasets.lidc_spacing import pixel_spacing
from training.errors import BrokenDataError
from training.phantoms.nodules import NODULE_TYPES, NoduleType

SIDE = 128
USUAL_SPACING_MM = 0.70


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
        BrokenDataError: a file is missing or does not fit its row.
    """
    table = folder / "nodules.csv"
    if not table.is_file():
        raise BrokenDataError(f"{table} is missing: this is no folder of the layout lidc-slices")
    if spacing is None:
        spacing = pixel_spacing(folder)
    marks: dict[str, list[tuple[float, float, float]]] = {}
    with (folder / "non_nodule_marks_in_crops.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if row["kind"] == "non_nodule":
                place = (float(row["slice"]), float(row["y"]), float(row["x"]))
                marks.setdefault(row["file"], []).append(place)
    with table.open(newline="") as file:
        for row in csv.DictReader(file):
            yield _nodule(folder, row, marks.get(row["file"], []), spacing)


def _nodule(
    folder: Path,
    row: Mapping[str, str],
    marks: list[tuple[float, float, float]],
    spacing: Mapping[str, float],
) -> SliceNodule:
    name, count = row["file"], int(row["n_slices"])
    kept = np.array([int(i) for i in row["image_slices"].split()])
    images = _stack(folder / "images" / f"{name}.webp", len(kept))
    masks = _stack(folder / "masks" / f"{name}.png", count)[kept]
    z = (
        np.linspace(float(row["z_first_mm"]), float(row["z_last_mm"]), count)[kept]
        if row["z_first_mm"]
        else 2.0 * kept
    )
    hu = np.stack([hounsfield(image) for image in images])
    order = np.argsort(z)
    where = {int(k): int(np.flatnonzero(order == i)[0]) for i, k in enumerate(kept)}
    return SliceNodule(
        name=name,
        split=row["split"],
        patient_id=row["patient_id"],
        hu=hu[order],
        z_mm=z[order],
        bits=masks[order],
        masks=int(row["n_masks"]),
        spacing_mm=spacing.get(row["series_uid"], USUAL_SPACING_MM),
        spacing_known=row["series_uid"] in spacing,
        malignancy=float(row["malignancy_median"]) if row["malignancy_median"] else None,
        kind=_kind(row["mean_texture"], row["mean_calcification"]),
        marks=_places(marks, where, masks[order] > 0),
    )


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


def _stack(path: Path, count: int) -> npt.NDArray[np.uint8]:
    if not path.is_file():
        raise BrokenDataError(f"{path} is missing, though nodules.csv names it")
    pixels = np.asarray(Image.open(path))
    pixels = pixels[..., 0] if pixels.ndim == 3 else pixels
    if pixels.shape != (SIDE * count, SIDE):
        raise BrokenDataError(f"{path} is {pixels.shape}, not {count} slices of 128 x 128")
    return pixels.reshape(count, SIDE, SIDE)


def _kind(texture: str, calcification: str) -> NoduleType | None:
    """Type from mean ratings: texture 1 (ground glass) to 5 (solid), calcification 6 for none."""
    if not texture or not calcification:
        return None
    if float(calcification) <= 4:
        return NODULE_TYPES[3]
    return NODULE_TYPES[0 if float(texture) > 4.3 else 1 if float(texture) > 2.3 else 2]


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
