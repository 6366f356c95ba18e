"""A wall clock that does not jump forwards: what is deleted for its age is as old as time has passed."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from storage.database import now

LEAP = timedelta(hours=1)  # that a clock may be put forward at once without a doubt
BELIEVED_AFTER = timedelta(days=1)  # that a clock has shown its new time


class SteadyClock:
    """Follows the wall clock, but not where it leaps forwards: until it has shown the new time for a day, in
    which a person sees it, time goes on from before the leap. Whoever puts it back is followed at once.

    A clock that leaps while the node is down is believed: so long may the node have been down. What was dated
    while the clock was behind is that much older once it is right.
    ``wall`` is in UTC; ``seconds`` nobody sets, and its beginning means nothing.
    """

    def __init__(
        self, wall: Callable[[], datetime] = now, seconds: Callable[[], float] = time.monotonic
    ) -> None:
        self._wall = wall
        self._seconds = seconds
        self._began = self._difference()
        self._doubted: datetime | None = None
        self._doubted_since = 0.0

    def now(self) -> datetime:
        difference = self._difference()
        if difference <= self._began + LEAP:
            self._began, self._doubted = difference, None
        elif self._doubted is None or abs(difference - self._doubted) > LEAP:
            self._doubted, self._doubted_since = difference, self._seconds()
        elif self._seconds() - self._doubted_since >= BELIEVED_AFTER.total_seconds():
            self._began, self._doubted = difference, None
        return self._began + timedelta(seconds=self._seconds())

    @property
    def leap(self) -> timedelta | None:
        """By how much the wall clock is ahead of this one, where that is not yet believed."""
        self.now()
        doubted = self._doubted  # which another thread's look may settle at any time
        return None if doubted is None else doubted - self._began

    def _difference(self) -> datetime:
        """What the wall clock showed when ``seconds`` began, if it has gone evenly since."""
        return self._wall().astimezone(UTC) - timedelta(seconds=self._seconds())
