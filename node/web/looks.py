"""Notes in the audit trail whose study was looked at by whom, what was searched for, and what was refused."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from fastapi import Request

from node.web.gate import keeps_itself_up_to_date
from node.web.presentation import clock
from node.web.queries import StudyQuery
from node.web.trail import AuditQuery, address_of, visitor
from storage import audit
from storage.database import Database
from storage.paging import Place

SECONDS_OF_A_LOOK = 600.0  # in which looking again is the same look
SECONDS_OF_TYPING = 10.0  # between two searches that are one
SECONDS_BETWEEN_REFUSALS = 60.0  # of one person at one address that have a line each
LONGEST_ADDRESS = 200  # characters of what was refused
LONGEST_LINE = 1000  # characters of searches in one line
MOST_LOOKS = 10_000


@dataclass(frozen=True)
class _Search:
    """What was typed in the end, and ``first``, among what a list was ``narrowed`` to. Letters that were
    added showed no more than the first did, so both tell all that was shown."""

    narrowed: str
    typed: str
    first: str

    def goes_on_as(self, later: _Search) -> bool:
        same = later.narrowed == self.narrowed
        return same and bool(self.typed) and later.typed.startswith(self.typed)

    def __str__(self) -> str:
        typed = self.typed if self.first == self.typed else f"{self.typed} (typed from {self.first} on)"
        return _joined(self.narrowed, typed)


@dataclass(frozen=True)
class _Typing:
    """Searches of ``where`` by one person, a few seconds apart, and the line of the trail that tells of
    them."""

    line: int
    where: str
    searches: tuple[_Search, ...]
    at: float

    def with_another(self, search: _Search, at: float) -> _Typing:
        *others, last = self.searches
        if last.goes_on_as(search):
            search = replace(search, first=last.first)
        else:
            others.append(last)
        return replace(self, searches=(*others, search), at=at)

    @property
    def text(self) -> str:
        return f"searched {self.where} for {'; '.join(str(search) for search in self.searches)}"


@dataclass
class _Refusals:
    """Of one person at one address: the last that has a line, and how many came after."""

    noted_at: float
    since: int = 0


class Looks:
    """One line for each look, not for each click; one for a search, not for each letter typed. What cannot be
    noted is not shown: the error is the caller's."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        self._one_at_a_time = threading.Lock()
        self._noted_at: dict[tuple[str, str, str], float] = {}
        self._typing: dict[tuple[str, str, str], _Typing] = {}
        self._refusals: dict[tuple[str, str], _Refusals] = {}

    def at_study(self, request: Request, study_uid: str) -> None:
        self._note(request, "looked at the study", study_uid)

    def at_list(self, request: Request, query: StudyQuery) -> None:
        """A search is noted with what was asked for: it tells whom somebody was interested in."""
        narrowed = _joined(query.state or "", *_days(query, "received "))
        self._at_lines(request, "the list of studies", narrowed, query.q, query.older)

    def at_trail(self, request: Request, query: AuditQuery) -> None:
        narrowed = _joined(query.kind or "", *_days(query))
        self._at_lines(request, "the audit trail", narrowed, query.q, query.older)

    def refused(self, request: Request, why: str) -> None:
        """What a person asked for is not theirs to have. Who asks again and again has one line a minute, with
        the count of those between."""
        who, address = visitor(request), address_of(request)
        with self._one_at_a_time:
            last, moment = self._refusals.get((who, address)), self._clock()
            if last is not None and moment - last.noted_at < SECONDS_BETWEEN_REFUSALS:
                last.since += 1
                return
            text = f"was refused {f'{request.method} {request.url.path}'[:LONGEST_ADDRESS]}: {why}"
            if last is not None and last.since:
                text += f" ({last.since} more from there since the last such line)"
            with self._database.session() as session:
                audit.note(session, "turned-away", who, text, address=address)
            if len(self._refusals) >= MOST_LOOKS:
                self._refusals.clear()
            self._refusals[who, address] = _Refusals(moment)

    def _at_lines(self, request: Request, where: str, narrowed: str, typed: str, older: Place | None) -> None:
        search = _Search(narrowed, typed, typed)
        if older is not None:
            page = _joined(str(search), f"older than {clock(older.at)}")
            self._note(request, f"looked at {where}: {page}")
        elif str(search):
            who, address = visitor(request), address_of(request)
            note = partial(self._note_search, who, address, where, search)
            self._once(request, (who, address, f"{where}: {search}"), note)
        else:
            self._note(request, f"looked at {where}")

    def _note(self, request: Request, text: str, study_uid: str = "") -> None:
        who, address = visitor(request), address_of(request)

        def note() -> None:
            with self._database.session() as session:
                audit.note(session, "viewed", who, text, address=address, study_uid=study_uid)

        self._once(request, (who, address, study_uid or text), note)

    def _note_search(self, who: str, address: str, where: str, search: _Search) -> None:
        moment, person = self._clock(), (who, address, where)
        before = self._typing.get(person)
        with self._database.session() as session:
            if before is not None and moment - before.at < SECONDS_OF_TYPING:
                typing = before.with_another(search, moment)
                if len(typing.text) <= LONGEST_LINE and audit.amend(session, typing.line, typing.text):
                    self._typing[person] = typing
                    return
            first = _Typing(0, where, (search,), moment)
            line = audit.note(session, "viewed", who, first.text, address=address)
        if len(self._typing) >= MOST_LOOKS:
            self._typing.clear()
        self._typing[person] = replace(first, line=line)

    def _once(self, request: Request, look: tuple[str, str, str], note: Callable[[], None]) -> None:
        if self._is_noted(request, look):  # which waits for nobody's note
            return
        with self._one_at_a_time:
            if self._is_noted(request, look):
                return
            note()
            if len(self._noted_at) >= MOST_LOOKS:
                self._noted_at.clear()
            self._noted_at[look] = self._clock()

    def _is_noted(self, request: Request, look: tuple[str, str, str]) -> bool:
        """An open page may show what was looked at for as long as it likes, and nothing else."""
        before = self._noted_at.get(look)
        if before is None:
            return False
        return keeps_itself_up_to_date(request.headers) or self._clock() - before < SECONDS_OF_A_LOOK


def _days(query: StudyQuery | AuditQuery, what: str = "") -> tuple[str, str]:
    """The first and the last day that a list is narrowed to, empty where it is not."""
    return (
        f"{what}from {query.since}" if query.since else "",
        f"{what}to {query.until}" if query.until else "",
    )


def _joined(*parts: str) -> str:
    return ", ".join(part for part in parts if part)
