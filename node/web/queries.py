"""What may be asked of the list of studies, in the address of a page or of the API alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated
from urllib.parse import urlencode

from fastapi import HTTPException, Query

from storage.overview import STATES, StudyFilter, StudyState
from storage.paging import Place

PAGE = 50  # studies
LONG_PAGE = 200  # lines of what is one line each
LARGEST_KEY = (1 << 31) - 1  # of a row, in every database
NO_PAGE = "This page of the list does not exist. Start from the newest."


@dataclass(frozen=True)
class StudyQuery:
    """``since`` and ``until`` are days of the node's own time zone, both included."""

    state: StudyState | None = None
    q: str = ""
    since: date | None = None
    until: date | None = None
    older: Place | None = None
    limit: int = PAGE

    @property
    def filter(self) -> StudyFilter:
        return StudyFilter(
            state=self.state,
            text=self.q,
            received_from=midnight(self.since) if self.since else None,
            received_before=midnight(self.until + timedelta(days=1)) if self.until else None,
        )

    @property
    def is_narrowed(self) -> bool:
        return bool(self.state or self.q or self.since or self.until)

    def address(self, **changed: str) -> str:
        """The list's own address with this query, ``changed`` in some of its parts (empty: left out)."""
        parts = {
            "state": self.state or "",
            "q": self.q,
            "from": self.since.isoformat() if self.since else "",
            "to": self.until.isoformat() if self.until else "",
            "older": as_text(self.older),
            "limit": str(self.limit) if self.limit != PAGE else "",
        } | changed
        return address("/studies", parts)


@dataclass(frozen=True)
class RefusalQuery:
    older: Place | None = None
    limit: int = LONG_PAGE

    def address(self, **changed: str) -> str:
        """As of ``StudyQuery``."""
        limit = str(self.limit) if self.limit != LONG_PAGE else ""
        return address("/refusals", {"older": as_text(self.older), "limit": limit} | changed)


Older = Annotated[str, Query(description="what the page before gave as older")]


def study_query(
    state: Annotated[str, Query(description=f"one of {', '.join(STATES)}")] = "",
    q: Annotated[
        str,
        Query(max_length=200, description="part of a patient ID, accession, description, source, study UID"),
    ] = "",
    since: Annotated[
        str, Query(alias="from", description="first day, 2026-01-31, as the node's clock has it")
    ] = "",
    until: Annotated[str, Query(alias="to", description="last day")] = "",
    older: Older = "",
    limit: Annotated[int, Query(ge=1, le=500, description="studies on a page")] = PAGE,
) -> StudyQuery:
    """
    Raises:
        HTTPException: 422 with a sentence for an unknown state, a bad day or a bad place.
    """
    named = next((known for known in STATES if known == state), None)
    if state and named is None:
        raise HTTPException(422, f"There is no state {state!r}. There are: {', '.join(STATES)}.")
    return StudyQuery(named, q.strip(), day(since), day(until), from_text(older), limit)


def refusal_query(
    older: Older = "",
    limit: Annotated[int, Query(ge=1, le=500, description="lines on a page")] = LONG_PAGE,
) -> RefusalQuery:
    """
    Raises:
        HTTPException: 422 with a sentence for a bad place.
    """
    return RefusalQuery(from_text(older), limit)


def address(path: str, parts: Mapping[str, str]) -> str:
    given = {name: value for name, value in parts.items() if value}
    return path + (f"?{urlencode(given)}" if given else "")


def as_text(place: Place | None) -> str:
    return f"{place.at.isoformat()}~{place.id}" if place else ""


def from_text(text: str) -> Place | None:
    if not text:
        return None
    at, _, key = text.partition("~")
    try:
        place = Place(datetime.fromisoformat(at).astimezone(UTC), int(key))
    except (ValueError, OverflowError) as error:
        raise HTTPException(422, NO_PAGE) from error
    if not (_may_be(place.at) and 0 <= place.id <= LARGEST_KEY):
        raise HTTPException(422, NO_PAGE)
    return place


def day(text: str) -> date | None:
    if not text:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise HTTPException(422, f"{text!r} is no day. Write it as 2026-01-31.") from error
    if not _may_be(day):
        raise HTTPException(422, f"No study came in on {day}.")
    return day


def _may_be(day: date) -> bool:
    """Whether a study can have come in then: far from where the calendar ends, in every time zone."""
    return 1970 <= day.year <= 2999


def midnight(day: date) -> datetime:
    return datetime.combine(day, time.min).astimezone()
