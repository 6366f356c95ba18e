"""Lesions over years, drawn from models of growth: their volumes as they would be measured, and the reader's
suspicion of malignancy as it would be read.

Whether a lesion is malignant is drawn first. How it grows and what the reader suspects each depend on that
alone, and on the size, by numbers of their own: benign lesions grow and malignant ones stay, only less often.

What the reader says is ``Suspicion``. Its constants are those of the shipped ``lung-nodules`` on phantom
nodules that were scanned several times, their sizes drawn whatever the label (``python -m
training.growth.repeats`` prints them; of 367 looks at 68 nodules of other anatomies): -0.75 at 8 mm, 1.18 for
each doubling of the diameter, 0.30 and 0.29 what nodules and scans add, and 0.08 ± 0.1 where the nodule is
malignant. The last is 0.2 here, as the AUROC on the card is 0.03 above that of the diameter alone. No real
lesion was read twice for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from inference.growth.forecast import (
    DAYS_OF_YEAR,
    FEATURES,
    LEAST_POINTS,
    MOST_POINTS,
    Point,
    features,
    logit,
    probability,
    suspicions,
)
from inference.growth.repeatability import sphere_diameter_mm, volume_cv

Days = npt.NDArray[np.float64]
Law = Callable[[Days, np.random.Generator], npt.NDArray[np.float64]]
"""Log volume on each of the days, against the first."""

SLOWEST_DAYS: Final = 600.0
"""What doubles or halves in more days than these stays."""
MALIGNANT: Final = 0.42
"""The share of lesions that are, as among the phantom nodules."""
_LEAST_MM3, _MOST_MM3 = 8.0, 4e5


@dataclass(frozen=True)
class Suspicion:
    """The logit of what a reader suspects: ``benign`` at 8 mm, by ``malignant`` more where the lesion is, by
    ``growth`` more for each doubling of the diameter; ``lesion`` and ``visit``: standard deviations of what a
    lesion's looks and what a scan add."""

    benign: float = -0.75
    malignant: float = 0.2
    growth: float = 1.2
    lesion: float = 0.3
    visit: float = 0.3

    def read(
        self,
        malignant: bool,
        diameters_mm: npt.NDArray[np.float64],
        care: float,
        clinic: Clinic,
        rng: np.random.Generator,
    ) -> npt.NDArray[np.float64]:
        """0 to 1 at each visit. care: what ``visit`` is multiplied by."""
        looks = self.benign + self.malignant * malignant + self.lesion * rng.normal()
        noise = care * self.visit * clinic.noise(len(diameters_mm), rng)
        return probability(looks + self.growth * np.log2(diameters_mm / 8) + noise)


@dataclass(frozen=True)
class Clinic:
    """Where lesions are followed.

    typical_days and gap_spread: between visits, and how uneven they are, as a log. diameters_mm and
    size_spread: the median at the first visit, of benign lesions and of malignant ones, and their spread as a
    log. care: what the published wCV is multiplied by, drawn for each lesion between these. tails: degrees of
    freedom of Student's t that errors follow, 0 for a normal distribution. scanners: standard deviation of
    what a second scanner adds to the log volume, 0 where there is one; each visit is on either. benign,
    malignant: odds of each law of growth.
    """

    typical_days: Mapping[float, float]
    gap_spread: float
    slices_mm: tuple[float, ...]
    diameters_mm: tuple[float, float]
    size_spread: float
    care: tuple[float, float]
    benign: Mapping[str, float]
    malignant: Mapping[str, float]
    tails: int = 0
    scanners: float = 0.0
    suspicion: Suspicion = Suspicion()

    def noise(self, count: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
        """Of a standard deviation of 1."""
        if not self.tails:
            return rng.normal(size=count)
        return rng.standard_t(self.tails, count) / np.sqrt(self.tails / (self.tails - 2))


USUAL: Final = Clinic(
    typical_days={60: 0.2, 90: 0.3, 180: 0.3, 365: 0.2},
    gap_spread=0.45,
    slices_mm=(0.75, 1.0, 1.25, 2.0, 2.5, 3.0, 5.0),
    diameters_mm=(6.6, 12.5),
    size_spread=0.47,
    care=(0.5, 1.4),
    benign={"stay": 0.47, "grow": 0.15, "slow": 0.1, "shrink": 0.15, "heal": 0.13},
    malignant={"stay": 0.16, "grow": 0.46, "slow": 0.2, "shrink": 0.12, "heal": 0.06},
)

OTHER: Final = Clinic(
    typical_days={45: 0.2, 120: 0.4, 240: 0.3, 500: 0.1},
    gap_spread=0.6,
    slices_mm=(0.5, 0.625, 1.5, 3.75, 4.0, 6.0),
    diameters_mm=(9.0, 14.0),
    size_spread=0.55,
    care=(0.7, 1.4),
    benign={"stay": 0.42, "grow": 0.08, "widen": 0.15, "fill": 0.07, "shrink": 0.13, "heal": 0.15},
    malignant={
        "stay": 0.14,
        "grow": 0.2,
        "widen": 0.2,
        "fill": 0.12,
        "wait": 0.14,
        "shrink": 0.1,
        "return": 0.1,
    },
    tails=4,
    scanners=0.1,
    suspicion=Suspicion(benign=-0.3, malignant=0.5, growth=0.8, lesion=0.5, visit=0.45),
)
"""Other intervals, more uneven; other slices, some thicker; larger lesions; larger errors of heavier tails,
and two scanners that differ; a reader whose suspicions repeat worse; and laws that no training drew: a
diameter that grows evenly, logistic growth, growth that begins late, and what shrinks and comes back."""


@dataclass(frozen=True)
class Series:
    """``points`` as measured and read, the measured log change of volume from the last of them to
    ``horizon_days`` later and which of ``CLASSES`` the lesion truly was over that time; ``malignancy``: what
    the reader suspected then; ``malignant``: the truth."""

    points: tuple[Point, ...]
    horizon_days: float
    log_change: float
    course: int
    malignancy: float
    malignant: bool


@dataclass(frozen=True, eq=False)
class Table:
    """Many series as the network takes them. ``malignancy_change``: of the logit against the last suspicion,
    NaN where there is none."""

    history: npt.NDArray[np.float32]
    horizon: npt.NDArray[np.float32]
    log_change: npt.NDArray[np.float32]
    course: npt.NDArray[np.int64]
    malignancy_change: npt.NDArray[np.float32]


def draw_series(rng: np.random.Generator, clinic: Clinic = USUAL) -> Series:
    """A lesion seen 3 to 8 times, and once more at the horizon. A course is called growth or shrinkage where
    the true volume doubles or halves within 600 days at the pace it has ahead.

    Every sixth lesion has no suspicion at all, and one of four others lacks some, as where priors were read
    by other weights.
    """
    malignant = bool(rng.random() < MALIGNANT)
    odds = clinic.malignant if malignant else clinic.benign
    law = LAWS[str(rng.choice(list(odds), p=list(odds.values())))]
    count = int(rng.integers(LEAST_POINTS, MOST_POINTS + 1))
    typical = float(rng.choice(list(clinic.typical_days), p=list(clinic.typical_days.values())))
    days = np.cumsum([0.0, *(typical * np.exp(rng.normal(0, clinic.gap_spread, count)))])
    median_mm = clinic.diameters_mm[malignant]
    first_mm = float(np.clip(rng.lognormal(np.log(median_mm), clinic.size_spread), 4, 40))
    logs = np.log(np.pi / 6 * first_mm**3) + law(days, rng)
    logs = np.clip(logs, np.log(_LEAST_MM3), np.log(_MOST_MM3))
    true_mm = np.array([sphere_diameter_mm(mm3) for mm3 in np.exp(logs)])
    slice_mm = float(rng.choice(clinic.slices_mm))
    cvs = float(rng.uniform(*clinic.care)) * np.array([volume_cv(mm, slice_mm) for mm in true_mm])
    second = clinic.scanners * rng.normal() * (rng.random(count + 1) < 0.5)
    measured = logs + cvs * clinic.noise(count + 1, rng) + second
    suspected = clinic.suspicion.read(malignant, true_mm, float(rng.uniform(0.6, 2.2)), clinic, rng)
    has = _has_suspicion(count, rng)
    points = tuple(
        Point(float(day), float(np.exp(level)), slice_mm, malignancy=float(said) if there else None)
        for day, level, said, there in zip(days, measured, suspected, has, strict=False)
    )
    horizon = float(days[-1] - days[-2])
    return Series(
        points,
        horizon,
        float(measured[-1] - measured[-2]),
        int(course_of((logs[-1] - logs[-2]) / horizon)),
        float(suspected[-1]),
        malignant,
    )


def course_of(pace: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """The number in ``CLASSES`` of a change of log volume per day."""
    limit = np.log(2) / SLOWEST_DAYS
    return 1 + np.greater(pace, limit).astype(np.int64) - np.less(pace, -limit)


def tabulate(series: Sequence[Series]) -> Table:
    return Table(
        np.stack([features(each.points) for each in series]).reshape(-1, MOST_POINTS, FEATURES),
        np.array([[each.horizon_days / DAYS_OF_YEAR] for each in series], np.float32),
        np.array([each.log_change for each in series], np.float32),
        np.array([each.course for each in series], np.int64),
        np.array([_malignancy_change(each) for each in series], np.float32),
    )


def _malignancy_change(series: Series) -> float:
    read = suspicions(series.points)
    return logit(series.malignancy) - read[-1][1] if read else float("nan")


def _has_suspicion(count: int, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    kind = rng.random()
    if kind < 1 / 6:
        return np.zeros(count, bool)
    return rng.random(count) < 0.7 if kind < 3 / 8 else np.ones(count, bool)


def _stays(days: Days, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    return days * rng.normal(0, np.log(2) / 4000)


def _grows(days: Days, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    return days * _pace(220, rng)


def _slows(days: Days, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Gompertz: as it fills its room."""
    pace, most = _pace(220, rng), float(rng.uniform(0.7, 3.0))
    return most * (1 - np.exp(-pace * days / most))


def _shrinks(days: Days, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    return -_pace(180, rng) * days


def _heals(days: Days, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Shrinks, and stays."""
    pace, least = _pace(180, rng), float(rng.uniform(0.4, 2.0))
    return -least * (1 - np.exp(-pace * days / least))


def _widens(days: Days, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """The diameter grows evenly."""
    return 3 * np.log1p(days * _pace(220, rng) / 3)


def _fills(days: Days, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Logistic growth."""
    pace, room = _pace(150, rng), float(np.exp(rng.uniform(0.7, 3.0)))
    return np.log(room) - np.log1p((room - 1) * np.exp(-pace * days))


def _waits(days: Days, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Stays, and then grows."""
    return _pace(180, rng) * np.maximum(days - float(rng.uniform(0, 0.7)) * days[-1], 0)


def _returns(days: Days, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Shrinks under treatment, and grows again."""
    turn = float(rng.uniform(0.2, 0.8)) * days[-1]
    return -_pace(180, rng) * np.minimum(days, turn) + _pace(220, rng) * np.maximum(days - turn, 0)


def _pace(doubling_days: float, rng: np.random.Generator) -> float:
    """Of the log volume per day; the median doubling, or halving, time is given."""
    return float(np.log(2) / np.clip(rng.lognormal(np.log(doubling_days), 0.6), 40, 900))


LAWS: Final[Mapping[str, Law]] = {
    "stay": _stays,
    "grow": _grows,
    "slow": _slows,
    "shrink": _shrinks,
    "heal": _heals,
    "widen": _widens,
    "fill": _fills,
    "wait": _waits,
    "return": _returns,
}
