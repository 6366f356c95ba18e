"""Notes in the audit trail whose study was looked at by whom, and what was searched for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from fastapi import Request

from node.web.gate import keeps_itself_up_to_date
from node.web.queries import StudyQuery
from node.web.trail import address_of, visitor
from storage import audit
from storage.database import Database

SECONDS_OF_A_LOOK = 600.0  # in which looking again is the same look
SECONDS_OF_TYPING = 10.0  # between two searches that are one
LONGEST_LINE = 1000  # characters of searches in one line
MOST_LOOKS = 10_000


@dataclass(frozen=True)
class _Typing:
    """Searches of one person, a few seconds apart, and the line of the trail that tells of them."""

    line: int
    searches: tuple[str, ...]
    at: float

    def with_another(self, search: str, at: float) -> _Typing:
        """A search that only goes on from the last one takes its place."""
        goes_on = search.startswith(self.searches[-1])
        kept = self.searches[:-1] if goes_on else self.searches
        return _Typing(self.line, (*kept, search), at)

    @property
    def text(self) -> str:
        return f"searched the list of studies for {'; '.join(self.searches)}"


class Looks:
    """One line for each look, not for each click; one for a search, not for each letter typed."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        self._lock = threading.Lock()
        self._at: dict[tuple[str, str, str], float] = {}
        self._one_at_a_time = threading.Lock()
        self._typing: dict[tuple[str, str], _Typing] = {}

    def at_study(self, request: Request, study_uid: str) -> None:
        who, address = visitor(request), address_of(request)
        if self._is_new(request, (who, address, study_uid)):
            with self._database.session() as session:
                text = "looked at the study"
                audit.note(session, "viewed", who, text, address=address, study_uid=study_uid)

    def at_list(self, request: Request, query: StudyQuery) -> None:
        """A search is noted with what was asked for: it tells whom somebody was interested in."""
        who, address, search = visitor(request), address_of(request), _in_words(query)
        if not self._is_new(request, (who, address, f"list {search}")):
            return
        if search:
            self._note_search(who, address, search)
            return
        with self._database.session() as session:
            audit.note(session, "viewed", who, "looked at the list of studies", address=address)

    def _note_search(self, who: str, address: str, search: str) -> None:
        moment, person = self._clock(), (who, address)
        with self._one_at_a_time:
            before = self._typing.get(person)
            with self._database.session() as session:
                if before is not None and moment - before.at < SECONDS_OF_TYPING:
                    typing = before.with_another(search, moment)
                    if len(typing.text) <= LONGEST_LINE and audit.amend(session, typing.line, typing.text):
                        self._typing[person] = typing
                        return
                first = _Typing(0, (search,), moment)
                line = audit.note(session, "viewed", who, first.text, address=address)
            if len(self._typing) >= MOST_LOOKS:
                self._typing.clear()
            self._typing[person] = _Typing(line, (search,), moment)

    def _is_new(self, request: Request, look: tuple[str, str, str]) -> bool:
        """An open page may show what was looked at for as long as it likes, and nothing else."""
        moment = self._clock()
        with self._lock:
            before = self._at.get(look)
            if before is not None:
                if keeps_itself_up_to_date(request.headers) or moment - before < SECONDS_OF_A_LOOK:
                    return False
            elif len(self._at) >= MOST_LOOKS:
                self._at.clear()
            self._at[look] = moment
            return True


def _in_words(query: StudyQuery) -> str:
    """What a list is narrowed to, but for the state; empty where it is not."""
    parts = [f"received from {query.since}" if query.since else ""]
    parts += [f"received to {query.until}" if query.until else "", query.q]
    return ", ".join(part for part in parts if part)
