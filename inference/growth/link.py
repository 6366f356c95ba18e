"""Which lesion is which: findings of two aligned scans matched one to one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from inference.findings import MOSTLY, Finding
from inference.growth.align import Alignment
from inference.growth.repeatability import sphere_diameter_mm
from inference.volume import Floats, Volume

GATE_MM: Final = 10.0
GATE_RADII: Final = 0.6
_PLACE_MM: Final = 2.5
_PLACE_PER_DIAMETER: Final = 0.12
_LOG_VOLUME: Final = 0.9
_MOST_VOLUME_COST: Final = 4.0
_DENSITY_HU: Final = 150.0
_MOST_DENSITY_COST: Final = 2.0
_OTHER_LABEL_COST: Final = 3.0
APART_COST: Final = 8.0
"""What it costs to leave two findings without a partner: a pair that costs more is not linked."""
_FORBIDDEN: Final = 1e6
_INSIDE_MM: Final = 2.0
_ACROSS: Final = np.linspace(-0.5, 0.5, 9)
"""Where a lesion is asked for whether it is shown: in diameters from its centre, across the slices."""


@dataclass(frozen=True)
class Link:
    """Finding number ``current`` is finding number ``prior``. ``confidence``: 0 to 1, against every other
    way to link the two and against not linking them; ``distance_mm``: between them, aligned."""

    current: int
    prior: int
    confidence: float
    distance_mm: float


@dataclass(frozen=True)
class Links:
    """``new``, ``resolved``: findings without a partner where the other scan shows the place;
    ``unseen_current``, ``unseen_prior``: those most of whose place lies beyond the other scan, or in slices
    of it that were not sent. ``split``: (prior, current) where a second current finding lies in what was one;
    ``merged``: (prior, current) where a second prior finding lies in what is one now."""

    links: tuple[Link, ...] = ()
    new: tuple[int, ...] = ()
    resolved: tuple[int, ...] = ()
    unseen_current: tuple[int, ...] = ()
    unseen_prior: tuple[int, ...] = ()
    split: tuple[tuple[int, int], ...] = ()
    merged: tuple[tuple[int, int], ...] = ()


def link(
    current: Sequence[Finding],
    prior: Sequence[Finding],
    alignment: Alignment,
    current_volume: Volume,
    prior_volume: Volume,
) -> Links:
    """Match the findings of two scans by aligned distance, size, density and label (Hungarian assignment).

    Args:
        current_volume, prior_volume: what the findings were made on. Of slices that were not sent, though
            they were interpolated, nothing tells that a lesion is not there.

    Raises:
        ValueError: the alignment is not sound.
    """
    if not alignment.sound:
        raise ValueError(f"Lesions are not linked by an alignment that is not sound: {alignment.reason}")
    here = _centers(current)
    there = alignment.to_current(_centers(prior))
    costs, distances = _costs(current, prior, here, there)
    links = _assigned(costs, distances)
    one, other = {each.current for each in links}, {each.prior for each in links}
    shown_there = _shown(prior_volume, alignment.to_prior(here), current)
    shown_here = _shown(current_volume, there, prior)
    split = tuple(
        (each.prior, number)
        for number in range(len(current))
        if number not in one
        for each in links
        if _lies_in(here[number], there[each.prior], prior[each.prior])
    )
    merged = tuple(
        (number, each.current)
        for number in range(len(prior))
        if number not in other
        for each in links
        if _lies_in(there[number], here[each.current], current[each.current])
    )
    explained = {number for _, number in split}, {number for number, _ in merged}
    alone = [n for n in range(len(current)) if n not in one | explained[0]]
    gone = [n for n in range(len(prior)) if n not in other | explained[1]]
    return Links(
        links=links,
        new=tuple(n for n in alone if shown_there[n]),
        resolved=tuple(n for n in gone if shown_here[n]),
        unseen_current=tuple(n for n in alone if not shown_there[n]),
        unseen_prior=tuple(n for n in gone if not shown_here[n]),
        split=_first_of_each(split, 1),
        merged=_first_of_each(merged, 0),
    )


def pair_cost(current: Finding, prior: Finding, distance_mm: float) -> float:
    """How unlikely it is, in natural units, that both are one lesion; beyond the gate, that they are not."""
    sizes = [sphere_diameter_mm(finding.volume_mm3) for finding in (current, prior)]
    if distance_mm > GATE_MM + GATE_RADII * max(sizes) / 2:
        return _FORBIDDEN
    spread = float(np.hypot(_PLACE_MM, _PLACE_PER_DIAMETER * max(sizes)))
    cost = distance_mm**2 / (2 * spread**2)
    ratio = log(max(current.volume_mm3, 1e-3) / max(prior.volume_mm3, 1e-3))
    cost += min(0.5 * (ratio / _LOG_VOLUME) ** 2, _MOST_VOLUME_COST)
    if current.mean_hu is not None and prior.mean_hu is not None:
        cost += min(0.5 * ((current.mean_hu - prior.mean_hu) / _DENSITY_HU) ** 2, _MOST_DENSITY_COST)
    return cost + _OTHER_LABEL_COST * (current.label != prior.label)


def confidence_alone(
    current: Sequence[Finding], prior: Sequence[Finding], alignment: Alignment
) -> list[float]:
    """For each current finding, how sure it is that none of the prior's is the same."""
    here, there = _centers(current), alignment.to_current(_centers(prior))
    costs, _ = _costs(current, prior, here, there)
    odds = np.exp(-np.minimum(costs, 500.0)).sum(axis=1)
    return [float(exp(-APART_COST) / (exp(-APART_COST) + each)) for each in odds]


def _costs(
    current: Sequence[Finding], prior: Sequence[Finding], here: Floats, there: Floats
) -> tuple[Floats, Floats]:
    distances = np.linalg.norm(here[:, None] - there[None], axis=-1)
    costs = np.array(
        [[pair_cost(c, p, distances[i, j]) for j, p in enumerate(prior)] for i, c in enumerate(current)]
    ).reshape(len(current), len(prior))
    return costs, distances


def _assigned(costs: Floats, distances: Floats) -> tuple[Link, ...]:
    """One to one; a pair that costs more than to stay apart is not linked."""
    rows, columns = linear_sum_assignment(np.minimum(costs, APART_COST)) if costs.size else ((), ())
    return tuple(
        Link(int(i), int(j), _confidence(costs, i, j), float(distances[i, j]))
        for i, j in zip(rows, columns, strict=True)
        if costs[i, j] < APART_COST
    )


def _confidence(costs: Floats, row: int, column: int) -> float:
    odds = np.exp(-np.minimum(costs, 500.0))
    rivals = odds[row].sum() + odds[:, column].sum() - 2 * odds[row, column]
    return float(odds[row, column] / (odds[row, column] + rivals + exp(-APART_COST)))


def _shown(volume: Volume, places_mm: Floats, lesions: Sequence[Finding]) -> npt.NDArray[np.bool_]:
    """At which of (n, 3) places in LPS mm the volume would show most of a lesion as large as these."""
    along = np.cross(volume.affine[:3, 1], volume.affine[:3, 2])
    diameters = np.array([sphere_diameter_mm(lesion.volume_mm3) for lesion in lesions], np.float64)
    steps = diameters[:, None, None] * _ACROSS[:, None] * (along / np.linalg.norm(along))
    return np.asarray(volume.shows(places_mm[:, None] + steps).mean(axis=1) > 1 - MOSTLY, bool)


def _lies_in(point: Floats, center: Floats, lesion: Finding) -> bool:
    return bool(np.linalg.norm(point - center) <= lesion.long_axis_mm / 2 + _INSIDE_MM)


def _centers(findings: Sequence[Finding]) -> Floats:
    return np.array([finding.center_mm for finding in findings], np.float64).reshape(-1, 3)


def _first_of_each(pairs: tuple[tuple[int, int], ...], key: int) -> tuple[tuple[int, int], ...]:
    first: dict[int, tuple[int, int]] = {}
    for pair in pairs:
        first.setdefault(pair[key], pair)
    return tuple(first.values())
