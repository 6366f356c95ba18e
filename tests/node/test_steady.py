"""Time by which things grow old, while somebody sets the clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from node.steady import BELIEVED_AFTER, SteadyClock

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@dataclass
class Clocks:
    """A wall clock that is ``off`` and the time that has passed."""

    passed: timedelta = timedelta()
    off: timedelta = timedelta()

    def steady(self) -> SteadyClock:
        return SteadyClock(lambda: START + self.passed + self.off, lambda: 5000 + self.passed.total_seconds())


def test_time_that_passes_is_followed_however_rarely_somebody_looks() -> None:
    clocks = Clocks()
    steady = clocks.steady()
    clocks.passed = 40 * DAY
    assert steady.now() == START + 40 * DAY
    assert steady.leap is None


@pytest.mark.parametrize("leap", [2 * HOUR, 3 * DAY, 4000 * DAY])
def test_a_leap_forwards_makes_nothing_older_until_a_day_has_passed(leap: timedelta) -> None:
    clocks = Clocks()
    steady = clocks.steady()
    clocks.passed, clocks.off = HOUR, leap
    assert steady.now() == START + HOUR
    assert steady.leap == leap
    clocks.passed += BELIEVED_AFTER - timedelta(seconds=1)
    assert steady.now() == START + clocks.passed
    clocks.passed += timedelta(seconds=1)
    assert steady.now() == START + clocks.passed + leap
    assert steady.leap is None


def test_a_clock_that_leaps_again_and_again_is_not_believed() -> None:
    clocks = Clocks()
    steady = clocks.steady()
    for days in range(1, 50):
        clocks.passed, clocks.off = days * DAY * 0.9, days * DAY
        assert steady.now() == START + clocks.passed


def test_a_clock_put_right_after_a_leap_leaves_no_doubt() -> None:
    clocks = Clocks()
    steady = clocks.steady()
    clocks.off = 3 * DAY
    assert steady.leap == 3 * DAY
    clocks.passed, clocks.off = HOUR, timedelta()
    assert steady.leap is None
    assert steady.now() == START + HOUR


def test_a_clock_put_back_is_followed_at_once() -> None:
    clocks = Clocks(off=3 * DAY)
    steady = clocks.steady()
    clocks.off = timedelta()
    assert steady.now() == START
    assert steady.leap is None
