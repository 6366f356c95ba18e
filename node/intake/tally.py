"""What an association brings, told to audit trail and timelines while it goes on: some last for days."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from node.intake.acceptance import SUCCESS, Answer
from node.intake.callers import Caller
from node.intake.door import Door

SECONDS_BETWEEN_LINES = 60.0  # of one study and association


class Tally:
    """Counts the objects of each study, those of them that were here before, and those refused, since they
    were last told of."""

    def __init__(self, door: Door, caller: Caller, clock: Callable[[], float] = time.monotonic) -> None:
        self._door = door
        self._caller = caller
        self._clock = clock
        self._told_at = clock()
        self._received: Counter[str] = Counter()
        self._were_here: Counter[str] = Counter()
        self._refused = 0

    def add(self, answer: Answer) -> None:
        if answer.status == SUCCESS:
            self._received[answer.study_uid] += 1
            if answer.was_here:
                self._were_here[answer.study_uid] += 1
        else:
            self._refused += 1
        if self._clock() - self._told_at >= SECONDS_BETWEEN_LINES:
            self.tell()

    def tell(self) -> None:
        """Have what was not told of yet entered, one line for each study."""
        self._door.received(self._caller, self._received, self._were_here, self._refused)
        self._received.clear()
        self._were_here.clear()
        self._refused, self._told_at = 0, self._clock()
