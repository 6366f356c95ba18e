"""The rigid motion the network has found, moved on to where mutual information is highest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage, optimize
from scipy.spatial.transform import Rotation

from inference.anatomy import Image, Region
from inference.registration.agreement import CT_HU, PET_SUV
from inference.volume import Floats, Volume

_BINS: Final = 32
_MOST_POINTS: Final = 9_000
_REACH_MM: Final = 20.0
_REACH_DEG: Final = 7.0
_MOST_TRIES: Final = 420
_LEAST_SHARE: Final = 0.5


@dataclass(frozen=True, eq=False)
class Sample:
    """Points of the CT, (n, 3) LPS mm, each with its bin of HU; the PET in SUV, smoothed, and the middle the
    motion turns about. Mutual information is smooth in the motion: SUV is shared out between two bins."""

    points: Floats
    bins: npt.NDArray[np.int64]
    pet: Volume
    center_mm: Floats

    @classmethod
    def of(cls, hu: Image, body: Region, points: Floats, pet: Volume, center_mm: Floats) -> Sample:
        """Of the body and its rim, spread evenly."""
        rim = np.flatnonzero(ndimage.binary_dilation(body, iterations=2))
        chosen = rim[:: max(len(rim) // _MOST_POINTS, 1)]
        low, high = CT_HU
        level = np.clip((hu.ravel()[chosen] - low) / (high - low), 0, 1)
        bins = np.minimum((level * _BINS).astype(np.int64), _BINS - 1)
        return cls(points[chosen], bins, pet, center_mm)

    def mutual_information(self, motion: Floats) -> float:
        """In nats; 0 where the PET shows less than half of the points."""
        index = self.pet.to_index(self.points @ motion[:3, :3].T + motion[:3, 3])
        seen = ((index >= -0.5) & (index <= np.array(self.pet.shape) - 0.5)).all(axis=1)
        if seen.mean() < _LEAST_SHARE:
            return 0.0
        suv = ndimage.map_coordinates(self.pet.voxels, index[seen].T, order=1, mode="nearest")
        level = np.sqrt(np.clip(suv / PET_SUV, 0, 1)) * (_BINS - 1.001)
        lower = level.astype(np.int64)
        upper = level - lower
        at = self.bins[seen] * _BINS + lower
        size = _BINS * _BINS + 1
        joint = np.bincount(at, 1 - upper, size) + np.bincount(at + 1, upper, size)
        share = joint[:-1].reshape(_BINS, _BINS) / seen.sum()
        alone = share.sum(1, keepdims=True) * share.sum(0, keepdims=True)
        there = share > 0
        return float((share[there] * np.log(share[there] / alone[there])).sum())

    def refined(self, motion: Floats) -> Floats:
        """The motion within 20 mm and 7° of ``motion`` under which both images tell most of each other
        (Powell's method; Maes et al., IEEE Trans Med Imaging 1997)."""
        reach = np.array([_REACH_MM] * 3 + [_REACH_DEG] * 3)

        def lost(parameters: Floats) -> float:
            return -self.mutual_information(motion @ motion_about(parameters * reach, self.center_mm))

        found = optimize.minimize(
            lost,
            np.zeros(6),
            method="Powell",
            bounds=[(-1.0, 1.0)] * 6,
            options={"direc": np.eye(6) * 0.25, "xtol": 0.01, "ftol": 1e-4, "maxfev": _MOST_TRIES},
        )
        return motion @ motion_about(np.asarray(found.x, np.float64) * reach, self.center_mm)


def motion_about(parameters: Floats, center_mm: Floats) -> Floats:
    """The (4, 4) motion of three millimetres (x, y, z) and a rotation vector in degrees about a point."""
    motion = np.eye(4)
    turn = Rotation.from_rotvec(parameters[3:], degrees=True).as_matrix()
    motion[:3, :3] = turn
    motion[:3, 3] = center_mm - turn @ center_mm + parameters[:3]
    return motion
