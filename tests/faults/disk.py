"""Fills a node's disk, to its mark and to the brim, and empties it again.

python -m tests.faults.disk    needs the right to mount a small file system, such as root's
"""

from __future__ import annotations

import subprocess
import sys
import time
from argparse import Namespace
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset

from node.intake.acceptance import SECONDS_BETWEEN_LOOKS_AT_THE_DISK
from node.intake.receiver import Receiver
from node.settings import DicomSettings
from storage.archive import Archive
from storage.database import Database
from storage.tables import Instance, Refusal
from tests.databases import Databases
from tests.faults.program import main
from tests.node.intake.raw_sender import RawSender
from tests.node.intake.senders import ct_series, encoded

DISK_MB, MARK_MB, BALLAST_MB = 48, 16, 12
IMAGE = 512  # rows and columns: half a megabyte
FULL, SUCCESS = 0xA700, 0x0000


@dataclass(frozen=True)
class Outcome:
    """At the mark or the brim. taken and refused: images before and after it was reached; debris: files
    left in incoming; resumed: images taken once there was room; missing: acknowledged images without a row
    or a whole file; reasons: what the refusals say."""

    taken: int
    refused: int
    other: int
    debris: int
    resumed: int
    missing: int
    reasons: tuple[str, ...]

    @property
    def is_well(self) -> bool:
        return (
            self.taken > 0 < self.refused
            and not (self.other or self.debris or self.missing)
            and self.resumed > 0
            and any("disk is nearly full" in r or "No space left" in r for r in self.reasons)
        )


@contextmanager
def small_disk(folder: Path, size_mb: int = DISK_MB) -> Iterator[Path]:
    """A file system of its own, in memory.

    Raises:
        PermissionError: this user may not mount one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size_mb}m", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
    )
    if mounted.returncode:
        raise PermissionError(mounted.stderr.strip())
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def run(disk: Path, url: str, mark_mb: int) -> Outcome:
    """Send until images are refused, make room, and send again. Everything lies on the disk that fills up,
    and the database too, if it is SQLite. ``mark_mb`` 0: to the brim."""
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(BALLAST_MB << 20))
    database = Database(url)
    archive = Archive(disk / "data")
    receiver = Receiver(DicomSettings(port=0, minimum_free_mb=mark_mb), "OVERREAD", archive, database)
    port = receiver.start()
    try:
        images = ct_series(2 * DISK_MB, size=IMAGE)
        statuses = _sent(port, images)
        debris = sum(path.stat().st_nlink == 1 for path in archive.incoming.iterdir())
        ballast.unlink()
        time.sleep(2 * SECONDS_BETWEEN_LOOKS_AT_THE_DISK)
        room = (BALLAST_MB // 2) * 2 - 4
        again = [image for image, status in zip(images, statuses, strict=True) if status][:room]
        later = _sent(port, again)
        receiver.settle()
        acknowledged = {
            str(image.SOPInstanceUID)
            for image, status in [*zip(images, statuses, strict=True), *zip(again, later, strict=True)]
            if status == SUCCESS
        }
        with database.snapshot() as session:
            rows = {row.uid: row for row in session.query(Instance)}
            reasons = tuple(sorted({row.reason for row in session.query(Refusal)}))
        whole = {uid for uid, row in rows.items() if archive.path(row.path).stat().st_size == row.size}
    finally:
        receiver.stop()
        database.close()
    count = Counter(statuses)
    return Outcome(
        taken=count[SUCCESS],
        refused=count[FULL],
        other=len(statuses) - count[SUCCESS] - count[FULL],
        debris=debris,
        resumed=Counter(later)[SUCCESS],
        missing=len(acknowledged - whole),
        reasons=reasons,
    )


def _sent(port: int, images: Sequence[Dataset]) -> list[int]:
    with RawSender(port, timeout=120) as sender:
        sender.associate()
        return [sender.store(encoded(image), str(image.SOPInstanceUID), fragment=1 << 17) for image in images]


def _fault(_chosen: Namespace, folder: Path, databases: Databases) -> Iterator[tuple[str, Outcome]]:
    for words, mark in (("to the mark", MARK_MB), ("to the brim", 0)):
        with small_disk(folder / "disk") as disk, databases.new(disk) as url:
            outcome = run(disk, url, mark)
        yield f"disk filled {words}", outcome


if __name__ == "__main__":
    sys.exit(main(__doc__, _fault))
