"""Results and truth as files: rows by name, masks, arrays."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from training.datasets.case import Mask
from training.datasets.files import mask, pixels, white_of
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


def true_masks(source: Path) -> dict[str, Mask]:
    """Masks by name as they were drawn, from a folder of images or an NPZ file (0 and 1)."""
    if source.is_file():
        return {name: np.asarray(array) > 0.5 for name, array in sorted(read_arrays(source).items())}
    return {name: mask(path) for name, path in _images(source).items()}


def called_masks(source: Path, threshold: float) -> dict[str, Mask]:
    """Masks by name of what lies above ``threshold``, from an NPZ file (0 to 1) or a folder of images: grey
    levels from black to white, or nothing but 0 and 1 in all of them.

    Raises:
        BrokenDataError: some have more than 8 bits, and none is brighter than what 8 bits hold.
    """
    if source.is_file():
        return {name: np.asarray(array) > threshold for name, array in sorted(read_arrays(source).items())}
    levels = {name: pixels(path, "L") for name, path in _images(source).items()}
    white, highest = white_of(levels.values()), max(int(values.max()) for values in levels.values())
    if highest <= 255 < white:
        raise BrokenDataError(
            f"{source} holds pictures of 16 bits with nothing above {highest} in them: write them from 0 to "
            "65535, or with 8 bits"
        )
    return {name: v > threshold * min(white, np.iinfo(v.dtype).max) for name, v in levels.items()}


def _images(folder: Path) -> dict[str, Path]:
    """The files of a folder by name without extension."""
    if not folder.is_dir():
        raise BrokenDataError(f"{folder} is neither a folder of masks nor an NPZ file")
    found: dict[str, Path] = {}
    for path in sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith(".")):
        if path.stem in found:
            raise BrokenDataError(
                f"{folder} has two masks for {path.stem}: {found[path.stem].name}, {path.name}"
            )
        found[path.stem] = path
    if not found:
        raise BrokenDataError(f"{folder} holds no masks")
    return found


def read_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """The arrays of an NPZ file by name; none that would have to be unpickled."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, EOFError, ValueError, TypeError, AttributeError, BadZipFile, zlib.error) as error:
        raise BrokenDataError(f"{path} is no NPZ file of plain arrays") from error
