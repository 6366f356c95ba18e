"""Images whose senders were told that they are kept, and that contradict what was known. Only a person who
has seen to them deletes them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage.tables import Refusal


@dataclass(frozen=True)
class SetAside:
    """One image, its file at ``path``, and what was written down of it: when, from which AE title, of which
    study and why. Lines are deleted when they are old; the image stays."""

    path: Path
    at: datetime | None = None
    caller: str = ""
    study_uid: str = ""
    reason: str = ""


def count(folder: Path) -> int:
    """How many images lie in ``folder``, the archive's ``set_aside``."""
    return sum(1 for _ in folder.glob("*/*.dcm"))


def listed(session: Session, folder: Path) -> Iterator[SetAside]:
    """Every image in ``folder``, the oldest first."""
    written_down = select(Refusal).where(Refusal.path.startswith(f"{folder.name}/")).order_by(Refusal.id)
    lines = {line.path: line for line in session.scalars(written_down)}
    for path in sorted(folder.glob("*/*.dcm")):
        line = lines.get(path.relative_to(folder.parent).as_posix())
        yield SetAside(path, line.at, line.caller, line.study_uid, line.reason) if line else SetAside(path)


def remove(path: Path) -> None:
    """A person has seen to it: the image goes, and the folder of its day once that is empty."""
    path.unlink(missing_ok=True)
    if path.parent.exists() and not any(path.parent.iterdir()):
        path.parent.rmdir()
