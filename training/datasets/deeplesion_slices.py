"""Single key slices of DeepLesion as 8-bit pictures: ``boxes.csv`` beside ``images``.

Their neighbours and their spacing are not there: each slice is taken for its own neighbours, and a pixel for
0.8 mm, which is about DeepLesion's median. Figures on them say little of a volume.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np

from training.datasets.case import Box, Case, CaseImage
from training.datasets.deeplesion import TYPES
from training.datasets.files import pixels, there
from training.errors import BrokenDataError
from training.tables import Row, read_table

_COLUMNS = ("file", "patient", "lesion_class", "ymin", "xmin", "ymax", "xmax")
_PIXEL_MM, _BETWEEN_MM, _SLICES = 0.8, 2.0, 15
_LOWEST_HU, _HIGHEST_HU = -1024.0, 3071.0


def read_deeplesion_slices(folder: Path) -> list[Case]:
    """A case for each slice, with its boxes; all of them are for tests.

    Raises:
        BrokenDataError: a file or value is missing or not as described.
    """
    rows: dict[str, list[Row]] = defaultdict(list)
    for row in read_table(folder / "boxes.csv", _COLUMNS):
        rows[row.text("file")].append(row)
    return [_case(there(folder / "images" / name, "boxes.csv"), of_slice) for name, of_slice in rows.items()]


def _case(path: Path, rows: list[Row]) -> Case:
    size = 512
    boxes = []
    for row in rows:
        kind = TYPES.get(int(row.number("lesion_class")))
        low = (row.number("xmin") * size, row.number("ymin") * size)
        high = (row.number("xmax") * size, row.number("ymax") * size)
        if kind is None or high[0] <= low[0] or high[1] <= low[1]:
            raise row.broken("the lesion has no size or no known type")
        boxes.append(Box(kind, low, high))
    return Case(
        id=path.name,
        patient=rows[0].required("patient"),
        load=_loader(path, size),
        boxes=tuple(boxes),
        split="test",
    )


def _loader(path: Path, size: int) -> Callable[[], CaseImage]:
    def load() -> CaseImage:
        stored = pixels(path)
        grey = stored[..., 0] if stored.ndim == 3 else stored
        if grey.shape != (size, size) or grey.dtype != np.uint8:
            raise BrokenDataError(f"{path} is not an 8-bit picture of {size} x {size} pixels")
        hu = grey.astype(np.float32) * ((_HIGHEST_HU - _LOWEST_HU) / 255) + _LOWEST_HU
        return CaseImage(np.repeat(hu[None], _SLICES, 0), "HU", (_BETWEEN_MM, _PIXEL_MM, _PIXEL_MM))

    return load
