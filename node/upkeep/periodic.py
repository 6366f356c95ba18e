"""What the node does again and again beside the way of a study."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from storage.errors import said

log = logging.getLogger(__name__)


class PeriodicTask:
    """Does ``work`` every so many ``seconds``, or after as many as it returns if those are fewer, in a thread
    of its own, from ``start`` to ``stop``.

    An error ends no more than the work it came in, and is logged once for as long as it stays the same.
    ``failing``: what cannot be done while the work raises, as "complete studies cannot be closed".
    """

    def __init__(self, name: str, work: Callable[[], float | None], seconds: float, failing: str) -> None:
        self.name = name
        self.problem = ""
        """What cannot be done at the moment, and why; empty when nothing is wrong."""
        self._work = work
        self._seconds = seconds
        self._failing = failing
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def is_stopping(self) -> bool:
        """Whether work that takes long should come to an end."""
        return self._stopping.is_set()

    def start(self) -> None:
        """Begin; the work is done for the first time after its seconds, or at once where it was woken."""
        self._thread.start()

    def wake(self) -> None:
        """Do the work at once, and not after its seconds."""
        self._wake.set()

    def stop(self, seconds: float = 30) -> None:
        """Let the work that is under way end, for so many seconds."""
        self._stopping.set()
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join(seconds)

    def _run(self) -> None:
        pause = self._seconds
        while True:
            self._wake.wait(pause)
            self._wake.clear()
            if self.is_stopping:
                return
            pause = self._do()

    def _do(self) -> float:
        """Returns the seconds until it is to be done again."""
        sooner = None
        try:
            sooner = self._work()
        except Exception as error:  # whatever it is, it is tried again
            problem = f"{self._failing} ({said(error)})"
            if problem != self.problem:
                log.exception("%s", problem)
            self.problem = problem
        else:
            if self.problem:
                log.info("no longer: %s", self.problem)
            self.problem = ""
        return self._seconds if sooner is None else min(sooner, self._seconds)
