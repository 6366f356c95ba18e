"""A table that its terminal has room for: a column that does not fit is left out, and no word is broken."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.table import Table

Row = Sequence[str]
EDGE, BETWEEN = 1, 3  # characters that borders and padding take: at the end, and for each column


@dataclass(frozen=True)
class Heading:
    """Of a column.

    number: a value with its unit, on the right and in one line; everything else folds between words.
    least: characters that it is not narrower than.
    spare: the higher, the sooner it is left out; 0 is always shown.
    """

    text: str
    number: bool = False
    least: int = 0
    spare: int = 0


def fitted_table(headings: Sequence[Heading], rows: Iterable[Row], width: int, title: str = "") -> Table:
    """``rows`` in ``width`` characters. Where there is no room, empty columns are left out first."""
    rows = list(rows)
    is_empty = [not any(row[i] for row in rows) for i in range(len(headings))]
    shown = list(range(len(headings)))
    while _taken(least := [_least(headings[i], [row[i] for row in rows]) for i in shown]) > width:
        spare = [i for i in shown if is_empty[i] or headings[i].spare]
        if not spare:
            break
        shown.remove(max(spare, key=lambda i: (is_empty[i], headings[i].spare)))
    natural = [max(cell_len(text) for text in (headings[i].text, *(row[i] for row in rows))) for i in shown]
    table = Table(title=title or None, title_justify="left")
    for i, column in zip(shown, _widened(least, natural, width), strict=True):
        table.add_column(headings[i].text, justify="right" if headings[i].number else "left", width=column)
    for row in rows:
        table.add_row(*(row[i] for i in shown))
    return table


def _least(heading: Heading, cells: Sequence[str]) -> int:
    """The narrowest that a column may be."""
    unbroken = [*heading.text.split(), *(cells if heading.number else " ".join(cells).split())]
    folded = max(map(cell_len, unbroken), default=0)
    return max(folded, min(heading.least, max(map(cell_len, cells), default=0)))


def _taken(columns: Sequence[int]) -> int:
    return sum(columns) + BETWEEN * len(columns) + EDGE


def _widened(least: Sequence[int], natural: Sequence[int], width: int) -> list[int]:
    """What room is left goes, a character at a time, to the column that lacks most."""
    columns = list(least)
    for _ in range(width - _taken(least)):
        lacking = [wanted - given for wanted, given in zip(natural, columns, strict=True)]
        if not any(missing > 0 for missing in lacking):
            break
        columns[lacking.index(max(lacking))] += 1
    return columns
