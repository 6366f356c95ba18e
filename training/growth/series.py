"""Volumes of lesions over years, drawn from models of growth, as they would be measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from inference.growth.forecast import (
    DAYS_OF_YEAR,
    FEATURES,
    LEAST_POINTS,
    MOST_POINTS,
    Point,
    features,
)
from inference.growth.repeatability import sphere_diameter_mm, volume_cv

SLOWEST_DAYS = 600.0
"""What doubles or halves in more days than these stays."""
_SLICES_MM = (0.75, 1.0, 1.25, 2.0, 2.5, 3.0, 5.0)


@dataclass(frozen=True)
class Series:
    """``points`` as measured, the measured log change of volume from the last of them to ``horizon_days``
    later, and which of ``CLASSES`` the lesion truly was over that time."""

    points: tuple[Point, ...]
    horizon_days: float
    log_change: float
    course: int


@dataclass(frozen=True, eq=False)
class Table:
    """Many series as the network takes them."""

    history: npt.NDArray[np.float32]
    horizon: npt.NDArray[np.float32]
    log_change: npt.NDArray[np.float32]
    course: npt.NDArray[np.int64]


def draw_series(rng: np.random.Generator) -> Series:
    """A lesion that grows (exponentially, or slowing as it fills its room), stays, shrinks, or shrinks and
    stays; seen 3 to 8 times at uneven intervals. A course is called growth or shrinkage where the true
    volume doubles or halves within 600 days at the pace it has ahead."""
    course = str(rng.choice(["grow", "slow", "stay", "shrink", "heal"], p=[0.28, 0.14, 0.34, 0.14, 0.10]))
    count = int(rng.integers(LEAST_POINTS, MOST_POINTS + 1))
    typical = float(rng.choice([60, 90, 180, 365], p=[0.2, 0.3, 0.3, 0.2]))
    gaps = typical * np.exp(rng.normal(0, 0.35, count))
    days = np.concatenate([[0.0], np.cumsum(gaps)])
    volume = np.pi / 6 * float(np.clip(rng.lognormal(np.log(8), 0.4), 4, 40)) ** 3
    logs = np.log(volume) + _course(course, days, rng)
    logs = np.clip(logs, np.log(8.0), np.log(4e5))
    slice_mm, care = float(rng.choice(_SLICES_MM)), float(rng.uniform(0.5, 1.1))
    measured = [
        level + care * volume_cv(sphere_diameter_mm(float(np.exp(level))), slice_mm) * rng.normal()
        for level in logs
    ]
    points = tuple(
        Point(float(day), float(np.exp(level)), slice_mm)
        for day, level in zip(days[:-1], measured[:-1], strict=True)
    )
    horizon = float(days[-1] - days[-2])
    pace = (logs[-1] - logs[-2]) / horizon
    return Series(points, horizon, float(measured[-1] - measured[-2]), int(course_of(pace)))


def course_of(pace: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """The number in ``CLASSES`` of a change of log volume per day."""
    limit = np.log(2) / SLOWEST_DAYS
    return 1 + np.greater(pace, limit).astype(np.int64) - np.less(pace, -limit)


def tabulate(series: list[Series]) -> Table:
    return Table(
        np.stack([features(each.points) for each in series]).reshape(-1, MOST_POINTS, FEATURES),
        np.array([[each.horizon_days / DAYS_OF_YEAR] for each in series], np.float32),
        np.array([each.log_change for each in series], np.float32),
        np.array([each.course for each in series], np.int64),
    )


def _course(name: str, days: npt.NDArray[np.float64], rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Log volume against the first day."""
    if name == "stay":
        return days * rng.normal(0, np.log(2) / 4000)
    if name in ("grow", "slow"):
        pace = np.log(2) / float(np.clip(rng.lognormal(np.log(220), 0.6), 40, 900))
        if name == "grow":
            return days * pace
        most = float(rng.uniform(0.7, 3.0))
        return most * (1 - np.exp(-pace * days / most))
    pace = np.log(2) / float(np.clip(rng.lognormal(np.log(180), 0.6), 40, 900))
    if name == "shrink":
        return -pace * days
    least = float(rng.uniform(0.4, 2.0))
    return -least * (1 - np.exp(-pace * days / least))
