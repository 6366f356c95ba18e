"""A series as voxels and an affine in patient space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


class UnreadableSeriesError(ValueError):
    """A series that cannot be assembled soundly; the message says why, in one sentence."""


@dataclass(frozen=True, eq=False)
class Volume:
    """Voxels of one series.

    voxels: int16 or float32, (slices, rows, columns); CT in HU.
    affine: (4, 4); ``affine @ (slice, row, column, 1)`` is the voxel's centre in LPS millimetres.
        Its slice column need not be perpendicular to the plane (gantry tilt).
    images: for each slice the SOP Instance UID and, in a multi-frame image, its 1-based frame number;
        None for a slice that was not sent and has been interpolated.
    notes: what was corrected on the way, one sentence each.
    """

    voxels: npt.NDArray[np.int16] | npt.NDArray[np.float32]
    affine: npt.NDArray[np.float64]
    series_uid: str
    frame_of_reference_uid: str
    images: tuple[tuple[str, int | None] | None, ...]
    notes: tuple[str, ...] = ()
