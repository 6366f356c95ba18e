"""Small files to lay data sets out with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def picture(path: Path, pixels: np.ndarray | None = None) -> Path:
    """An image file, 8 x 6 and grey if nothing else is given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if pixels is None:
        pixels = np.full((6, 8), 90, np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def half(rows: int = 6, columns: int = 8) -> np.ndarray:
    """A mask of the left half."""
    mask = np.zeros((rows, columns), np.uint8)
    mask[:, : columns // 2] = 255
    return mask


def text(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path
