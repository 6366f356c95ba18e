"""Keeps calls away from a server that fails, and lets them back by itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 10.0


class Circuit:
    """Closed while calls succeed. A failure opens it for a pause that doubles with each further one; after
    the pause one call at a time is let through, and the first that succeeds closes it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._pause = 0.0
        self._open_until = 0.0
        self._trying = False

    @property
    def seconds_open(self) -> float:
        """How long until a call may be tried; 0 when one may now."""
        return max(0.0, self._open_until - self._clock())

    def admit(self) -> bool:
        """Whether a call may go now. In an open circuit whose pause is over, only the first that asks."""
        with self._lock:
            if self._clock() < self._open_until:
                return False
            if self._pause:
                self._open_until = self._clock() + self._pause
                self._trying = True
            return True

    def succeeded(self) -> None:
        with self._lock:
            self._pause, self._open_until, self._trying = 0.0, 0.0, False

    def failed(self) -> None:
        """Calls that were under way together and fail together count once."""
        with self._lock:
            if self._clock() < self._open_until and not self._trying:
                return
            self._trying = False
            self._pause = min(max(2 * self._pause, FIRST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS)
            self._open_until = self._clock() + self._pause
