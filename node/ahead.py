"""What was read of a series before its study was complete, kept in memory until the study is read.

A reading is made under its identity, which names the images, the weights and the settings it was made with.
One made ahead is taken up where that is still the same; where an image came after all, or the node ended, it
is forgotten, and the series is read as if it had never been.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from inference.findings import Reading

MOST = 8
"""Readings that are kept; each has the masks of its findings, and no voxels."""


@dataclass(frozen=True)
class Made:
    """A reading as it was just made. notes: what was corrected in the files. seconds: that it took."""

    reading: Reading
    notes: tuple[str, ...]
    seconds: float


class Ahead:
    """The last readings made ahead, by identity."""

    def __init__(self) -> None:
        self._made: OrderedDict[str, Future[Made]] = OrderedDict()
        self._lock = threading.Lock()

    def make(self, identity: str, make: Callable[[], Made]) -> None:
        """Have one made, unless it was or is being made; what ``make`` raises is raised, and leaves none."""
        future: Future[Made] = Future()
        with self._lock:
            if self._made.setdefault(identity, future) is not future:
                return
            while len(self._made) > MOST:
                self._made.popitem(last=False)
        try:
            future.set_result(make())
        except BaseException as error:
            with self._lock:
                if self._made.get(identity) is future:
                    del self._made[identity]
            future.set_exception(error)
            raise

    def take(self, identity: str) -> Made | None:
        """The one with this identity, which is handed out once; one that is being made is waited for. None
        where there is none, or it could not be made."""
        with self._lock:
            future = self._made.pop(identity, None)
        return None if future is None or future.exception() is not None else future.result()
