"""What was read of a series before its turn, kept in memory until that comes: while its study was awaited, or
with another reader's search.

A reading is made under its identity, which names the images, the weights and the settings it was made with.
One made ahead is taken up where that is still the same; where an image came after all, or the node ended, it
is forgotten, and the series is read as if it had never been.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

from inference.findings import Reading

MOST = 8
"""Readings that are kept; each has the masks of its findings, and no voxels."""


@dataclass(frozen=True)
class Made:
    """A reading as it was just made. awaited: whether its study was, then."""

    reading: Reading
    awaited: bool = False

    @property
    def seconds(self) -> float:
        """That it took, from the files on."""
        return sum(self.reading.seconds.values())


class Ahead:
    """The last readings made ahead, by identity."""

    def __init__(self) -> None:
        self._made: OrderedDict[str, Made] = OrderedDict()
        self._lock = threading.Lock()

    def __contains__(self, identity: str) -> bool:
        return identity in self._made

    def keep(self, identity: str, made: Made) -> None:
        with self._lock:
            self._made[identity] = made
            while len(self._made) > MOST:
                self._made.popitem(last=False)

    def take(self, identity: str) -> Made | None:
        """The one with this identity, which is handed out once."""
        with self._lock:
            return self._made.pop(identity, None)
