"""How often somebody may be wrong: passwords are tried in the hospital, too."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

WINDOW = 600.0  # seconds
BY_PERSON, BY_NAME, BY_ADDRESS = 10, 30, 100  # attempts within the window
MOST_KEYS = 10_000


class Attempts:
    """Counts attempts by account at an address, by account and by address, which a whole hospital may share
    behind its proxy. A success takes back those on its account, and of its address itself alone: who has one
    account does not guess others' the longer for it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._made: dict[tuple[str, str], deque[float]] = {}
        self._told: dict[tuple[str, str], float] = {}

    def begin(self, address: str, name: str) -> float:
        """Count an attempt before it is looked at; returns the seconds to wait where it may not be."""
        moment = self._clock()
        keys = _limits(address, name)
        with self._lock:
            if len(self._made) > MOST_KEYS:
                self._forget(moment)
            wait = max(self._wait(key, most, moment) for key, most in keys)
            if wait <= 0:
                for key, _ in keys:
                    self._made.setdefault(key, deque()).append(moment)
            return max(0.0, wait)

    def turned_away(self, address: str, name: str) -> float:
        """Seconds that an attempt would have to wait, where that was told of already; nothing is counted."""
        moment = self._clock()
        with self._lock:
            if moment - self._told.get(("address", address), -WINDOW) >= WINDOW:
                return 0.0
            return max(0.0, *(self._wait(key, most, moment) for key, most in _limits(address, name)))

    def succeeded(self, address: str, name: str) -> None:
        person, account, place = _keys(address, name)
        with self._lock:
            self._made.pop(person, None)
            self._made.pop(account, None)
            if made := self._made.get(place):
                made.pop()

    def is_news(self, address: str) -> bool:
        """Whether it is the first time within the window that ``address`` was made to wait."""
        moment, key = self._clock(), ("address", address)
        with self._lock:
            news = moment - self._told.get(key, -WINDOW) >= WINDOW
            if news:
                self._told[key] = moment
            return news

    def _wait(self, key: tuple[str, str], most: int, moment: float) -> float:
        made = self._made.get(key, deque())
        while made and made[0] <= moment - WINDOW:
            made.popleft()
        return made[-most] + WINDOW - moment if len(made) >= most else 0.0

    def _forget(self, moment: float) -> None:
        old = [key for key, made in self._made.items() if not made or made[-1] <= moment - WINDOW]
        for key in old or sorted(self._made, key=lambda key: len(self._made[key]))[: MOST_KEYS // 2]:
            del self._made[key]
        self._told = {key: at for key, at in self._told.items() if at > moment - WINDOW}


Key = tuple[str, str]


def _keys(address: str, name: str) -> tuple[Key, Key, Key]:
    return ("person", f"{name} at {address}"), ("name", name), ("address", address)


def _limits(address: str, name: str) -> tuple[tuple[Key, int], ...]:
    return tuple(zip(_keys(address, name), (BY_PERSON, BY_NAME, BY_ADDRESS), strict=True))
