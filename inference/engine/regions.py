"""Regions of shared memory through which volumes reach a Triton server on the same machine.

A volume written here is read by the server where it lies, where gRPC would serialise, send and parse it.
Regions are kept and used again: the first use of fresh pages costs as much as the copy.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

import numpy as np
import numpy.typing as npt

from inference.engine import EngineError

GRANULE = 16 * 2**20
"""Regions are multiples of this, so that volumes of about one size share them."""


@dataclass(eq=False)
class Region:
    """One region, known to the server by its name."""

    memory: SharedMemory

    @property
    def name(self) -> str:
        return self.memory.name

    @property
    def key(self) -> str:
        """Its name as POSIX ``shm_open`` takes it."""
        return f"/{self.memory.name}"

    @property
    def size(self) -> int:
        return self.memory.size

    def array(self, dtype: npt.DTypeLike, shape: tuple[int, ...], offset: int = 0) -> npt.NDArray[np.generic]:
        """A view; it must not outlive the region."""
        return np.ndarray(shape, dtype, buffer=self.memory.buf, offset=offset)


class Regions:
    """The regions of one server, lent one caller at a time."""

    def __init__(
        self, register: Callable[[Region], None], unregister: Callable[[Region], None], keep: int = 4
    ) -> None:
        """``register`` tells the server of a new region, ``unregister`` takes it back and raises EngineError
        where the server refuses, as while it still uses the region; at most ``keep`` lie unused."""
        self._register = register
        self._unregister = unregister
        self._keep = keep
        self._lock = threading.Lock()
        self._unused: list[Region] = []
        self._refused: list[Region] = []

    @contextmanager
    def lent(self, size: int) -> Iterator[Region]:
        """A region of at least ``size`` bytes; its old content is still there.

        Raises:
            OSError: shared memory is full or not to be had.
        """
        region = self._taken(size) or self._made(size)
        try:
            yield region
        except BaseException:  # a call that was given up may still be written to by the server
            self._freed(region)
            raise
        self._returned(region)

    def close(self) -> None:
        with self._lock:
            regions, self._unused = self._unused, []
        for region in regions:
            self._freed(region)

    def _taken(self, size: int) -> Region | None:
        with self._lock:
            fitting = [r for r in self._unused if size <= r.size <= 4 * max(size, GRANULE)]
            if not fitting:
                return None
            region = min(fitting, key=lambda r: r.size)
            self._unused.remove(region)
            return region

    def _made(self, size: int) -> Region:
        region = Region(SharedMemory(create=True, size=-(-size // GRANULE) * GRANULE))
        try:
            _backed(region)
            self._register(region)
        except BaseException:
            _unlinked(region)
            raise
        return region

    def _returned(self, region: Region) -> None:
        with self._lock:
            self._unused.append(region)
            surplus = self._unused[: -self._keep]
            self._unused = self._unused[-self._keep :]
        for old in surplus:
            self._freed(old)

    def _freed(self, region: Region) -> None:
        """Unlinked now; what the server refuses to let go of is asked for again with the next one."""
        _unlinked(region)
        with self._lock:
            regions, self._refused = [*self._refused, region], []
        for held in regions:
            try:
                self._unregister(held)
            except EngineError:
                with self._lock:
                    self._refused.append(held)


def _backed(region: Region) -> None:
    """Give every page of it memory now: writing to a page that cannot be had would kill the process."""
    with (Path("/dev/shm") / region.name).open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, region.size)


def _unlinked(region: Region) -> None:
    region.memory.close()
    region.memory.unlink()
