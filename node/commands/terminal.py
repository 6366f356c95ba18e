"""What commands write on: standard output for results, standard error for progress."""

from __future__ import annotations

import sys
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

PLAIN_WIDTH = 120  # of a table that goes to a file or a pipe


def console() -> Console:
    return Console(markup=False, highlight=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH)


def say_on_the_way(line: str) -> None:
    """A plain line of progress, for a log or a pipe."""
    print(line, file=sys.stderr, flush=True)


def progress(counted: str = "") -> Progress | PlainProgress:
    """A bar on the terminal that goes when it is done, or lines where there is none; ``counted`` names what
    its steps are, without which they are a share of the way."""
    errors = Console(stderr=True)
    if not errors.is_terminal:
        return PlainProgress(counted)
    columns = [TextColumn("{task.description}"), BarColumn()]
    columns += [MofNCompleteColumn(), TextColumn(counted)] if counted else []
    return Progress(*columns, TimeElapsedColumn(), console=errors, transient=True)


class PlainProgress:
    """One task, told in a line for each thing it turns to and each tenth of its way."""

    def __init__(self, counted: str) -> None:
        self._counted = counted
        self._description = ""
        self._done = 0.0
        self._total: float | None = None
        self._told: tuple[str, int] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def add_task(self, description: str, total: float | None) -> TaskID:
        self._description, self._total = description, total
        self._tell()
        return TaskID(0)

    def advance(self, task: TaskID) -> None:
        self._done += 1
        self._tell()

    def update(self, task: TaskID, *, description: str | None = None, completed: float | None = None) -> None:
        self._description = self._description if description is None else description
        self._done = self._done if completed is None else completed
        self._tell()

    def _tell(self) -> None:
        share = self._done / self._total if self._total else 0.0
        now = (self._description, int(10 * share + 1e-9))
        if now == self._told:
            return
        self._told = now
        if self._total is None:
            say_on_the_way(self._description)
        elif self._counted:
            say_on_the_way(f"{self._description}: {self._done:.0f} of {self._total:.0f} {self._counted}")
        else:
            say_on_the_way(f"{100 * share:3.0f} % {self._description}")
