"""Results and truth as files: rows by name, masks, arrays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from training.errors import BrokenDataError
from training.tables import Row


def first(row: Row) -> str:
    """The cell of the first column: the name of what the row is about."""
    return row.text(next(iter(row.cells)))


def named_once(rows: Iterable[Row]) -> Iterator[Row]:
    """The rows, each name once.

    Raises:
        BrokenDataError: a name stands there twice.
    """
    seen: set[str] = set()
    for row in rows:
        name = first(row)
        if name in seen:
            raise row.broken(f"{name!r} stands there a second time")
        seen.add(name)
        yield row


def result(row: Row, found: Mapping[str, Row], results: Path) -> Row:
    """The row of ``results`` that bears the name of ``row``."""
    name = first(row)
    if name not in found:
        raise BrokenDataError(f"{results} has no row for {name!r}")
    return found[name]


def read_masks(source: Path, threshold: float) -> dict[str, npt.NDArray[np.bool_]]:
    """Masks by name, from a folder of images (0 to 255) or an NPZ file (0 to 1)."""
    from PIL import Image, UnidentifiedImageError

    if source.is_file():
        return {name: np.asarray(array) > threshold for name, array in sorted(read_arrays(source).items())}
    if not source.is_dir():
        raise BrokenDataError(f"{source} is neither a folder of masks nor an NPZ file")
    masks = {}
    for path in sorted(p for p in source.iterdir() if p.is_file() and not p.name.startswith(".")):
        try:
            with Image.open(path) as image:
                masks[path.stem] = np.asarray(image.convert("L")) > threshold * 255
        except UnidentifiedImageError as error:
            raise BrokenDataError(f"{path} is no image") from error
    if not masks:
        raise BrokenDataError(f"{source} holds no masks")
    return masks


def read_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """The arrays of an NPZ file by name; none that would have to be unpickled."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, AttributeError) as error:
        raise BrokenDataError(f"{path} is no NPZ file of plain arrays") from error
