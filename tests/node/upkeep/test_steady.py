"""Time by which things grow old, while somebody sets the clock."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from node.upkeep.steady import BELIEVED_AFTER, SteadyClock, seconds_since_boot

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


def test_of_a_clock_that_leaps_again_and_again_each_leap_is_believed_after_a_day() -> None:
    clocks = Clocks()
    steady = clocks.steady()
    for days in range(1, 50):
        clocks.passed, clocks.off = days * DAY * 0.9, days * DAY
        assert steady.now() == START + clocks.passed + max(days - 2, 0) * DAY
        assert steady.leap == min(days, 2) * DAY


def test_a_greater_leap_is_not_believed_for_a_smaller_one_that_came_before() -> None:
    clocks = Clocks()
    steady = clocks.steady()
    clocks.off = 2 * HOUR
    steady.now()
    clocks.passed, clocks.off = 0.99 * DAY, 4000 * DAY
    steady.now()
    clocks.passed = 1.5 * DAY
    assert steady.now() == START + clocks.passed + 2 * HOUR
    clocks.off = 3 * HOUR
    assert steady.now() == START + clocks.passed + 3 * HOUR


def test_a_machine_that_sleeps_every_night_is_at_most_two_nights_behind() -> None:
    clocks = Clocks()
    steady = clocks.steady()
    for _night in range(60):
        for _quarter in range(64):
            clocks.passed += HOUR / 4
            assert clocks.off - 16 * HOUR <= steady.now() - START - clocks.passed <= clocks.off
        clocks.off += 8 * HOUR


def test_time_in_which_the_machine_sleeps_passes() -> None:
    boot = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    assert abs(seconds_since_boot() - time.clock_gettime(boot)) < 60


def test_a_machine_that_began_in_another_century_is_not_behind_what_was_written_down() -> None:
    clocks = Clocks(off=-9497 * DAY)
    steady = clocks.steady()
    steady.know(START - HOUR)
    assert steady.now_as_known() == steady.now() == START + clocks.off
    clocks.passed, clocks.off = HOUR, timedelta()
    assert steady.now() == START + HOUR - 9497 * DAY
    assert steady.now_as_known() == START
    steady.know(START + DAY)
    assert steady.now_as_known() == START


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
