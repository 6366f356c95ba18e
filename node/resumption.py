"""Comes back to studies that were closed and whose reading has not ended, though none is on its way."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)

SECONDS_BETWEEN_LOOKS = 60.0


class Resumption:
    """A thread that takes up, once a minute, what a crash or a failing database left behind.

    take_up: queues again what is not on its way, and may be called as often as one likes.
    """

    def __init__(self, take_up: Callable[[], None], seconds: float = SECONDS_BETWEEN_LOOKS) -> None:
        self._take_up = take_up
        self._seconds = seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="resumption", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while not self._stopping.wait(self._seconds):
            try:
                self._take_up()
            except Exception:
                log.exception("the studies that wait to be read could not be looked through")
