"""Sheets of small pictures: the cases a reader does worst on, to be looked at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from inference.findings import Mask
from inference.volume import Volume

TILE = 72
_ZOOM = 2
Window = tuple[float, float]
"""Black and white, HU."""
LUNG: Window = (-1250.0, 250.0)
SOFT_TISSUE: Window = (-160.0, 240.0)
BONE: Window = (-450.0, 1050.0)
_TRUTH, _FOUND = (80, 220, 120), (255, 170, 60)

Tile = npt.NDArray[np.uint8]


def tile(volume: Volume, truth: Mask, found: Mask | None, window: Window = LUNG) -> Tile:
    """The slice through the middle of ``truth``, its outline in green, that of ``found`` in orange:
    (144, 144, 3)."""
    middle = [o + n // 2 for o, n in zip(truth.origin, truth.voxels.shape, strict=True)]
    low, high = window
    grey = np.clip((_cut(volume.voxels[middle[0]], middle, low) - low) / (high - low), 0, 1) * 255
    picture = np.repeat(np.kron(grey, np.ones((_ZOOM, _ZOOM)))[..., None], 3, 2).astype(np.uint8)
    for mask, colour in ((truth, _TRUTH), (found, _FOUND)):
        if mask is not None and 0 <= middle[0] - mask.origin[0] < len(mask.voxels):
            plane = np.zeros(volume.shape[1:], bool)
            rows, columns = mask.voxels.shape[1:]
            y, x = mask.origin[1:]
            plane[y : y + rows, x : x + columns] = mask.voxels[middle[0] - mask.origin[0]]
            inside = np.kron(_cut(plane, middle, 0), np.ones((_ZOOM, _ZOOM))) > 0.5
            picture[_rim(inside)] = colour
    return picture


def save_sheet(tiles: Sequence[Tile], path: Path, columns: int = 8) -> None:
    """Tiles of one size, row by row, as a PNG."""
    if not tiles:
        return
    blank = np.zeros_like(tiles[0])
    padded = [*tiles, *[blank] * (-len(tiles) % columns)]
    rows = [np.hstack(padded[at : at + columns]) for at in range(0, len(padded), columns)]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.vstack(rows)).save(path)


def _cut(plane: npt.NDArray[np.generic], middle: Sequence[int], outside: float) -> npt.NDArray[np.float64]:
    padded = np.pad(plane.astype(np.float64), TILE // 2, constant_values=outside)
    return padded[middle[1] : middle[1] + TILE, middle[2] : middle[2] + TILE]


def _rim(inside: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    core = inside.copy()
    core[1:-1, 1:-1] = (
        inside[1:-1, 1:-1] & inside[:-2, 1:-1] & inside[2:, 1:-1] & inside[1:-1, :-2] & inside[1:-1, 2:]
    )
    return inside & ~core
