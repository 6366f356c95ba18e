"""What is written down of those who were refused: all that matters, and no more than an attacker can bear."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass, replace

from node.intake.ledger import Ledger, LedgerFullError
from storage.audit import AuditEntry
from storage.refusals import NO_STATUS, Refused
from storage.resends import Resent

log = logging.getLogger(__name__)

SECONDS_BETWEEN_NOTES = 60.0  # of one and the same trouble
MOST_TROUBLES = 1000  # told apart at a time
OBJECTS_AN_HOUR = 1000  # of one address that are noted one by one


@dataclass
class _Trouble:
    noted_at: float
    since: int = 0  # how often it was met after that


class RefusalNotes:
    """Enters refusals and other notes into the ledger, from any thread."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._troubles: dict[Hashable, _Trouble] = {}
        self._objects: Counter[str] = Counter()  # refused since the hour began, by address
        self._hour = 0
        self._lock = threading.Lock()

    def note(self, refused: Refused) -> None:
        if refused.status == NO_STATUS:
            log.warning("Turned away: %s", refused.reason)  # which names the caller
        else:
            who = f"{refused.caller}@{refused.address}"
            log.warning("Refused 0x%04X to %s: %s", refused.status, who, refused.reason)
        self.enter(refused)

    def note_object(self, refused: Refused) -> None:
        """Note an object that was refused and is kept in quarantine: each of an address, until those of an
        hour are more than anybody reads; from then on one a minute, with the count of those between."""
        if self._is_one_of_few(refused.address):
            self.note(refused)
        else:
            self.now_and_then(refused, (refused.address, "objects"))

    def now_and_then(self, refused: Refused, trouble: Hashable) -> bool:
        """Note it, unless the same ``trouble`` was noted within the last minute: who tries again and again
        fills neither the database nor the log. Whether it was noted."""
        count = self._times_since(trouble)
        if count is None:
            return False
        if count:
            refused = replace(
                refused, reason=f"{refused.reason} ({count} more from there since the last such line)"
            )
        self.note(refused)
        return True

    def enter(self, item: Refused | Resent | AuditEntry) -> None:
        try:
            self._ledger.await_room()
        except LedgerFullError:
            log.warning("This could not be entered, for the database has fallen behind: %s", item)
        else:
            self._ledger.enter(item)

    def _is_one_of_few(self, address: str) -> bool:
        hour = int(time.monotonic() // 3600)
        with self._lock:
            if hour != self._hour or len(self._objects) > MOST_TROUBLES:
                self._hour = hour
                self._objects.clear()
            self._objects[address] += 1
            return self._objects[address] <= OBJECTS_AN_HOUR

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
