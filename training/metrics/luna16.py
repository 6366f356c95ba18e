"""LUNA16's files: annotations, excluded findings, series and results, as its evaluation script reads them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from training.errors import BrokenDataError
from training.metrics.froc import Froc, Mark, Nodule, Outcome, froc, outcomes
from training.tables import Row, read_table

MOST_MARKS = 100
"""Marks per scan that count. The script keeps those above the 101st highest score."""

_PLACE = ("seriesuid", "coordX", "coordY", "coordZ")


@dataclass(frozen=True, eq=False)
class Luna16:
    """The score of one file of results; ``marks`` counts those of listed series, after the limit."""

    froc: Froc
    scans: tuple[Outcome, ...]
    marks: int

    @property
    def nodules(self) -> int:
        return sum(len(scan.nodules) for scan in self.scans)

    @property
    def found(self) -> int:
        return sum(score is not None for scan in self.scans for score in scan.nodules)


def score_luna16(
    annotations: Path,
    excluded: Path,
    seriesuids: Path,
    results: Path,
    *,
    most_marks: int | None = MOST_MARKS,
    resamples: int = 1000,
    seed: int = 0,
) -> Luna16:
    """FROC and CPM of ``results`` over every series of ``seriesuids``.

    Raises:
        BrokenDataError: a file is missing or malformed; results for none of the series.
    """
    series = read_series(seriesuids)
    marks = strongest(read_marks(results, series), most_marks)
    scans = outcomes(series, read_nodules(annotations), read_nodules(excluded), marks)
    return Luna16(froc(scans, resamples=resamples, seed=seed), tuple(scans), len(marks))


def read_series(path: Path) -> tuple[str, ...]:
    """Series UIDs, one to a line; a header ``seriesuid`` is none of them."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError as error:
        raise BrokenDataError(f"{path} is missing") from error
    series = tuple(line.split(",")[0].strip() for line in lines if line.strip(" ,"))
    series = series[1:] if series[:1] == ("seriesuid",) else series
    if not series:
        raise BrokenDataError(f"{path} lists no series")
    if len(set(series)) < len(series):
        twice = next(uid for uid in series if series.count(uid) > 1)
        raise BrokenDataError(f"{path} lists {twice} twice")
    return series


def read_nodules(path: Path) -> list[Nodule]:
    """Rows of ``seriesuid,coordX,coordY,coordZ,diameter_mm``."""
    return [
        Nodule(row.text("seriesuid"), _place(row), row.number("diameter_mm"))
        for row in read_table(path, (*_PLACE, "diameter_mm"))
    ]


def read_marks(path: Path, series: Sequence[str]) -> list[Mark]:
    """Rows of ``seriesuid,coordX,coordY,coordZ,probability`` that are of one of ``series``."""
    listed = set(series)
    rows = list(read_table(path, (*_PLACE, "probability")))
    marks = [
        Mark(row.text("seriesuid"), _place(row), row.number("probability"))
        for row in rows
        if row.text("seriesuid") in listed
    ]
    if rows and not marks:
        raise BrokenDataError(f"{path} has no result for any of the {len(listed)} series")
    return marks


def strongest(marks: Iterable[Mark], most: int | None) -> list[Mark]:
    """Of a scan with more than ``most`` marks, those whose score is above that of the one too many; where
    that score is shared, fewer than ``most`` remain."""
    by_scan = defaultdict(list)
    for mark in marks:
        by_scan[mark.scan].append(mark)
    kept: list[Mark] = []
    for given in by_scan.values():
        if most is not None and len(given) > most:
            limit = sorted((mark.score for mark in given), reverse=True)[most]
            given = [mark for mark in given if mark.score > limit]
        kept += given
    return kept


def _place(row: Row) -> tuple[float, float, float]:
    return row.number("coordX"), row.number("coordY"), row.number("coordZ")
