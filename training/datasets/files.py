"""Files of data sets, every missing or broken one named."""

from __future__ import annotations

from collections.abc import Collection, Sequence
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


_DEEP = ("I;16", "I;16L", "I;16B", "I")


def pixels(path: Path, mode: str | None = None) -> npt.NDArray[Any]:
    """(row, column) or (row, column, 3); ``mode`` as Pillow names it, else as stored. What is asked for as
    "L" and has more than 8 bits is as stored, too: Pillow would cut it off at 255."""
    try:
        with Image.open(path) as image:
            as_stored = mode is None or (mode == "L" and image.mode in _DEEP)
            return np.asarray(image if as_stored else image.convert(mode))
    except FileNotFoundError as error:
        raise BrokenDataError(f"{path} is missing") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise BrokenDataError(f"{path} cannot be read as an image: {error}") from error


def grey(path: Path) -> CaseImage:
    return CaseImage(pixels(path, "L"), "grey")


def colour(path: Path) -> CaseImage:
    return CaseImage(pixels(path, "RGB"), "rgb")


def white_of(pictures: Collection[npt.NDArray[Any]]) -> int:
    """The level that stands for white in pictures that belong together: 1 where there is nothing but 0 and 1,
    255 of 8 bits and where there is nothing but 0 and 255, else 65535."""
    if all(picture.max() <= 1 for picture in pictures):
        return 1
    if all(picture.dtype == np.uint8 or np.isin(picture, (0, 255)).all() for picture in pictures):
        return 255
    return 65535


def mask(path: Path) -> Mask:
    """What is brighter than half of white, which JPEG's rounding leaves alone; of an image that holds nothing
    but 0 and 1, what is 1.

    Raises:
        BrokenDataError: something is drawn, and none of it is as bright: labels, or another scale.
    """
    values = pixels(path, "L")
    highest, white = int(values.max()), white_of([values])
    if 0 < highest <= white // 2:
        raise BrokenDataError(
            f"{path} is no mask: its highest value is {highest}, and what is inside has to be {white}, or 1 "
            "where all else is 0"
        )
    found: Mask = values > white // 2
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
