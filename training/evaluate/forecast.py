"""Evaluates the growth forecaster: simulated lesions that no training draws, each asked for as a node asks,
against the baselines that every forecast shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from rich.progress import track

from inference.catalogue import Catalogue
from inference.engine.embedded import EmbeddedEngine
from inference.growth.forecast import (
    CLASSES,
    LEAST_POINTS,
    MODEL,
    Ahead,
    log_linear,
    logit_linear,
    probability,
    suspicions,
)
from training.growth.series import OTHER, USUAL, Series, course_of, draw_series
from training.metrics.calibration import reliability
from training.metrics.classification import (
    auroc,
    confusion,
    mean_interval,
    paired_interval,
    ratio,
)

LESIONS: Final = 2000
_SPLITS: Final = {"held-out": (USUAL, 9_700_000), "shifted": (OTHER, 9_800_000)}
_POINTS: Final = range(3, 9)
_HORIZONS_DAYS: Final = (0, 90, 180, 365)
"""Where each bin begins; the last has no end."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Columns:
    """A row for each lesion. ``change``, ``log_linear``: of the log volume against the last, (n, 3) quantiles
    of the forecast and the fit; ``truth``: what was measured. ``course``: odds (n, 3); ``true_course``,
    ``rule``: numbers in ``CLASSES``, the rule's by the fit. ``points``, ``days``: measured, and ahead."""

    change: Floats
    log_linear: Floats
    truth: Floats
    course: Floats
    true_course: npt.NDArray[np.int64]
    rule: npt.NDArray[np.int64]
    points: npt.NDArray[np.int64]
    days: Floats


@dataclass(frozen=True, eq=False)
class Suspected:
    """A row for each lesion that was forecast a suspicion, all from 0 to 1: ``said`` (m, 3) quantiles,
    ``last`` and ``linear`` the baselines, ``truth`` what the reader then said; ``malignant``: what is so."""

    said: Floats
    last: Floats
    linear: Floats
    truth: Floats
    malignant: npt.NDArray[np.bool_]


def evaluate_simulated(
    data: Path | None, split: str, out: Path | None, catalogue: Catalogue, *, lesions: int = LESIONS
) -> dict[str, Any]:
    """Errors of the log volume beside those of a log-linear fit and of the last value, the course beside the
    fit's rule, the share inside the 90 % interval, by points and by days ahead; and of the suspicion of
    malignancy beside the last one and a line through the logits. Ratios rest on the same lesions above and
    below.

    split: ``held-out`` (the default), the clinic that training draws, by other seeds; or ``shifted``: other
    and less even intervals, other slices, larger lesions, larger errors of heavier tails (Student's t, 4
    degrees of freedom), two scanners whose volumes differ, a reader whose suspicions repeat worse, and laws
    of growth that no training draws (``training.growth.series.OTHER``).
    """
    split = split or "held-out"
    catalogue.find(MODEL)
    clinic, first = _SPLITS[split]
    drawn = [draw_series(np.random.default_rng([first, k, 1]), clinic) for k in range(lesions)]
    engine = EmbeddedEngine(catalogue, threads=1)
    told = [Ahead.of(one.points, [one.horizon_days], engine) for one in track(drawn, "lesions")]
    engine.close()
    columns, suspected = tabulate(drawn, told)
    if out is not None:
        _draw(columns, suspected, out, split)
    return {
        "task": "growth",
        "layout": "simulated",
        "split": split,
        "lesions": lesions,
        **of_volumes(columns),
        "malignancy_lesions": len(suspected.truth),
        **of_suspicions(suspected),
    }


def tabulate(series: Sequence[Series], told: Sequence[Ahead]) -> tuple[Columns, Suspected]:
    """What came of each lesion beside what was said of it."""
    fitted = np.array(
        [log(log_linear(s.points, s.horizon_days) / s.points[-1].volume_mm3) for s in series], np.float64
    )
    days = np.array([s.horizon_days for s in series])
    columns = Columns(
        change=np.concatenate([one.log_change for one in told]),
        log_linear=fitted,
        truth=np.array([s.log_change for s in series]),
        course=np.concatenate([one.course for one in told]),
        true_course=np.array([s.course for s in series]),
        rule=course_of(fitted / days),
        points=np.array([len(s.points) for s in series]),
        days=days,
    )
    read = [
        (s, one.logit[0], suspicions(s.points))
        for s, one in zip(series, told, strict=True)
        if one.logit is not None and len(suspicions(s.points)) >= LEAST_POINTS
    ]
    return columns, Suspected(
        said=probability([logit for _, logit, _ in read]),
        last=probability([known[-1][1] for _, _, known in read]),
        linear=probability([logit_linear(s.points, s.horizon_days) for s, _, _ in read]),
        truth=np.array([s.malignancy for s, _, _ in read]),
        malignant=np.array([s.malignant for s, _, _ in read]),
    )


def of_volumes(told: Columns) -> dict[str, Any]:
    error, of_fit, of_last = _errors(told)
    out = (
        mean_interval(error).told("mae")
        | mean_interval(of_fit).told("mae_log_linear")
        | mean_interval(of_last).told("mae_last_value")
        | paired_interval(ratio, error, of_fit).told("mae_ratio_to_log_linear")
        | paired_interval(ratio, error, of_last).told("mae_ratio_to_last_value")
        | mean_interval(_inside(told.truth, told.change)).told("inside_90_percent")
        | mean_interval(told.course.argmax(1) == told.true_course).told("course_accuracy")
        | mean_interval(told.rule == told.true_course).told("course_accuracy_rule")
    )
    parts = {f"of_{number}_points": told.points == number for number in _POINTS}
    for low, high in zip(_HORIZONS_DAYS, (*_HORIZONS_DAYS[1:], np.inf), strict=True):
        name = f"from_{low}_days" if high == np.inf else f"from_{low}_to_{high}_days"
        parts[name] = (told.days >= low) & (told.days < high)
    for name, part in parts.items():
        out |= {f"lesions_{name}": int(part.sum())} | mean_interval(error[part]).told(f"mae_{name}")
        out |= paired_interval(ratio, error[part], of_fit[part]).told(f"mae_ratio_to_log_linear_{name}")
    for name, called in (("", told.course.argmax(1)), ("_rule", told.rule)):
        matrix = _confusion(told.true_course, called)
        out[f"confusion{name}"] = {
            true: dict(zip(CLASSES, map(int, row), strict=True))
            for true, row in zip(CLASSES, matrix, strict=True)
        }
    return out


def of_suspicions(told: Suspected) -> dict[str, Any]:
    error = np.abs(told.said[:, 1] - told.truth)
    of_last, of_line = np.abs(told.last - told.truth), np.abs(told.linear - told.truth)
    out = (
        mean_interval(error).told("malignancy_mae")
        | mean_interval(of_last).told("malignancy_mae_last_value")
        | mean_interval(of_line).told("malignancy_mae_logit_linear")
        | paired_interval(ratio, error, of_last).told("malignancy_mae_ratio_to_last_value")
        | paired_interval(ratio, error, of_line).told("malignancy_mae_ratio_to_logit_linear")
        | mean_interval(_inside(told.truth, told.said)).told("malignancy_inside_90_percent")
    )
    for name, said in (("", told.said[:, 1]), ("_last_value", told.last)):
        out |= paired_interval(auroc, told.malignant, said).told(f"malignancy_auroc{name}")
    return out


def _errors(told: Columns) -> tuple[Floats, Floats, Floats]:
    """Of the forecast, of the fit and of the last value."""
    truth = told.truth
    return np.abs(told.change[:, 1] - truth), np.abs(told.log_linear - truth), np.abs(truth)


def _inside(truth: Floats, quantiles: Floats) -> npt.NDArray[np.bool_]:
    return np.asarray((truth >= quantiles[:, 0]) & (truth <= quantiles[:, 2]))


def _confusion(true: npt.NDArray[np.int64], called: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return confusion([CLASSES[k] for k in true], [CLASSES[k] for k in called], CLASSES)


def _draw(told: Columns, suspected: Suspected, out: Path, split: str) -> None:
    """Forecast against what came, courses, and whether their probabilities come true."""
    from training.metrics.pictures import draw_confusion, draw_reliability, draw_scatter

    volumes = {"log-linear fit": told.log_linear, "forecast": told.change[:, 1]}
    draw_scatter(told.truth, volumes, out / "volume.png", f"change of log volume, {split}")
    words = {"last value": suspected.last, "forecast": suspected.said[:, 1]}
    draw_scatter(suspected.truth, words, out / "malignancy.png", f"suspicion of malignancy, {split}")
    draw_confusion(_confusion(told.true_course, told.course.argmax(1)), CLASSES, out / "course.png")
    came = {
        name: reliability(told.true_course == k, told.course[:, k].clip(0, 1))
        for k, name in enumerate(CLASSES)
    }
    draw_reliability(came, out / "calibration.png")
