"""Reads the series of a study that has paused, while the rest of its quiet period runs.

Nothing is said of it and nothing is written: whether the study is complete, nobody knows yet. If it is, its
reading finds the work done.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import Literal

from node.reading_room import ReadingRoom
from node.steps.job import Assignment
from node.steps.read import make_readings
from node.steps.select import assigned, choose
from node.stopping import Stopping
from node.upkeep.periodic import PeriodicTask
from storage import readings
from storage.closing import OpenStudy, open_studies
from storage.priors import images_of

log = logging.getLogger(__name__)

Turn = Literal["now", "later", "never"]

SECONDS_BETWEEN_LOOKS = 0.5  # while studies are read that are complete
SECONDS_UNTIL_FORGOTTEN = 60.0  # that volumes are kept which nobody asks for
SECONDS_TO_STOP = 5.0  # what is read ahead may be cut short


class ReadingAhead:
    """Reads paused studies series by series, from ``start`` to ``stop``; what is complete goes first."""

    def __init__(self, room: ReadingRoom) -> None:
        self._room = room
        self._paused: deque[OpenStudy] = deque()
        self._at_work = threading.Lock()
        self.task = PeriodicTask(
            "reading ahead", self._look, SECONDS_UNTIL_FORGOTTEN, "paused studies cannot be read ahead"
        )

    def start(self) -> None:
        self.task.start()

    def stop(self) -> None:
        self.task.stop(SECONDS_TO_STOP)

    def paused(self, study: OpenStudy) -> None:
        """A study has had no new image for a while; it is read when its turn comes, if it still has not."""
        self._paused.append(study)
        self.task.wake()

    def give_way(self) -> None:
        """Return when the series that is being read ahead, if there is one, has been. Whoever calls has a
        complete study in hand: until that is read, no other series is begun.

        Raises:
            Stopping: the node stops meanwhile.
        """
        while not self._at_work.acquire(timeout=SECONDS_BETWEEN_LOOKS):
            if self.task.is_stopping:
                raise Stopping
        self._at_work.release()

    def _look(self) -> float | None:
        if not self._paused:
            self._tidy()
        while self._paused:
            study = self._paused.popleft()
            if self._read(study) == "later":
                self._paused.appendleft(study)
                return SECONDS_BETWEEN_LOOKS
        return None

    def _read(self, study: OpenStudy) -> Turn:
        """Read each series that was not; returns whether the study is done with, or to be come back to."""
        room = self._room
        if (turn := self._turn(study)) != "now":
            return turn
        with room.database.snapshot() as session:
            series = {uid: room.files(paths) for uid, paths in images_of(session, study.uid).items()}
        _, choices = choose(room, series)
        for task in assigned(room, choices, series):
            with self._at_work:
                if (turn := self._turn(study)) != "now":
                    return turn
                if task.identity not in room.ahead and not room.archive.has_reading(task.identity):
                    self._make(task, task.files_among(series))
        return "never"

    def _make(self, task: Assignment, files: tuple[Path, ...]) -> None:
        try:
            made = make_readings(self._room, task, files)
        except (Exception, Stopping):  # whatever it is, the study's own reading meets it, and tells of it
            log.info("series %s is not read ahead", task.series_uid, exc_info=True)
        else:
            for identity, one in made.items():
                self._room.ahead.keep(identity, replace(one, awaited=True))

    def _turn(self, study: OpenStudy) -> Turn:
        """Whether a study is to be read: never where it was closed, or had an image, since it paused."""
        if self.task.is_stopping:
            return "later"
        with self._room.database.snapshot() as session:
            if study not in open_studies(session):
                return "never"
            return "later" if readings.unfinished(session) else "now"

    def _tidy(self) -> None:
        """Give the memory back of volumes whose study was not read after all."""
        with self._room.database.snapshot() as session:
            if not (open_studies(session) or readings.unfinished(session)):
                self._room.forget_volumes()
