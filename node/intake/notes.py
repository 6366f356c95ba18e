"""What is written down of those who were refused: all that matters, and no more than an attacker can bear."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Hashable
from dataclasses import dataclass, replace

from node.intake.ledger import Ledger, LedgerFullError
from storage.audit import AuditEntry
from storage.intake import Refused
from storage.resends import Resent

log = logging.getLogger(__name__)

SECONDS_BETWEEN_NOTES = 60.0  # of one and the same trouble
MOST_TROUBLES = 1000  # told apart at a time


@dataclass
class _Trouble:
    noted_at: float
    since: int = 0  # how often it was met after that


class RefusalNotes:
    """Enters refusals and other notes into the ledger, from any thread."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._troubles: dict[Hashable, _Trouble] = {}
        self._lock = threading.Lock()

    def note(self, refused: Refused) -> None:
        log.warning(
            "Refused 0x%04X from %s@%s: %s", refused.status, refused.caller, refused.address, refused.reason
        )
        self.enter(refused)

    def now_and_then(self, refused: Refused, trouble: Hashable) -> bool:
        """Note it, unless the same ``trouble`` was noted within the last minute: who tries again and again
        fills neither the database nor the log. Whether it was noted."""
        count = self._times_since(trouble)
        if count is None:
            return False
        if count:
            refused = replace(
                refused, reason=f"{refused.reason} ({count} more times since it was last noted)"
            )
        self.note(refused)
        return True

    def enter(self, item: Refused | Resent | AuditEntry) -> None:
        try:
            self._ledger.enter(item)
        except LedgerFullError:
            log.warning("This could not be entered, for the database has fallen behind: %s", item)

    def _times_since(self, trouble: Hashable) -> int | None:
        """How often it was met since it was noted last; None while it is not to be noted again."""
        moment = time.monotonic()
        with self._lock:
            known = self._troubles.get(trouble)
            if known is not None and moment - known.noted_at < SECONDS_BETWEEN_NOTES:
                known.since += 1
                return None
            if len(self._troubles) > MOST_TROUBLES:
                self._troubles.clear()
            self._troubles[trouble] = _Trouble(moment)
            return known.since if known else 0
