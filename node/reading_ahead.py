"""Reads the series of a study that has paused, while the rest of its quiet period runs.

The steps of its reading are taken up to the results, for the revision that it will have once it is closed.
What each of them keeps lies under the identity of what was read, with which weights, against which priors: if
no image comes any more, the reading finds it done; if one does, it finds nothing.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from node.reading import read_series
from node.reading_room import ReadingRoom
from node.steps.job import Job, series_of
from node.steps.select import choose
from node.stopping import Stopping
from node.upkeep.periodic import PeriodicTask
from storage.closing import OpenStudy, next_revision, open_studies

log = logging.getLogger(__name__)

SECONDS_BETWEEN_LOOKS = 0.5  # while studies are read that are complete


class NoLongerPausedError(Exception):
    """The study got an image or was closed, or there is something else to do."""


class ReadingAhead:
    """``task`` reads one paused study after another, whenever ``is_idle``: what is complete goes first."""

    def __init__(self, room: ReadingRoom, is_idle: Callable[[], bool]) -> None:
        self._room = room
        self._is_idle = is_idle
        self._paused: queue.SimpleQueue[OpenStudy] = queue.SimpleQueue()
        self._in_hand = ""  # the study of which a step is under way
        self._changed = threading.Condition()
        self.task = PeriodicTask("reading ahead", self._look, 60.0, "paused studies cannot be read ahead")

    def paused(self, study: OpenStudy) -> None:
        """A study has had no new image for a while; it is read when its turn comes, if it still has not."""
        self._paused.put(study)
        self.task.wake()

    def give_way(self, study_uid: str) -> None:
        """Return when no step of this study, which is closed, is under way here any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._in_hand != study_uid)

    def _look(self) -> float | None:
        while not self._paused.empty():
            if self.task.is_stopping or not self._is_idle():
                return SECONDS_BETWEEN_LOOKS
            self._read(self._paused.get())
        return None

    def _read(self, study: OpenStudy) -> None:
        def step(stage: str, function: Callable[..., Any], *args: Any) -> Any:
            self._take(study.uid)
            try:
                self._check(study)
                return function(*args)
            finally:
                self._take("")

        room = self._room
        with room.database.snapshot() as session:
            job = Job(study.uid, next_revision(session, study.uid), ahead=True)
        try:
            *_, assignments = step("select", choose, room, series_of(room, job))
            for assignment in assignments:
                read_series(room, step, job, asdict(assignment))
        except NoLongerPausedError:
            return
        except (
            Exception,
            Stopping,
        ) as error:  # whatever it is, the study's own reading meets it and tells of it
            log.info("study %s is not read ahead: %s", study.uid, error, exc_info=True)

    def _take(self, study_uid: str) -> None:
        with self._changed:
            self._in_hand = study_uid
            self._changed.notify_all()

    def _check(self, study: OpenStudy) -> None:
        """
        Raises:
            NoLongerPausedError: it does not wait for its images as it did, or something else goes first.
        """
        with self._room.database.snapshot() as session:
            if self.task.is_stopping or not self._is_idle() or study not in open_studies(session):
                raise NoLongerPausedError
