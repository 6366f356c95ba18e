"""Whether the port still takes in who connects."""

from __future__ import annotations

import logging
import threading
import time

from storage.errors import said

log = logging.getLogger(__name__)

PAUSE = 0.2  # seconds before the next is taken in: what is lacking may be there again
QUIET = 10.0  # seconds without a failure after which one is over


class Hearing:
    """Told by a listener of each connection whether it was taken in. A failure is logged once for its kind,
    and so is that it is over."""

    def __init__(self) -> None:
        self._failures: dict[tuple[type[Exception], int | None], str] = {}
        self._failed_at = 0.0

    def failed(self, error: Exception) -> None:
        """Tell that one was not, and rest a moment."""
        kind = type(error), getattr(error, "errno", None)
        if kind not in self._failures:
            log.warning("A connection could not be taken in: %s", said(error), exc_info=error)
        self._failures[kind] = said(error)
        self._failed_at = time.monotonic()
        time.sleep(PAUSE)

    def succeeded(self) -> None:
        """Tell that one was."""
        if self._failures and not self._is_failing:
            log.info("Connections are taken in again; it was: %s", "; ".join(self._failures.values()))
            self._failures.clear()

    def problem(self, thread: threading.Thread) -> str | None:
        """What keeps ``thread``, which listens from its start on, from hearing who connects."""
        if thread.ident is not None and not thread.is_alive():
            return "Nobody listens any more: the thread that did has ended. Restart the node."
        if self._failures and self._is_failing:
            return f"Who connects cannot be taken in ({'; '.join(self._failures.values())})."
        return None

    @property
    def _is_failing(self) -> bool:
        return time.monotonic() - self._failed_at < QUIET
