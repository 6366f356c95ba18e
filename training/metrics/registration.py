"""How well two images were brought together: landmarks, structures, and the field itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.metrics.overlap import dice

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class TargetError:
    """Target registration error over landmarks, mm."""

    mean_mm: float
    sd_mm: float
    median_mm: float
    p95_mm: float
    worst_mm: float


def target_error(fixed_mm: npt.ArrayLike, moved_mm: npt.ArrayLike) -> TargetError:
    """Distances between landmarks (count, 3) in mm and where the registration puts them; the standard
    deviation is that of the population."""
    apart = np.linalg.norm(np.subtract(fixed_mm, moved_mm, dtype=np.float64), axis=1)
    median, p95 = np.percentile(apart, [50, 95])
    return TargetError(float(apart.mean()), float(apart.std()), float(median), float(p95), float(apart.max()))


def structure_dice(fixed: npt.ArrayLike, moved: npt.ArrayLike) -> dict[int, float]:
    """Dice of every label above 0 of two label images of one shape."""
    a, b = np.asarray(fixed), np.asarray(moved)
    labels = sorted({*np.unique(a).tolist(), *np.unique(b).tolist()} - {0})
    return {int(label): dice(a == label, b == label) for label in labels}


@dataclass(frozen=True)
class Folding:
    """``folded``: share of voxels whose Jacobian determinant is not above 0. ``sd_log``: standard deviation
    of the logarithm of the determinant where it is (0 for a rigid field)."""

    folded: float
    sd_log: float


def jacobian_determinant(displacement_mm: npt.ArrayLike, spacing_mm: Sequence[float]) -> Floats:
    """Determinant of the gradient of x + u(x), by central differences.

    displacement_mm: (slice, row, column, 3), components along slice, row, column. spacing_mm: of the same
    axes; each must be at least two voxels long.
    """
    field = np.asarray(displacement_mm, np.float64)
    steps = [
        [np.gradient(field[..., k], mm, axis=axis) for axis, mm in enumerate(spacing_mm)] for k in range(3)
    ]
    gradient = np.moveaxis(np.array(steps), (0, 1), (-2, -1))
    determinant: Floats = np.linalg.det(gradient + np.eye(3))
    return determinant


def folding(displacement_mm: npt.ArrayLike, spacing_mm: Sequence[float]) -> Folding:
    """Where a displacement field folds, and how unevenly it stretches."""
    determinant = jacobian_determinant(displacement_mm, spacing_mm)
    upright = determinant[determinant > 0]
    return Folding(
        float((determinant <= 0).mean()),
        float(np.log(upright).std()) if upright.size else float("nan"),
    )
