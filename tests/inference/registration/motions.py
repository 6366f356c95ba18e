"""Rigid motions for the tests of registration."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from inference.volume import Floats


def moved(shift_mm: tuple[float, float, float], turn_deg: tuple[float, float, float]) -> Floats:
    """(4, 4): a turn about the origin and then a shift."""
    motion = np.eye(4)
    motion[:3, :3] = Rotation.from_rotvec(turn_deg, degrees=True).as_matrix()
    motion[:3, 3] = shift_mm
    return motion
