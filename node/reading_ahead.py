"""Reads the series of a study that has paused, while the rest of its quiet period runs.

Nothing is said of it and nothing is written: whether the study is complete, nobody knows yet. If it is, its
reading finds the work done.
"""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable
from functools import partial

from inference.engine import EngineError
from inference.errors import UnreadableSeriesError
from node.reading_room import ReadingRoom
from node.steps.read import make_reading
from node.steps.select import choose
from node.stopping import Stopping
from node.upkeep.periodic import PeriodicTask
from storage.closing import OpenStudy, open_studies
from storage.priors import images_of

log = logging.getLogger(__name__)

SECONDS_BETWEEN_LOOKS = 0.5  # while studies are read that are complete


class ReadingAhead:
    """``task`` reads one paused study after another, whenever ``is_idle``: what is complete goes first."""

    def __init__(self, room: ReadingRoom, is_idle: Callable[[], bool]) -> None:
        self._room = room
        self._is_idle = is_idle
        self._paused: queue.SimpleQueue[OpenStudy] = queue.SimpleQueue()
        self.task = PeriodicTask("reading ahead", self._look, 60.0, "paused studies cannot be read ahead")

    def paused(self, study: OpenStudy) -> None:
        """A study has had no new image for a while; it is read when its turn comes, if it still has not."""
        self._paused.put(study)
        self.task.wake()

    def _look(self) -> float | None:
        while not self._paused.empty():
            if self.task.is_stopping or not self._is_idle():
                return SECONDS_BETWEEN_LOOKS
            self._read(self._paused.get())
        return None

    def _read(self, study: OpenStudy) -> None:
        room = self._room
        try:
            with room.database.snapshot() as session:
                series = {uid: room.files(paths) for uid, paths in images_of(session, study.uid).items()}
            for task in choose(room, series)[2]:
                if self._is_still_paused(study) and not room.archive.has_reading(task.identity):
                    files = task.files_among(series)
                    make = partial(make_reading, room, task.reader, task.identity, files)
                    room.ahead.make(task.identity, make)
        except (UnreadableSeriesError, EngineError, Stopping) as error:  # the study's reading tells of it
            log.info("study %s is not read ahead: %s", study.uid, error)

    def _is_still_paused(self, study: OpenStudy) -> bool:
        """Whether it waits for its images as it did, and nothing else is to be done first."""
        if self.task.is_stopping or not self._is_idle():
            return False
        with self._room.database.snapshot() as session:
            return study in open_studies(session)
