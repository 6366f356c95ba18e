"""What a run is made from, noted in its folder, so that none goes on with what another one has learned."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from training.errors import BrokenDataError
from training.kept import digest
from training.loop import BEST, CHECKPOINT

_NOTE = "run.json"


def begin(
    folder: Path, parts: Mapping[str, object], *, resume: bool, start: Mapping[str, Tensor] | None = None
) -> None:
    """Note in ``folder`` what the run there is made from; unless it may ``resume``, what an earlier one has
    learned is deleted.

    parts: by the name a person knows it by; ``str`` of each says all of it. start: weights to begin with.
    A checkpoint without a note counts as one of this run.

    Raises:
        BrokenDataError: the checkpoint there is of a run that was made from something else.
    """
    checkpoint = folder / CHECKPOINT
    if not resume:
        for learned in (checkpoint, folder / BEST):
            learned.unlink(missing_ok=True)
    made = {name: str(part) for name, part in parts.items()}
    made["from"] = "" if start is None else digest(*start.values())
    before = noted(folder) if checkpoint.exists() else {}
    if others := [name for name, part in made.items() if before.get(name, part) != part]:
        raise BrokenDataError(
            f"{checkpoint} is of a run with another {', '.join(others)}: give this one another folder "
            "(--out), or begin anew with --fresh"
        )
    folder.mkdir(parents=True, exist_ok=True)
    if before != made:
        part = folder / f"{_NOTE}.part"
        part.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
        part.replace(folder / _NOTE)


def noted(folder: Path) -> dict[str, str]:
    """What ``begin`` noted in ``folder``; empty where it did not."""
    note = folder / _NOTE
    if not note.is_file():
        return {}
    try:
        return dict(json.loads(note.read_text(encoding="utf-8")))
    except ValueError as error:
        raise BrokenDataError(f"{note} does not say what the run is made from ({error})") from error
