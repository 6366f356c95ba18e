"""DeepLesion as released: ``DL_info.csv`` beside ``Images_png/PATIENT_STUDY_SERIES/SLICE.png``.

Its slices are numbered from the head down, as the affine of the release's own ``DL_save_nifti.py`` says; what
is loaded here goes from the feet up.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from training.datasets.case import Box, Case, CaseImage
from training.datasets.files import pixels, there
from training.errors import BrokenDataError
from training.tables import Row, read_table

TYPES = {
    -1: "lesion",
    1: "bone",
    2: "abdomen",
    3: "mediastinum",
    4: "liver",
    5: "lung",
    6: "kidney",
    7: "soft tissue",
    8: "pelvis",
}
"""Coarse lesion types; the training split has none (-1)."""

SPLITS = {1: "train", 2: "validation", 3: "test"}
_COLUMNS = (
    "File_name",
    "Patient_index",
    "Measurement_coordinates",
    "Bounding_boxes",
    "Coarse_lesion_type",
    "Possibly_noisy",
    "Slice_range",
    "Spacing_mm_px_",
    "Train_Val_Test",
)
_REACH_MM = 30.0

Ends = tuple[tuple[float, float], tuple[float, float]]
"""Of a measured axis, (column, row); the middle of the first pixel is (0, 0)."""


@dataclass(frozen=True)
class Measured:
    """A lesion as it was measured on a key slice. ``box``: 5 pixels beyond the axes on each side, from the
    edge of its first pixel to that of its last."""

    long_axis: Ends
    short_axis: Ends
    box: Box


@dataclass(frozen=True)
class KeySlice:
    """A slice on which lesions were measured. ``spacing_mm``: between slices, rows and columns. ``noisy``:
    the release doubts one of its lesions."""

    path: Path
    patient: str
    split: str
    spacing_mm: tuple[float, float, float]
    lesions: tuple[Measured, ...]
    noisy: bool

    @property
    def name(self) -> str:
        return f"{self.path.parent.name}_{self.path.name}"

    def stack(self) -> tuple[npt.NDArray[np.int16], int]:
        """HU (slices, rows, columns), from the feet up, of the slices that are released on either side of it
        without a gap, 30 mm at most; and the number of the key slice among them.

        Raises:
            BrokenDataError: a slice cannot be read, or is of another size than the key slice.
        """
        most = round(_REACH_MM / self.spacing_mm[0])
        above, below = self._beside(-1, most), self._beside(1, most)
        with ThreadPoolExecutor() as pool:
            slices = list(pool.map(_hounsfield, [*reversed(below), self.path, *above]))
        for path, one in zip([*reversed(below), self.path, *above], slices, strict=True):
            if one.shape != slices[len(below)].shape:
                raise BrokenDataError(f"{path} is of another size than {self.path.name}")
        return np.stack(slices), len(below)

    def _beside(self, step: int, most: int) -> list[Path]:
        """The slices that follow on one side, the nearest first, up to the first that is not there."""
        number, width = int(self.path.stem), len(self.path.stem)
        found: list[Path] = []
        for away in range(1, most + 1):
            path = self.path.with_name(f"{number + step * away:0{width}d}.png")
            if not path.exists():
                break
            found.append(path)
        return found


def read_key_slices(folder: Path) -> list[KeySlice]:
    """Every key slice, with all lesions on it.

    Raises:
        BrokenDataError: a file or value is missing or not as released; also a slice beside a key slice, where
            ``Slice_range`` says that it is released.
    """
    table = folder / "DL_info.csv"
    rows: dict[str, list[Row]] = defaultdict(list)
    for row in read_table(table, _COLUMNS):
        rows[row.text("File_name")].append(row)
    there(folder / "Images_png")
    return [_key_slice(folder / "Images_png", name, of_slice) for name, of_slice in rows.items()]


def read_deeplesion(folder: Path, *, context: int = 0) -> list[Case]:
    """A case for each key slice, with all boxes on it.

    context: slices to load on either side of it; past the end of what is released the last one is repeated.

    Raises:
        BrokenDataError: a file or value is missing or not as released.
    """
    return [
        Case(
            id=one.name,
            patient=one.patient,
            load=_loader(one.path, context, one.spacing_mm),
            boxes=tuple(lesion.box for lesion in one.lesions),
            split=one.split,
            notes={"possibly_noisy": str(int(one.noisy))},
        )
        for one in read_key_slices(folder)
    ]


def _key_slice(folder: Path, name: str, rows: list[Row]) -> KeySlice:
    first = rows[0]
    series, _, number = Path(name).stem.rpartition("_")
    if not series or not number.isdigit():
        raise first.broken(f"File_name is {name!r}, not PATIENT_STUDY_SERIES_SLICE.png")
    path = there(folder / series / f"{number}.png", str(first.file))
    column_mm, row_mm, between_mm = first.numbers("Spacing_mm_px_", 3)
    if min(column_mm, row_mm, between_mm) <= 0:
        raise first.broken(f"Spacing_mm_px_ is {first.text('Spacing_mm_px_')}, not three lengths")
    for row in rows:
        _check_range(row, path)
    split = SPLITS.get(int(first.number("Train_Val_Test")))
    if split is None:
        raise first.broken(f"Train_Val_Test is {first.text('Train_Val_Test')}, not 1, 2 or 3")
    return KeySlice(
        path,
        first.required("Patient_index").zfill(6),
        split,
        (between_mm, row_mm, column_mm),
        tuple(_measured(r) for r in rows),
        max(r.number("Possibly_noisy") for r in rows) > 0,
    )


def _check_range(row: Row, key: Path) -> None:
    """That every slice which the release has about a lesion's key slice is there."""
    first, last = (int(number) for number in row.numbers("Slice_range", 2))
    if not first <= int(key.stem) <= last:
        raise row.broken(f"Slice_range is {row.text('Slice_range')}, without the key slice {key.stem}")
    for number in range(first, last + 1):
        there(key.with_name(f"{number:0{len(key.stem)}d}.png"), f"{row.file}, line {row.line},")


def _measured(row: Row) -> Measured:
    """The release counts pixels from 1."""
    x1, y1, x2, y2 = row.numbers("Bounding_boxes", 4)
    kind = TYPES.get(int(row.number("Coarse_lesion_type")))
    if kind is None or x2 <= x1 or y2 <= y1:
        raise row.broken(f"the lesion {row.text('Bounding_boxes')} has no size or no known type")
    a, b, c, d, e, f, g, h = (number - 1 for number in row.numbers("Measurement_coordinates", 8))
    return Measured(((a, b), (c, d)), ((e, f), (g, h)), Box(kind, (x1 - 1, y1 - 1), (x2, y2)))


def _loader(path: Path, context: int, spacing_mm: tuple[float, float, float]) -> Callable[[], CaseImage]:
    def load() -> CaseImage:
        number, width = int(path.stem), len(path.stem)
        slices = [_hounsfield(path)]
        for step in (-1, 1):
            last = slices[0] if step > 0 else slices[-1]
            for away in range(1, context + 1):
                beside = path.with_name(f"{number + step * away:0{width}d}.png")
                last = _hounsfield(beside) if beside.exists() else last
                slices.insert(0, last) if step > 0 else slices.append(last)
        if not context:
            return CaseImage(slices[0], "HU", spacing_mm[1:])
        return CaseImage(np.stack(slices), "HU", spacing_mm)

    return load


def _hounsfield(path: Path) -> npt.NDArray[np.int16]:
    """16-bit PNG, 32768 above HU."""
    stored = pixels(path)
    if stored.ndim != 2 or stored.dtype == np.uint8:
        raise BrokenDataError(f"{path} is not a 16-bit grey image")
    return (stored.astype(np.int32) - 32768).astype(np.int16)
