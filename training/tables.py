"""Tables as CSV files, every fault named by file, line and column."""

from __future__ import annotations

import csv
import gzip
import math
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from training.errors import BrokenDataError


@dataclass(frozen=True, eq=False)
class Row:
    """One line of a table; cells are read by column name."""

    file: Path
    line: int
    cells: Mapping[str, str]

    def text(self, column: str) -> str:
        """The cell without surrounding blanks; empty where the table has no such column."""
        return self.cells.get(column, "").strip()

    def required(self, column: str) -> str:
        """The cell without surrounding blanks.

        Raises:
            BrokenDataError: it is empty.
        """
        if not self.text(column):
            raise self.broken(f"{column} is empty")
        return self.text(column)

    def number(self, column: str) -> float:
        """The cell as a finite number.

        Raises:
            BrokenDataError: it is none.
        """
        return self.numbers(column, 1)[0]

    def numbers(self, column: str, count: int) -> tuple[float, ...]:
        """The cell as ``count`` numbers with commas between them."""
        text = self.text(column)
        try:
            values = tuple(float(part) for part in text.split(","))
        except ValueError:
            values = ()
        if len(values) != count or not all(abs(value) < float("inf") for value in values):
            wanted = "a number" if count == 1 else f"{count} numbers"
            raise self.broken(f"{column} is {text!r}, not {wanted}")
        return values

    def label(self, column: str) -> float:
        """The cell as 1 or 0; NaN where it is empty, since it is not known.

        Raises:
            BrokenDataError: it is anything else.
        """
        if not self.text(column):
            return math.nan
        value = self.number(column)
        if value not in (0.0, 1.0):
            raise self.broken(f"{column} is {value:g}, not 1 or 0; leave it empty where it is uncertain")
        return value

    def broken(self, what: str) -> BrokenDataError:
        return BrokenDataError(f"{self.file}, line {self.line}: {what}")


def _opened(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def read_table(path: Path, columns: Iterable[str]) -> Iterator[Row]:
    """Lines of a CSV file (``.gz`` or not) with a header, which must name ``columns`` (it may name more).

    Raises:
        BrokenDataError: the file is missing, empty, not text, or lacks a column; or a line ends before the
            last of the columns that have a name, as that of a file cut short does.
    """
    try:
        with _opened(path) as file:
            reader = csv.DictReader(file)
            header = [name.strip() for name in reader.fieldnames or ()]
            reader.fieldnames = header
            if missing := [column for column in columns if column not in header]:
                raise BrokenDataError(
                    f"{path} has no column {', '.join(missing)}; it has {', '.join(header)}"
                )
            for cells in reader:
                row = Row(path, reader.line_num, cells)
                if any(name and cells[name] is None for name in header):
                    raise row.broken("the line ends before its last column")
                yield row
    except FileNotFoundError as error:
        raise BrokenDataError(f"{path} is missing") from error
    except UnicodeDecodeError as error:
        raise BrokenDataError(f"{path} is not a table in UTF-8: {error}") from error
    except (csv.Error, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise BrokenDataError(f"{path} is not a table: {error}") from error
