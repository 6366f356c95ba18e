"""Tells open pages that something changed, as server-sent events (HTML Living Standard 9.2)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from threading import Event, Lock
from typing import Generic, TypeVar

from starlette.concurrency import run_in_threadpool

from storage.changes import ChangeMark

LOOK_EVERY = 1.0  # seconds
SIGN_OF_LIFE_EVERY = 15.0  # seconds; proxies close a connection that stays silent

Value = TypeVar("Value")


async def changes(mark: ChangeMark, seen: str, stopping: Event) -> AsyncIterator[str]:
    """An event ``changed`` when the database no longer bears the mark last ``seen``; one a second at most."""
    silent_since = time.monotonic()
    while not stopping.is_set():
        current = await run_in_threadpool(mark.read)
        if current != seen:
            yield f"id: {current}\nevent: changed\ndata: {current}\n\n"
            seen, silent_since = current, time.monotonic()
        elif time.monotonic() - silent_since > SIGN_OF_LIFE_EVERY:
            yield ": nothing changed\n\n"
            silent_since = time.monotonic()
        await asyncio.sleep(LOOK_EVERY)


class Sparing(Generic[Value]):
    """A value made at most a tenth of the time: what took a second to make is good for nine more.

    ``least_age``: seconds it is good for in any case.
    """

    def __init__(self, make: Callable[[], Value], least_age: float = 0.0) -> None:
        self._make = make
        self._least_age = least_age
        self._lock = Lock()
        self._good_until = 0.0

    def __call__(self) -> Value:
        with self._lock:
            started = time.monotonic()
            if started >= self._good_until:
                self._value = self._make()
                ended = time.monotonic()
                cost = ended - started
                self._good_until = ended + max(self._least_age, 9 * cost if cost > 0.05 else 0.0)
            return self._value
