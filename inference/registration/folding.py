"""Where a displacement folds space over itself, and how unevenly it stretches it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from inference.anatomy import Region
from inference.volume import Floats

Vectors = npt.NDArray[np.float32]

_LEAST_DETERMINANT = 0.05


def folded_share(vectors: Vectors, spacing_mm: float, region: Region) -> float:
    """The part of a region in which the displacement turns space inside out (Jacobian determinant ≤ 0)."""
    return float((_determinants(vectors, spacing_mm, region) <= 0).mean()) if region.any() else 0.0


def unevenness(vectors: Vectors, spacing_mm: float, region: Region) -> float:
    """Standard deviation over a region of the logarithm of the Jacobian determinant (SDlogJ; Hering et al.,
    Learn2Reg, IEEE Trans Med Imaging 2023): 0 where all of it widens alike."""
    if not region.any():
        return 0.0
    widened = np.maximum(_determinants(vectors, spacing_mm, region), _LEAST_DETERMINANT)
    return float(np.log(widened).std())


def _determinants(vectors: Vectors, spacing_mm: float, region: Region) -> Floats:
    """Of the Jacobian at each voxel of the region."""
    gradient: list[list[Vectors]] = [
        [np.gradient(vectors[..., of], spacing_mm, axis=along) for along in (2, 1, 0)] for of in range(3)
    ]
    jacobian = np.stack([np.stack(rows, -1) for rows in gradient], -2) + np.eye(3, dtype=np.float32)
    return np.asarray(np.linalg.det(jacobian[region]), np.float64)
