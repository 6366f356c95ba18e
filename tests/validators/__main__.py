"""``python -m tests.validators``: every kind of result of every reader, before every validator, as a table.

Exit status 0 only if no validator saw an error that is not allowed for. ``--without-pixelmed`` leaves out the
slowest one.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

from tests.validators.matrix import ALLOWED, judged


def main() -> int:
    console = Console(width=132)
    with TemporaryDirectory() as folder, console.status("validating"):
        matrix = judged(Path(folder), with_pixelmed="--without-pixelmed" not in sys.argv)
    table = Table(
        "reader",
        "object",
        *matrix.judges,
        title="errors by validator; - does not judge this object, * allowed",
    )
    for (reader, name), row in matrix.rows.items():
        table.add_row(reader, name, *(row.get(judge, "-") for judge in matrix.judges))
    console.print(table)
    for reason in sorted({reason for (_, _), reason in ALLOWED.items()}):
        console.print(f"* {reason}", markup=False)
    for error in matrix.errors:
        console.print(error, markup=False)
    return 1 if matrix.errors else 0


if __name__ == "__main__":
    sys.exit(main())
