"""How large a lesion will probably be: a small recurrent network over its measurements, beside two plain
baselines. Always a forecast, never a measurement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, log
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from inference.catalogue import Catalogue
from inference.engine import Engine
from inference.growth.repeatability import sphere_diameter_mm, volume_cv

MODEL: Final = "growth-forecaster"
LEAST_POINTS: Final = 3
MOST_POINTS: Final = 8
FEATURES: Final = 5
HORIZONS_DAYS: Final = (90, 180, 365)
SHOWN_DAYS: Final = 180
CLASSES: Final = ("shrinking", "stable", "growing")
DAYS_OF_YEAR: Final = 365.0
_REFERENCE_MM3: Final = 500.0

Floats32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Point:
    """One measurement; ``days`` relative to any day, the same for all points of a lesion."""

    days: float
    volume_mm3: float
    slice_mm: float = 1.0
    kind: str | None = None

    @property
    def volume_cv(self) -> float:
        return volume_cv(sphere_diameter_mm(self.volume_mm3), self.slice_mm, self.kind)


def forecast(points: Sequence[Point], engine: Engine, catalogue: Catalogue) -> Mapping[str, Any] | None:
    """The volume 180 days ahead with its 90 % interval, the course, the curve and both baselines, ready for
    JSON; None where fewer than three dates were measured or there is no forecaster.

    Keys: ``days``, ``volume_mm3``, ``low_mm3``, ``high_mm3``; ``course`` with its ``probability``; ``curve``,
    a list of [days ahead, low, middle, high]; ``log_linear_mm3`` and ``last_value_mm3``, the baselines;
    ``points``, how many dates it rests on; ``model``.

    Raises:
        EngineError: the model cannot be run.
    """
    known = one_a_day(points)[-MOST_POINTS:]
    if len(known) < LEAST_POINTS or MODEL not in catalogue.names:
        return None
    history = np.repeat(features(known)[None], len(HORIZONS_DAYS), axis=0)
    horizons = np.array(HORIZONS_DAYS, np.float32)[:, None] / np.float32(DAYS_OF_YEAR)
    outputs = engine.infer(MODEL, {"history": history, "horizon": horizons})
    last = known[-1].volume_mm3
    volumes = last * np.exp(np.sort(outputs["log_change"].astype(np.float64), axis=1))
    curve = [[days, *map(float, row)] for days, row in zip(HORIZONS_DAYS, volumes, strict=True)]
    shown = HORIZONS_DAYS.index(SHOWN_DAYS)
    odds = outputs["course"][shown]
    return {
        "days": SHOWN_DAYS,
        "volume_mm3": curve[shown][2],
        "low_mm3": curve[shown][1],
        "high_mm3": curve[shown][3],
        "course": CLASSES[int(odds.argmax())],
        "probability": float(odds.max()),
        "curve": curve,
        "log_linear_mm3": log_linear(known, SHOWN_DAYS),
        "last_value_mm3": last,
        "points": len(known),
        "model": f"{MODEL} {catalogue.find(MODEL).card.version}",
    }


def one_a_day(points: Sequence[Point]) -> list[Point]:
    """In order of time, the last measurement of each day; what has no volume is left out."""
    days = {point.days: point for point in points if point.volume_mm3 > 0}
    return [days[day] for day in sorted(days)]


def features(points: Sequence[Point]) -> Floats32:
    """(8, 5), oldest first, earlier rows empty: whether there is a point, its log volume against the last
    one's, years before the last, wCV of its volume, log of the last volume against 500 mm³."""
    out = np.zeros((MOST_POINTS, FEATURES), np.float32)
    last = points[-1]
    rows = [
        (
            1.0,
            log(point.volume_mm3 / last.volume_mm3),
            (last.days - point.days) / DAYS_OF_YEAR,
            point.volume_cv,
            log(last.volume_mm3 / _REFERENCE_MM3),
        )
        for point in points[-MOST_POINTS:]
    ]
    out[-len(rows) :] = rows
    return out


def log_linear(points: Sequence[Point], days_ahead: float) -> float:
    """Exponential growth fitted to all points by least squares of log volume, read ahead: mm³. The rate is
    held to a doubling or halving in 30 days."""
    days = np.array([point.days for point in points], np.float64)
    logs = np.log([point.volume_mm3 for point in points])
    rate, level = np.polyfit(days - days[-1], logs, 1)
    return exp(float(level + np.clip(rate, -log(2) / 30, log(2) / 30) * days_ahead))
