"""Knows when a study is complete: its source has been quiet for long enough, or a person will not wait."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from datetime import datetime

from node.settings import DicomSettings
from node.upkeep.periodic import PeriodicTask
from storage.closing import ClosedStudy, OpenStudy, close_quiet, open_studies
from storage.database import Database, now

SECONDS_BETWEEN_LOOKS = 0.5
LONGEST_ARRIVAL = 600.0  # seconds: a gigabyte takes as long on a slow line; who drips one holds up no study
QUIET_PERIODS_OF_AN_ARRIVAL = 10


class QuietClock:
    """How long open studies have been quiet, by ``clock``, which nobody sets: neither the time a node was
    down nor a wall clock put right makes a study seem complete. Counting begins when it is first seen."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: dict[str, tuple[datetime, float]] = {}

    def look(self, studies: Sequence[OpenStudy], at: datetime) -> None:
        """Take note of what is open ``at`` this moment of the wall clock."""
        seen = self._clock()
        ages = {study: (at - study.last_image_at).total_seconds() for study in studies}
        self._since = {
            study.uid: self._since[study.uid]
            if self._since.get(study.uid, (None,))[0] == study.last_image_at
            else (study.last_image_at, seen - min(max(age, 0.0), SECONDS_BETWEEN_LOOKS))
            for study, age in ages.items()
        }

    def seconds(self, study: OpenStudy) -> float:
        """Since the last image; 0 where one has come since the last look."""
        last_image_at, since = self._since.get(study.uid, (None, 0.0))
        return self._clock() - since if last_image_at == study.last_image_at else 0.0


class Completion:
    """Closes quiet studies and hands each to ``on_closed``; ``task`` looks for them twice a second.

    A closed study has its queued revision in the database before ``on_closed`` is called; should that
    fail or the node die in between, enqueueing every queued revision on start makes up for it. ``settle``
    waits for the rows of what was received and tells whether all are there: until then, none is closed. A
    study of which an image is on its way in, as ``arriving`` tells, is quiet only once that has come: a large
    one takes longer than a quiet period. After ten quiet periods, or ten minutes where that is more, it is
    waited for no longer; should it still come, it is a late image.
    ``on_pause`` is told of each study that has been quiet for as long as is waited before it is read ahead:
    once after its last image, and not of what was open when the node started: if reading it ahead ended the
    node, that would be counted against nobody, and happen again and again.
    """

    def __init__(
        self,
        database: Database,
        settings: DicomSettings,
        on_closed: Callable[[ClosedStudy], None],
        settle: Callable[[], bool] = lambda: True,
        on_pause: Callable[[OpenStudy], None] = lambda study: None,
        arriving: Callable[[], Collection[str]] = frozenset,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._settings = settings
        self._on_closed = on_closed
        self._settle = settle
        self._on_pause = on_pause
        self._arriving = arriving
        self._told: dict[str, datetime] | None = None  # last image of each study that was told of
        self._unclaimed: list[ClosedStudy] = []
        self._quiet = QuietClock(clock)
        self.task = PeriodicTask(
            "completion", self.close_quiet_studies, SECONDS_BETWEEN_LOOKS, "complete studies cannot be closed"
        )

    def close_quiet_studies(self) -> float | None:
        """Close what has been quiet for long enough, or is not to be waited for, and hand it over; returns
        the seconds until the next one will have been."""
        with self._database.snapshot() as session:
            waiting = open_studies(session)
        self._quiet.look(waiting, now())
        complete = self._complete(waiting)  # before what has arrived meanwhile is waited for
        if (complete or any(study.read_now for study in waiting)) and self._settle():
            complete &= self._complete(waiting)  # without what has begun to arrive meanwhile
            with self._database.session() as session:
                closed = close_quiet(session, now(), lambda s: s.uid in complete and self._is_quiet(s))
            self._unclaimed += closed
        while self._unclaimed:
            self._on_closed(self._unclaimed[0])
            del self._unclaimed[0]
        self._tell_of_pauses(waiting)
        ends = [end - self._quiet.seconds(study) for study in waiting for end in self._ends_of(study)]
        return min((seconds for seconds in ends if seconds > 0), default=None)

    def _tell_of_pauses(self, waiting: Sequence[OpenStudy]) -> None:
        told = {study.uid: study.last_image_at for study in waiting} if self._told is None else self._told
        self._told = {study.uid: told[study.uid] for study in waiting if study.uid in told}
        for study in waiting:
            pause, end = self._ends_of(study)
            if pause <= self._quiet.seconds(study) < end and told.get(study.uid) != study.last_image_at:
                self._told[study.uid] = study.last_image_at
                self._on_pause(study)

    def _ends_of(self, study: OpenStudy) -> tuple[float, float]:
        """Seconds after which it has paused, and is quiet."""
        quiet = self._settings.quiet_seconds_for(study.source)
        return self._settings.read_ahead_seconds or quiet, quiet

    def _complete(self, waiting: Sequence[OpenStudy]) -> set[str]:
        """Those that are quiet and of which nothing is on its way in that is still waited for."""
        quiet = [study for study in waiting if self._is_quiet(study)]
        arriving = self._arriving() if quiet else ()
        return {s.uid for s in quiet if s.uid not in arriving or self._is_waited_for_no_longer(s)}

    def _is_waited_for_no_longer(self, study: OpenStudy) -> bool:
        periods = QUIET_PERIODS_OF_AN_ARRIVAL * self._settings.quiet_seconds_for(study.source)
        return self._quiet.seconds(study) >= max(LONGEST_ARRIVAL, periods)

    def _is_quiet(self, study: OpenStudy) -> bool:
        return self._quiet.seconds(study) >= self._settings.quiet_seconds_for(study.source)
