"""Where a displacement folds space over itself."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from inference.anatomy import Region

Vectors = npt.NDArray[np.float32]


def folded_share(vectors: Vectors, spacing_mm: float, region: Region) -> float:
    """The part of a region in which the displacement turns space inside out (Jacobian determinant ≤ 0)."""
    gradient: list[list[Vectors]] = [
        [np.gradient(vectors[..., of], spacing_mm, axis=along) for along in (2, 1, 0)] for of in range(3)
    ]
    jacobian = np.stack([np.stack(rows, -1) for rows in gradient], -2) + np.eye(3, dtype=np.float32)
    return float((np.linalg.det(jacobian[region]) <= 0).mean()) if region.any() else 0.0
