"""`overread read`: one study, offline, to result objects and ``reading.json`` in a folder."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from node.commands.findings_table import caveats, findings_table, guidelines_table
from node.commands.terminal import console, progress
from node.offline import OutputError, read_study
from node.quoting import silence_quotes
from node.settings import Settings


def read(study: Path, priors: Sequence[Path], out: Path, settings: Settings) -> None:
    """Read ``study`` against ``priors``, and print what was found and written.

    Raises:
        OutputError: ``out`` cannot be written to.
    """
    silence_quotes()
    with _writable(out), progress() as bar:
        task = bar.add_task("looking for the study", total=1.0)
        readings = read_study(
            study,
            priors,
            out,
            settings,
            lambda stage, done: bar.update(task, description=stage, completed=done),
        )
    terminal = console()
    terminal.print(findings_table(readings, terminal.width))
    if (guidelines := guidelines_table(readings, terminal.width)) is not None:
        terminal.print(guidelines)
    for caveat in caveats(readings):
        terminal.print(caveat, style="yellow")
    for reading in readings:
        for written in reading["objects"]:
            terminal.print(f"  {out / written['path']}")
    terminal.print(f"  {out / 'reading.json'}")


@contextmanager
def _writable(out: Path) -> Iterator[None]:
    """Folders that were made for ``out`` and took nothing do not stay."""
    new = _make_writable(out)
    try:
        yield
    finally:
        with suppress(OSError):
            for folder in new:
                folder.rmdir()


def _make_writable(out: Path) -> list[Path]:
    """Returns the folders that were made for it, the innermost first."""
    try:
        new = [folder for folder in (out, *out.parents) if not folder.exists()]
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            return new
    except OSError as error:
        raise OutputError(
            f"--out {out} cannot be written to: {error.strerror or error}; choose another folder."
        ) from error
