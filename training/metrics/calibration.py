"""Whether a probability of 0.7 comes true in 7 of 10 cases."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Reliability:
    """Cases by probability, in bins of equal width; empty bins are left out.

    ``probability``: mean of each bin. ``frequency``: share that came true. ``count``: cases.
    """

    probability: Floats
    frequency: Floats
    count: npt.NDArray[np.int64]
    brier: float

    @property
    def ece(self) -> float:
        """Expected calibration error: the gap between both, weighted by cases (arXiv:1706.04599)."""
        if not self.count.size:
            return float("nan")
        return float(np.average(np.abs(self.probability - self.frequency), weights=self.count))


def reliability(truth: npt.ArrayLike, probability: npt.ArrayLike, bins: int = 10) -> Reliability:
    """Bins of [0, 1]; a probability on an edge belongs to the bin above, 1 to the last.

    Raises:
        ValueError: a probability outside of [0, 1].
    """
    came_true, given = np.asarray(truth, np.float64), np.asarray(probability, np.float64)
    if given.size and not (given.min() >= 0 and given.max() <= 1):
        raise ValueError("calibration needs probabilities between 0 and 1")
    place = np.minimum((given * bins).astype(np.int64), bins - 1)
    count = np.bincount(place, minlength=bins)
    filled = count > 0
    mean = np.bincount(place, given, bins)[filled] / count[filled]
    share = np.bincount(place, came_true, bins)[filled] / count[filled]
    brier = float(((given - came_true) ** 2).mean()) if given.size else float("nan")
    return Reliability(mean, share, count[filled], brier)
