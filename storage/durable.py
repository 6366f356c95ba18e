"""Makes files and folder entries durable, sharing the cost between those who wait at the same time.

Folders are synced once for all who wait. Files are not gathered: each thread syncs its own, at the same time
as the others, and the file system writes one journal entry for all (ext4's group commit). One thread that
syncs the files of all, and one ``syncfs`` for all, were measured to be no faster with 4 threads and with 16
(``tests/benchmarks/syncing.py``, docs/performance.md).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

_AT_ONCE = 8


class _Round:
    """The folders of those who wait for one common fsync, and how it ended."""

    def __init__(self) -> None:
        self.folders: set[Path] = set()
        self.done = threading.Event()
        self.error: OSError | None = None


class GroupSync:
    """Whoever comes while an fsync is under way waits for the next, which one of them does for all."""

    def __init__(self) -> None:
        self._joining = threading.Lock()
        self._syncing = threading.Lock()
        self._next = _Round()

    def folders(self, *folders: Path) -> None:
        """Return when every entry made in ``folders`` before this call is on the disk.

        Raises:
            OSError: a folder could not be synced; nobody of the round may count on it.
        """
        with self._joining:
            round_ = self._next
            round_.folders.update(folders)
        with self._syncing:
            if not round_.done.is_set():
                with self._joining:
                    self._next = _Round()
                try:
                    for folder in round_.folders:
                        sync_folder(folder)
                except OSError as error:
                    round_.error = error
                round_.done.set()
        if round_.error is not None:
            raise OSError(round_.error.errno, round_.error.strerror, str(round_.error.filename))


def sync_files(paths: Sequence[Path]) -> None:
    """Several at a time, for which the file system writes one journal entry."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for _ in pool.map(_sync_file, paths):
            pass


def _sync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
