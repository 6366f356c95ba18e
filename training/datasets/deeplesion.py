"""DeepLesion as released: ``DL_info.csv`` beside ``Images_png/PATIENT_STUDY_SERIES/SLICE.png``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np

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
    "Bounding_boxes",
    "Coarse_lesion_type",
    "Possibly_noisy",
    "Spacing_mm_px_",
    "Train_Val_Test",
)


def read_deeplesion(folder: Path, *, context: int = 0) -> list[Case]:
    """A case for each key slice, with all boxes on it.

    context: slices to load on either side of it; past the end of what is released the last one is repeated.

    Raises:
        BrokenDataError: a file or value is missing or not as released.
    """
    table = folder / "DL_info.csv"
    rows: dict[str, list[Row]] = defaultdict(list)
    for row in read_table(table, _COLUMNS):
        rows[row.text("File_name")].append(row)
    there(folder / "Images_png")
    return [_case(folder / "Images_png", name, of_slice, context) for name, of_slice in rows.items()]


def _case(folder: Path, name: str, rows: list[Row], context: int) -> Case:
    first = rows[0]
    series, _, number = Path(name).stem.rpartition("_")
    if not series or not number.isdigit():
        raise first.broken(f"File_name is {name!r}, not PATIENT_STUDY_SERIES_SLICE.png")
    path = there(folder / series / f"{number}.png", str(first.file))
    column, row, between = first.numbers("Spacing_mm_px_", 3)
    split = SPLITS.get(int(first.number("Train_Val_Test")))
    if split is None:
        raise first.broken(f"Train_Val_Test is {first.text('Train_Val_Test')}, not 1, 2 or 3")
    return Case(
        id=name,
        patient=first.text("Patient_index").zfill(6),
        load=_loader(path, context, (between, row, column)),
        boxes=tuple(_box(r) for r in rows),
        split=split,
        notes={"possibly_noisy": str(int(max(r.number("Possibly_noisy") for r in rows)))},
    )


def _box(row: Row) -> Box:
    x1, y1, x2, y2 = row.numbers("Bounding_boxes", 4)
    kind = TYPES.get(int(row.number("Coarse_lesion_type")))
    if kind is None or x2 <= x1 or y2 <= y1:
        raise row.broken(f"the lesion {row.text('Bounding_boxes')} has no size or no known type")
    return Box(kind, (x1, y1), (x2, y2))


def _loader(path: Path, context: int, spacing_mm: tuple[float, float, float]) -> Callable[[], CaseImage]:
    def load() -> CaseImage:
        number, width = int(path.stem), len(path.stem)
        slices = [_hounsfield(path)]
        for step in (-1, 1):
            last = slices[0] if step < 0 else slices[-1]
            for away in range(1, context + 1):
                beside = path.with_name(f"{number + step * away:0{width}d}.png")
                last = _hounsfield(beside) if beside.exists() else last
                slices.insert(0, last) if step < 0 else slices.append(last)
        if not context:
            return CaseImage(slices[0], "HU", spacing_mm[1:])
        return CaseImage(np.stack(slices), "HU", spacing_mm)

    return load


def _hounsfield(path: Path) -> np.ndarray:
    """16-bit PNG, 32768 above HU."""
    stored = pixels(path)
    if stored.ndim != 2 or stored.dtype == np.uint8:
        raise BrokenDataError(f"{path} is not a 16-bit grey image")
    return (stored.astype(np.int32) - 32768).astype(np.int16)
