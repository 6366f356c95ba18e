"""Keeps what was refused from filling the disk: the oldest objects go first."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

LEAST_BYTES = 4096  # that a file takes on a disk, however small
MOST_OBJECTS = 100_000  # where their room is limited: to list more takes too long


@dataclass(frozen=True)
class Pruned:
    """How many objects were deleted, and what is left; why the first that should have gone could not."""

    objects: int
    left: int
    left_bytes: int
    stuck: OSError | None = None


def prune(quarantine: Path, before: datetime | None, most_bytes: int | None) -> Pruned:
    """Delete refused objects from before a moment, and more of them, the oldest first, until the rest takes
    no more than ``most_bytes`` and is no more than ``MOST_OBJECTS``; None sets neither limit. Folders left
    empty go too. One that cannot be deleted keeps no other here."""
    found: list[tuple[float, int, str]] = []
    for refused in quarantine.glob("*/*"):
        try:
            status = refused.stat()
        except FileNotFoundError:
            continue
        found.append((status.st_mtime, max(status.st_size, LEAST_BYTES), str(refused)))
    found.sort()
    left = sum(size for _, size, _ in found)
    deleted, folders = 0, set()
    stuck: OSError | None = None
    for at, size, path in found:
        too_old = before is not None and at < before.timestamp()
        fits = most_bytes is None or (left <= most_bytes and len(found) - deleted <= MOST_OBJECTS)
        if fits and not too_old:
            break
        try:
            Path(path).unlink(missing_ok=True)
        except OSError as error:
            stuck = stuck or error
            continue
        deleted += 1
        left -= size
        folders.add(Path(path).parent)
    for folder in folders:
        try:
            folder.rmdir()
        except OSError:
            continue  # not empty
    return Pruned(deleted, len(found) - deleted, left, stuck)
