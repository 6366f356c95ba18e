"""How files are best made durable by several threads at once: `python -m tests.benchmarks.syncing FOLDER`.

Each thread does with its files what the archive does with an image: write, fsync, link into place, and one
fsync of the folders for all who wait. Compared are ways to fsync the files: each thread its own, one thread
those of all who wait, and one ``syncfs`` for all; they take turns, and ratios are of the same round.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import shutil
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path

from storage.durable import GroupSync

Sync = Callable[[int], None]


class Together:
    """Whoever comes while a sync is under way waits for the next, which one of them does for all."""

    def __init__(self, sync: Callable[[list[int]], object]) -> None:
        self._sync = sync
        self._joining, self._syncing = threading.Lock(), threading.Lock()
        self._next: tuple[list[int], threading.Event] = ([], threading.Event())

    def __call__(self, file: int) -> None:
        with self._joining:
            files, done = self._next
            files.append(file)
        with self._syncing:
            if not done.is_set():
                with self._joining:
                    self._next = ([], threading.Event())
                self._sync(files)
                done.set()


WAYS: dict[str, Callable[[], Sync]] = {
    "each its own": lambda: os.fsync,
    "one for all": lambda: Together(lambda files: [os.fsync(file) for file in files]),
    "syncfs for all": lambda: Together(lambda files: ctypes.CDLL(None).syncfs(files[0])),
}


def rate(folder: Path, way: str, threads: int, count: int, size: int) -> float:
    """Files a second that ``threads`` make durable, ``count`` in all, of ``size`` bytes."""
    shutil.rmtree(folder, ignore_errors=True)
    incoming = folder / "incoming"
    incoming.mkdir(parents=True)
    sync, folders, data = WAYS[way](), GroupSync(), os.urandom(size)

    def work(thread: int) -> None:
        study = folder / "images" / str(thread)
        study.mkdir(parents=True)
        for number in range(count // threads):
            name = incoming / f"{thread}-{number}"
            file = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL)
            os.write(file, data)
            sync(file)
            os.link(name, study / str(number))
            folders.folders(study, incoming)
            os.close(file)

    os.sync()
    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    started = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return count // threads * threads / (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="on the disk that is asked about; made, and deleted again")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=96)
    parser.add_argument("--size", type=int, default=1 << 19, help="bytes of a file")
    chosen = parser.parse_args()
    first, *others = WAYS
    heads = [f"{first}, a second", *(f"{other} : {first}" for other in others)]
    print(f"{'threads':>7}" + "".join(f"{head:>32}" for head in heads))
    for threads in (1, 4, 16):
        seen: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(chosen.rounds):
            for way, rates in seen.items():
                rates.append(rate(chosen.folder / "files", way, threads, chosen.count, chosen.size))
        line = f"{threads:>7}{statistics.median(seen[first]):>32.0f}"
        for other in others:
            ratios = [one / two for one, two in zip(seen[other], seen[first], strict=True)]
            line += f"{f'{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})':>32}"
        print(line, flush=True)
    shutil.rmtree(chosen.folder)


if __name__ == "__main__":
    main()
