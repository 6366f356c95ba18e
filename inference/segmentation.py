"""The pixels of a segmentation that was written earlier."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom import dcmread

from inference.errors import UnreadableSeriesError


def load_frames(path: Path) -> npt.NDArray[np.bool_]:
    """Which pixels of each frame of a segmentation (PS3.3 A.51) are its segment's: (frames, rows, columns).

    Raises:
        UnreadableSeriesError: the file, or its pixels, cannot be read.
    """
    try:
        image = dcmread(path)
        return np.asarray(image.pixel_array).reshape(-1, image.Rows, image.Columns).astype(bool)
    except Exception as error:  # a decoder may raise anything
        raise UnreadableSeriesError(f"{path.name} is no segmentation that can be read ({error}).") from error
