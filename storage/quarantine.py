"""Keeps what was refused from filling the disk: the oldest objects go first. Counts what was set aside."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

LEAST_BYTES = 4096  # that a file takes on a disk, however small


@dataclass(frozen=True)
class Pruned:
    """How many objects were deleted, and what is left."""

    objects: int
    left: int
    left_bytes: int


def prune(quarantine: Path, before: datetime | None, most_bytes: int | None) -> Pruned:
    """Delete refused objects from before a moment, and more of them, the oldest first, until the rest takes
    no more than ``most_bytes``; None sets no limit. Folders left empty go too."""
    found: list[tuple[float, int, Path]] = []
    for folder in quarantine.iterdir() if quarantine.is_dir() else ():
        with os.scandir(folder) as entries:
            for entry in entries:
                status = entry.stat()
                found.append((status.st_mtime, max(status.st_size, LEAST_BYTES), folder / entry.name))
    found.sort()
    left = sum(size for _, size, _ in found)
    deleted = 0
    for at, size, path in found:
        too_old = before is not None and at < before.timestamp()
        if not too_old and (most_bytes is None or left <= most_bytes):
            break
        path.unlink(missing_ok=True)
        deleted += 1
        left -= size
    for folder in {path.parent for _, _, path in found[:deleted]}:
        try:
            folder.rmdir()
        except OSError:
            continue  # not empty
    return Pruned(deleted, len(found) - deleted, left)


def count(set_aside: Path) -> int:
    """How many images were acknowledged and then set aside; nothing here deletes them."""
    return sum(1 for _ in set_aside.glob("*/*.dcm"))
