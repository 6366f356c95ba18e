"""A fault as a program: options, a folder and databases of its own, what became of the node, a verdict."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from tests.databases import Databases, add_choice_of_database, databases_of


class Outcome(Protocol):
    """What was seen at the end, as a person reads it once it is a str."""

    @property
    def is_well(self) -> bool: ...


Fault = Callable[[argparse.Namespace, Path, Databases], Iterator[tuple[str, Outcome]]]
"""Given the options, a folder that is gone afterwards and databases: what was done, and what became of it."""


def main(description: str | None, fault: Fault, **options: int) -> int:
    """The exit status: 0 where all that was done was withstood. ``options`` are whole numbers, and what each
    is unless it is given."""
    parser = argparse.ArgumentParser(description=description)
    for name, usual in options.items():
        parser.add_argument(f"--{name}", type=int, default=usual)
    add_choice_of_database(parser)
    chosen = parser.parse_args()
    is_well = True
    with (
        tempfile.TemporaryDirectory(prefix="overread-fault-") as folder,
        databases_of(chosen.database) as databases,
    ):
        for done, outcome in fault(chosen, Path(folder), databases):
            print(f"{done}: {outcome}", flush=True)
            is_well &= outcome.is_well
    return 0 if is_well else 1
