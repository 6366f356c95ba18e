"""A series as voxels and an affine in patient space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from inference.errors import UnreadableSeriesError

__all__ = ["UnreadableSeriesError", "Volume"]

Voxels = npt.NDArray[np.int16] | npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]


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

    voxels: Voxels
    affine: Floats
    series_uid: str
    frame_of_reference_uid: str
    images: tuple[tuple[str, int | None] | None, ...]
    notes: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int, int]:
        """Slices, rows, columns."""
        slices, rows, columns = self.voxels.shape
        return slices, rows, columns

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between neighbouring slice planes (measured along their normal, also when the stack
        is sheared by a gantry tilt), between rows, and between columns."""
        _, row, column = (self.affine[:3, axis] for axis in range(3))
        between_rows, between_columns = float(np.linalg.norm(row)), float(np.linalg.norm(column))
        return self.voxel_mm3 / float(np.linalg.norm(np.cross(row, column))), between_rows, between_columns

    @property
    def voxel_mm3(self) -> float:
        return abs(float(np.linalg.det(self.affine[:3, :3])))

    def to_patient(self, index: npt.ArrayLike) -> Floats:
        """LPS millimetres of (..., 3) slice, row, column indices, whole or fractional."""
        return np.asarray(index, np.float64) @ self.affine[:3, :3].T + self.affine[:3, 3]

    def to_index(self, mm: npt.ArrayLike) -> Floats:
        """Fractional slice, row, column of (..., 3) points in LPS millimetres."""
        return (np.asarray(mm, np.float64) - self.affine[:3, 3]) @ np.linalg.inv(self.affine[:3, :3]).T
