"""Files of data sets, every missing or broken one named."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
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
    with _opened(path) as image:
        as_stored = mode is None or (mode == "L" and image.mode in _DEEP)
        return np.asarray(image if as_stored else image.convert(mode))


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """An image file; whatever goes wrong with it while it is open is said with its name."""
    try:
        with Image.open(path) as image:
            yield image
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


def masks_of_shape(drawn: Mapping[str, Path], shape: tuple[int, int]) -> dict[str, Mask]:
    """Masks by label, (rows, columns) as the picture that they were drawn on.

    Raises:
        BrokenDataError: one is of another size, or as ``mask``.
    """
    found = {label: mask(path) for label, path in drawn.items()}
    for label, inside in found.items():
        if inside.shape != shape:
            here, wanted = (f"{columns} x {rows}" for rows, columns in (inside.shape, shape))
            raise BrokenDataError(f"{drawn[label]} has {here} pixels, not {wanted} as its picture")
    return found


def masks_on(picture: Path, drawn: Mapping[str, Path]) -> dict[str, Mask]:
    """Masks of an image file by label, as ``masks_of_shape``."""
    with _opened(picture) as image:
        columns, rows = image.size
    return masks_of_shape(drawn, (rows, columns))


def by_stem(folder: Path, suffixes: Collection[str]) -> dict[str, Path]:
    """Files of a folder with one of ``suffixes``, in either case, by their name without it, in order.

    Raises:
        BrokenDataError: there is no such file, or two go by one name.
    """
    found: dict[str, Path] = {}
    for path in sorted(there(folder).iterdir()):
        if path.suffix.lower() not in suffixes:
            continue
        if path.stem in found:
            raise BrokenDataError(f"{folder} holds {found[path.stem].name} and {path.name}: one is too many")
        found[path.stem] = path
    if not found:
        raise BrokenDataError(f"{folder} holds no image ({', '.join(suffixes)})")
    return found


def matched(parts: Mapping[Path, Mapping[str, Path]]) -> dict[str, tuple[Path, ...]]:
    """Files that belong together, one of each part in the parts' order, by the name that they share.

    parts: files by that name, under what one of them is called as released, with ``*`` for the name.

    Raises:
        BrokenDataError: one part lacks a file that another calls for.
    """
    for files in parts.values():
        for name, path in files.items():
            for called, others in parts.items():
                if name not in others:
                    raise BrokenDataError(f"{_called(called, name)} is missing, though there is {path}")
    return {name: tuple(files[name] for files in parts.values()) for name in next(iter(parts.values()))}


def check_tabled(
    table: Path, names: Collection[str], files: Mapping[str, Sequence[Path]], called: Path
) -> None:
    """That a table names the files that are there, and no others. ``called``: as the parts of ``matched``.

    Raises:
        BrokenDataError: it does not.
    """
    for name in sorted({*names} ^ files.keys()):
        if name in files:
            raise BrokenDataError(f"{table} has no entry for {files[name][0].name}")
        there(_called(called, name), str(table))


def _called(pattern: Path, name: str) -> Path:
    return pattern.with_name(pattern.name.replace("*", name))
