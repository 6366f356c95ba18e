"""Tells open pages that something changed, as server-sent events (HTML Living Standard 9.2)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from threading import Event, Lock
from typing import Generic, TypeVar

from starlette.concurrency import run_in_threadpool

from storage.changes import ChangeMark

LOOK_EVERY = 1.0  # seconds
ASK_EVERY = 15.0  # seconds; whether a listener may stay
SIGN_OF_LIFE_EVERY = 15.0  # seconds; proxies close a connection that stays silent
SECONDS_TO_THE_FIRST = 0.05  # between two glances at whether the first look has ended

Value = TypeVar("Value")


async def changes(
    mark: ChangeMark,
    seen: str,
    stopping: Event,
    pause: Callable[[], float],
    may_stay: Callable[[], bool] = lambda: True,
) -> AsyncIterator[str]:
    """An event ``changed`` when the database no longer bears the mark last ``seen``.

    pause: seconds to rest after telling of a change, so that what pages then ask for stays affordable.
    may_stay: whether who listens is still logged in.
    """
    silent_since = asked_at = time.monotonic()
    while not stopping.is_set():
        if time.monotonic() - asked_at > ASK_EVERY:
            if not await run_in_threadpool(may_stay):
                return
            asked_at = time.monotonic()
        current = await run_in_threadpool(mark.read)
        if current != seen:
            yield f"id: {current}\nevent: changed\ndata: {current}\n\n"
            seen, silent_since = current, time.monotonic()
            rested = time.monotonic() + pause()
            while time.monotonic() < rested and not stopping.is_set():
                await asyncio.sleep(LOOK_EVERY)
        elif time.monotonic() - silent_since > SIGN_OF_LIFE_EVERY:
            yield ": nothing changed\n\n"
            silent_since = time.monotonic()
        await asyncio.sleep(LOOK_EVERY)


@dataclass(frozen=True)
class Look(Generic[Value]):
    """What was seen ``age`` seconds ago. ``next_takes``: the seconds that the next look is under way, 0 where
    there is none."""

    seen: Value
    age: float = 0.0
    next_takes: float = 0.0


class Lasting(Generic[Value]):
    """Looks again, in a thread, once the last look is ``seconds`` old. Whoever asks meanwhile is given the
    last one, and keeps no thread while there is none yet. ``clock``: in seconds."""

    def __init__(
        self, look: Callable[[], Value], seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._look = look
        self._seconds = seconds
        self._clock = clock
        self._last: tuple[Value, float] | None = None  # and when it ended
        self._began: float | None = None  # the look that is under way

    async def __call__(self) -> Look[Value]:
        while self._began is not None and self._last is None:
            await asyncio.sleep(SECONDS_TO_THE_FIRST)
        if self._last is not None:
            seen, ended = self._last
            age = self._clock() - ended
            if self._began is not None:
                return Look(seen, age, self._clock() - self._began)
            if age < self._seconds:
                return Look(seen, age)
        self._began = self._clock()
        try:
            seen = await run_in_threadpool(self._look)
        finally:
            self._began = None
        self._last = seen, self._clock()
        return Look(seen)


class SinceChange(Generic[Value]):
    """A value made from the rows, good until anything is written. ``cost``: seconds of processor it took."""

    def __init__(self, make: Callable[[], Value], mark: ChangeMark) -> None:
        self._make = make
        self._mark = mark
        self._lock = Lock()
        self._made_at = ""
        self.cost = 0.0

    def __call__(self) -> Value:
        with self._lock:
            mark = self._mark.read()  # before the rows: what is written meanwhile makes it stale
            if mark != self._made_at:
                started = time.thread_time()  # not the clock, which runs on while others work
                self._value = self._make()
                self._made_at, self.cost = mark, time.thread_time() - started
            return self._value
