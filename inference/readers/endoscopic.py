"""An endoscopic frame as the network of the ``polyps`` reader wants it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

SIZE = 128

Floats = npt.NDArray[np.float32]


def fitted(picture: npt.NDArray[np.uint8]) -> Floats:
    """(SIZE, SIZE, 3) of an RGB picture of any size, whole, its sides stretched to be equal, scaled."""
    small = Image.fromarray(picture).resize((SIZE, SIZE), Image.Resampling.BILINEAR, reducing_gap=3.0)
    return scaled(np.asarray(small, np.float32))


def scaled(picture: Floats) -> Floats:
    """From 0..255 to about -1..1."""
    return np.asarray((picture - 127.5) / 127.5, np.float32)
