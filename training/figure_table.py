"""Which figures of an evaluation a card tells, and under what name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Line:
    """A figure's name in the card, and where in an evaluation's JSON it and its number of cases are."""

    metric: str
    figure: str
    cases: str


@dataclass(frozen=True)
class FigureTable:
    """What the card of each network of a reader tells of an evaluation.

    ``lines``: by network, then by layout. ``data_sets``: what the data of a layout are called.
    """

    lines: Mapping[str, Mapping[str, Sequence[Line]]]
    data_sets: Mapping[str, str]
