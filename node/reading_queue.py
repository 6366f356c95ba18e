"""Studies on their way to be read: queued once they are closed, and come back to if they were left behind."""

from __future__ import annotations

import logging
from functools import partial

from node.reading import give_up
from node.reading_room import ReadingRoom
from node.steps.job import Job
from node.steps.select import urgency_of
from node.upkeep.periodic import PeriodicTask
from node.workflow import DurableQueue
from storage import readings
from storage.closing import ClosedStudy

log = logging.getLogger(__name__)

SECONDS_BETWEEN_LOOKS = 60.0


class ReadingQueue:
    """``task`` takes up, once a minute, what a crash or a failing database left behind."""

    def __init__(self, room: ReadingRoom, queue: DurableQueue) -> None:
        self._room = room
        self._queue = queue
        self.task = PeriodicTask(
            "resumption",
            self.take_up,
            SECONDS_BETWEEN_LOOKS,
            "studies that were left unread cannot be looked for",
        )

    def enqueue(self, closed: ClosedStudy) -> None:
        """Have a study read, as urgently as its route asks; after all others, where it is compared again."""
        uid, revision = closed.study_uid, closed.revision_number
        priority = self._priority(uid, revision)
        self._queue.enqueue(_key(uid, revision), uid, revision, priority=priority)

    def take_up(self) -> None:
        """Queue again what is closed and not on its way; what takes the node down each time is given up."""
        with self._room.database.snapshot() as session:
            unfinished = readings.unfinished(session)
        for uid, revision in unfinished:
            priority = partial(self._priority, uid, revision)
            if not self._queue.take_up(_key(uid, revision), uid, revision, priority=priority):
                try:
                    give_up(self._room, uid, revision)
                except Exception:  # what is behind it is taken up all the same
                    log.exception("study %s could not be given up", uid)

    def _priority(self, study_uid: str, revision: int) -> str:
        with self._room.database.snapshot() as session:
            compares_again = readings.find_revision(session, study_uid, revision).compares_again
        return "again" if compares_again else urgency_of(self._room, Job(study_uid, revision))


def _key(study_uid: str, revision: int) -> str:
    return f"{study_uid}/{revision}"
