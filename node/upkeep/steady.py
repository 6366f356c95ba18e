"""A wall clock that does not jump forwards: what is deleted for its age is as old as time has passed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from storage.database import now

LEAP = timedelta(hours=1)  # that a clock may be put forward at once without a doubt
BELIEVED_AFTER = timedelta(days=1)  # that a clock has shown its new time


def seconds_since_boot() -> float:
    """Time that passed, also while the machine slept, where the system counts that."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@dataclass(frozen=True)
class _Shown:
    """The wall clock has been at least so far ahead ``since`` then."""

    difference: datetime
    since: float


class SteadyClock:
    """Follows the wall clock, but not where it leaps forwards: until it has shown the new time for a day, in
    which a person sees it, time goes on from before the leap. Whoever puts it back is followed at once. Of a
    clock that leaps further and further each leap is believed after a day of its own.

    A clock that leaps while the node is down is believed: so long may the node have been down. What was dated
    while the clock was behind is that much older once it is right.
    ``wall`` is in UTC; ``seconds`` nobody sets, and its beginning means nothing.
    """

    def __init__(
        self, wall: Callable[[], datetime] = now, seconds: Callable[[], float] = seconds_since_boot
    ) -> None:
        self._wall = wall
        self._seconds = seconds
        self._began = self._difference()
        self._doubted: tuple[_Shown, ...] = ()
        self._known: datetime | None = None

    def now(self) -> datetime:
        difference, at = self._difference(), self._seconds()
        doubted = _shown(self._doubted, difference, at)
        for shown in doubted:
            if at - shown.since >= BELIEVED_AFTER.total_seconds():
                self._began = shown.difference
        if difference <= self._began + LEAP:
            self._began, doubted = difference, ()
        self._doubted = tuple(shown for shown in doubted if shown.difference > self._began)
        return self._began + timedelta(seconds=at)

    def know(self, moment: datetime) -> None:
        """That it was so late before now, says what was written down; only the first word counts."""
        if self._known is None:
            self._known = moment.astimezone(UTC) - timedelta(seconds=self._seconds())

    def now_as_known(self) -> datetime:
        """At least what is known, where the wall clock is not behind that: a machine that starts with its
        clock years back, and is put right, is not years back for a day."""
        steady = self.now()
        if self._known is None:
            return steady
        return max(steady, min(self._known + timedelta(seconds=self._seconds()), self._wall()))

    @property
    def leap(self) -> timedelta | None:
        """By how much the wall clock is ahead of this one, where that is not yet believed."""
        self.now()
        doubted = self._doubted  # which another thread's look may settle at any time
        return doubted[-1].difference - self._began if doubted else None

    def _difference(self) -> datetime:
        """What the wall clock showed when ``seconds`` began, if it has gone evenly since."""
        return self._wall().astimezone(UTC) - timedelta(seconds=self._seconds())


def _shown(before: Sequence[_Shown], difference: datetime, at: float) -> tuple[_Shown, ...]:
    """What the clock has shown, and since when, now that it is so far ahead."""
    lower = [shown for shown in before if shown.difference < difference]
    if len(lower) < len(before):  # it was further ahead, and so was here too
        return (*lower, _Shown(difference, before[len(lower)].since))
    if not lower or difference > lower[-1].difference + LEAP:
        return (*lower, _Shown(difference, at))
    return tuple(lower)
