"""How large a lesion will probably be, and how much it will be suspected of malignancy: a small recurrent
network over its measurements, beside plain baselines. Always a forecast, never a measurement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, log
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from inference.catalogue import Catalogue
from inference.engine import Engine
from inference.growth.repeatability import sphere_diameter_mm, volume_cv

MODEL: Final = "growth-forecaster"
LEAST_POINTS: Final = 3
MOST_POINTS: Final = 8
FEATURES: Final = 8
HORIZONS_DAYS: Final = (90, 180, 365)
SHOWN_DAYS: Final = 180
CLASSES: Final = ("shrinking", "stable", "growing")
DAYS_OF_YEAR: Final = 365.0
_REFERENCE_MM3: Final = 500.0
_LEAST_MALIGNANCY: Final = 0.01
"""Suspicions below it, and above what it leaves of 1, are not told apart."""

Floats = npt.NDArray[np.float64]
Floats32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Point:
    """One measurement; ``days`` relative to any day, the same for all points of a lesion. ``malignancy``: the
    reader's suspicion of it, 0 to 1; None where the reader says none, or another network read."""

    days: float
    volume_mm3: float
    slice_mm: float = 1.0
    kind: str | None = None
    malignancy: float | None = None

    @property
    def volume_cv(self) -> float:
        return volume_cv(sphere_diameter_mm(self.volume_mm3), self.slice_mm, self.kind)


@dataclass(frozen=True, eq=False)
class Ahead:
    """What the network says of one lesion, a row for each horizon: the 5, 50 and 95 % quantile of the log
    volume against the last (n, 3), the odds of the course (n, 3), and the same quantiles of the suspicion's
    logit (n, 3), None where no point has one."""

    log_change: Floats
    course: Floats
    logit: Floats | None

    @classmethod
    def of(cls, points: Sequence[Point], horizons_days: Sequence[float], engine: Engine) -> Self:
        """points: as ``one_a_day`` gives them, 8 at most.

        Raises:
            EngineError: the model cannot be run.
        """
        history = np.repeat(features(points)[None], len(horizons_days), axis=0)
        horizon = np.array(horizons_days, np.float32)[:, None] / np.float32(DAYS_OF_YEAR)
        outputs = engine.infer(MODEL, {"history": history, "horizon": horizon})
        change, course, malignancy = (
            outputs[name].astype(np.float64) for name in ("log_change", "course", "malignancy_change")
        )
        read = suspicions(points)
        logit = read[-1][1] + np.sort(malignancy, axis=1) if read else None
        return cls(np.sort(change, axis=1), course, logit)


def _takes_such_points(catalogue: Catalogue) -> bool:
    """Whether there is a forecaster, and one of today's features: one that a site trained before is passed
    over, as a missing one is."""
    if MODEL not in catalogue.names:
        return False
    card = catalogue.find(MODEL).card
    history = next((one.dims for one in card.inputs if one.tensor == "history"), ())
    outputs = {one.tensor for one in card.outputs}
    return tuple(history[1:]) == (MOST_POINTS, FEATURES) and "malignancy_change" in outputs


def forecast(points: Sequence[Point], engine: Engine, catalogue: Catalogue) -> Mapping[str, Any] | None:
    """The volume 180 days ahead with its 90 % interval, the course, the curve and both baselines, ready for
    JSON; None where fewer than three dates were measured or there is no forecaster of
    these features.

    Keys: ``days``, ``volume_mm3``, ``low_mm3``, ``high_mm3``; ``course`` with its ``probability``; ``curve``,
    a list of [days ahead, low, middle, high]; ``log_linear_mm3`` and ``last_value_mm3``, the baselines;
    ``points``, how many dates it rests on; ``model``; and ``malignancy``, what the reader will suspect, None
    where fewer than three of these dates have a suspicion: in the same manner ``probability``, ``low``,
    ``high``, ``curve``, ``logit_linear``, ``last_value`` and ``points``.

    Raises:
        EngineError: the model cannot be run.
    """
    known = one_a_day(points)[-MOST_POINTS:]
    if len(known) < LEAST_POINTS or not _takes_such_points(catalogue):
        return None
    ahead = Ahead.of(known, HORIZONS_DAYS, engine)
    last = known[-1].volume_mm3
    curve = _curve(last * np.exp(ahead.log_change))
    shown = HORIZONS_DAYS.index(SHOWN_DAYS)
    odds = ahead.course[shown]
    _, low, middle, high = curve[shown]
    return {
        "days": SHOWN_DAYS,
        "volume_mm3": middle,
        "low_mm3": low,
        "high_mm3": high,
        "course": CLASSES[int(odds.argmax())],
        "probability": float(odds.max()),
        "curve": curve,
        "log_linear_mm3": log_linear(known, SHOWN_DAYS),
        "last_value_mm3": last,
        "points": len(known),
        "malignancy": _malignancy(known, ahead.logit),
        "model": f"{MODEL} {catalogue.find(MODEL).card.version}",
    }


def _malignancy(known: Sequence[Point], logit: Floats | None) -> Mapping[str, Any] | None:
    read = suspicions(known)
    if logit is None or len(read) < LEAST_POINTS:
        return None
    curve = _curve(probability(logit))
    _, low, middle, high = curve[HORIZONS_DAYS.index(SHOWN_DAYS)]
    return {
        "probability": middle,
        "low": low,
        "high": high,
        "curve": curve,
        "logit_linear": float(probability(logit_linear(known, SHOWN_DAYS))),
        "last_value": float(probability(read[-1][1])),
        "points": len(read),
    }


def _curve(rows: Floats) -> list[list[float]]:
    return [[days, *map(float, row)] for days, row in zip(HORIZONS_DAYS, rows, strict=True)]


def in_words(forecast: Mapping[str, Any]) -> str:
    """A forecast in one sentence that cannot be taken for a measurement."""
    said = (
        f"Forecast from {forecast['points']} dates, not measured: in {forecast['days']} days "
        f"{forecast['volume_mm3']:.0f} mm3 (90 % interval {forecast['low_mm3']:.0f} to "
        f"{forecast['high_mm3']:.0f} mm3; a log-linear fit says {forecast['log_linear_mm3']:.0f} mm3)"
    )
    malignancy = forecast.get("malignancy")
    return f"{said}, {malignancy_in_words(malignancy)}." if malignancy else f"{said}."


def malignancy_in_words(malignancy: Mapping[str, Any]) -> str:
    """What is forecast of the suspicion, under ``malignancy``."""
    middle, low, high = (100 * malignancy[name] for name in ("probability", "low", "high"))
    return f"suspicion of malignancy {middle:.0f} % (90 % interval {low:.0f} to {high:.0f} %)"


def one_a_day(points: Sequence[Point]) -> list[Point]:
    """In order of time, the last measurement of each day; what has no volume is left out."""
    days = {point.days: point for point in points if point.volume_mm3 > 0}
    return [days[day] for day in sorted(days)]


def features(points: Sequence[Point]) -> Floats32:
    """(8, 8), oldest first, earlier rows empty: whether there is a point, its log volume against the last
    one's, years before the last, wCV of its volume, log of the last volume against 500 mm³; whether it has a
    suspicion, its logit against that of the last that has one, and the latter's."""
    out = np.zeros((MOST_POINTS, FEATURES), np.float32)
    kept = points[-MOST_POINTS:]
    last, read = kept[-1], suspicions(kept)
    rows = [
        (
            1.0,
            log(point.volume_mm3 / last.volume_mm3),
            (last.days - point.days) / DAYS_OF_YEAR,
            point.volume_cv,
            log(last.volume_mm3 / _REFERENCE_MM3),
            *((0.0, 0.0) if point.malignancy is None else (1.0, logit(point.malignancy) - read[-1][1])),
            read[-1][1] if read else 0.0,
        )
        for point in kept
    ]
    out[-len(rows) :] = rows
    return out


def suspicions(points: Sequence[Point]) -> list[tuple[float, float]]:
    """Days and logit of each point that has a suspicion."""
    return [(point.days, logit(point.malignancy)) for point in points if point.malignancy is not None]


def logit(malignancy: float) -> float:
    """Of a suspicion, held to 0.01 and 0.99."""
    held = min(max(malignancy, _LEAST_MALIGNANCY), 1 - _LEAST_MALIGNANCY)
    return log(held / (1 - held))


def probability(logit: npt.ArrayLike) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.asarray(logit, np.float64))))


def log_linear(points: Sequence[Point], days_ahead: float) -> float:
    """Exponential growth fitted to all points by least squares of log volume, read ahead: mm³. The rate is
    held to a doubling or halving in 30 days."""
    days = np.array([point.days for point in points], np.float64)
    logs = np.log([point.volume_mm3 for point in points])
    rate, level = np.polyfit(days - days[-1], logs, 1)
    return exp(float(level + np.clip(rate, -log(2) / 30, log(2) / 30) * days_ahead))


def logit_linear(points: Sequence[Point], days_ahead: float) -> float:
    """The logit of the suspicion by a line through those of the points, least squares, read ahead and held as
    ``logit`` holds it. ``days_ahead``: of the last point."""
    days, logits = np.array(suspicions(points), np.float64).T
    rate, level = np.polyfit(days - points[-1].days, logits, 1)
    return logit(float(probability(level + rate * days_ahead)))
