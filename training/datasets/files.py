"""Files of data sets, every missing or broken one named."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from training.datasets.case import CaseImage, Mask
from training.errors import BrokenDataError


def there(path: Path, named_by: str = "") -> Path:
    """The path, if it is there.

    Raises:
        BrokenDataError: it is not; ``named_by`` says who names it.
    """
    if not path.exists():
        raise BrokenDataError(f"{path} is missing" + (f", though {named_by} names it" if named_by else ""))
    return path


def first_there(folder: Path, names: Sequence[str]) -> Path:
    """The first of several names a file goes by in different releases."""
    for name in names:
        if (folder / name).exists():
            return folder / name
    raise BrokenDataError(f"{folder} holds neither of {', '.join(names)}")


def pixels(path: Path, mode: str | None = None) -> npt.NDArray[Any]:
    """(row, column) or (row, column, 3); ``mode`` as Pillow names it, else as stored."""
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert(mode) if mode else image)
    except FileNotFoundError as error:
        raise BrokenDataError(f"{path} is missing") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise BrokenDataError(f"{path} cannot be read as an image: {error}") from error


def grey(path: Path) -> CaseImage:
    return CaseImage(pixels(path, "L"), "grey")


def colour(path: Path) -> CaseImage:
    return CaseImage(pixels(path, "RGB"), "rgb")


def mask(path: Path) -> Mask:
    """What is brighter than half, which JPEG's rounding leaves alone."""
    found: Mask = pixels(path, "L") > 127
    return found


def with_suffix(folder: Path, stem: str, suffixes: Sequence[str], named_by: str) -> Path:
    """``stem`` with whichever of ``suffixes`` is there."""
    for suffix in suffixes:
        if (folder / f"{stem}{suffix}").is_file():
            return folder / f"{stem}{suffix}"
    raise BrokenDataError(f"{folder / stem}{suffixes[0]} is missing, though {named_by} calls for it")


def images_in(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """Image files of a folder in order; one without any is no data set."""
    found = sorted(p for p in there(folder).iterdir() if p.suffix.lower() in suffixes)
    if not found:
        raise BrokenDataError(f"{folder} holds no image ({', '.join(suffixes)})")
    return found
