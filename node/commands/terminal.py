"""What commands write on: standard output for results, standard error for progress."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

PLAIN_WIDTH = 120  # of a table that goes to a file or a pipe


def console() -> Console:
    return Console(markup=False, highlight=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH)


def progress(counted: str = "") -> Progress:
    """A bar on the terminal that goes when it is done; ``counted`` names what its steps are."""
    columns = [TextColumn("{task.description}"), BarColumn()]
    columns += [MofNCompleteColumn(), TextColumn(counted)] if counted else []
    bar = Console(stderr=True)
    return Progress(*columns, TimeElapsedColumn(), console=bar, transient=True, disable=not bar.is_terminal)
