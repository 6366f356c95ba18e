"""Comes back to studies whose priors could not be asked for, once their archive answers again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta

from node.peers.sending import DeliveryError
from node.settings import PriorsSettings
from node.upkeep.periodic import PeriodicTask
from node.upkeep.steady import SteadyClock
from storage import fetching, priors
from storage.database import Database
from storage.events import log_event
from storage.fetching import Due

SECONDS_BETWEEN_LOOKS = 1.0


class Recall:
    """Asks silent archives whether they are back, and then has the studies compared again.

    The rows are the truth and survive a restart. ``echoes``: a C-ECHO to each archive, by name, that raises
    DeliveryError while it is away. ``clock``: for how long each was asked; by default one that doubts a wall
    clock that leaps.
    """

    def __init__(
        self,
        database: Database,
        settings: PriorsSettings,
        echoes: Mapping[str, Callable[[], None]],
        clock: SteadyClock | None = None,
    ) -> None:
        self._database = database
        self._settings = settings
        self._echoes = echoes
        self._clock = clock or SteadyClock()
        self.task = PeriodicTask(
            "recall", self.look, SECONDS_BETWEEN_LOOKS, "archives that were away cannot be come back to"
        )

    def look(self) -> None:
        """Ask the archives that are due, and have the studies that wait for those that answer read again."""
        with self._database.snapshot() as session:
            due = fetching.due_again(session)
        answers: dict[str, str] = {}
        for one in due:
            if self._is_over(one):
                self._give_up(one)
                continue
            if one.archive not in answers:
                answers[one.archive] = self._asked(one.archive)
            self._come_back(one, answers[one.archive])

    def _is_over(self, one: Due) -> bool:
        too_old = self._clock.now() - one.first_at > timedelta(days=self._settings.retry_days)
        return too_old or one.archive not in self._echoes

    def _give_up(self, one: Due) -> None:
        with self._database.session() as session:
            fetching.note_answered(session, one.study_uid, one.archive)
            text = f"{one.archive} is not asked for earlier studies any more"
            log_event(session, "priors", text, study_uid=one.study_uid, level="warning")

    def _asked(self, archive: str) -> str:
        """Why it does not answer; empty when it does."""
        try:
            self._echoes[archive]()
        except DeliveryError as error:
            return str(error)
        return ""

    def _come_back(self, one: Due, problem: str) -> None:
        pause = timedelta(seconds=self._settings.retry_seconds)
        with self._database.session() as session:
            if not problem and not priors.compare_again(session, one.study_uid):
                fetching.ask_later(session, one.study_uid, one.archive, pause)  # it is being read
                return
            fetching.note_unanswered(session, one.study_uid, one.archive, problem, pause)
            if not problem:
                text = f"{one.archive} answers again: this study is compared with what it holds."
                log_event(session, "priors", text, study_uid=one.study_uid)
