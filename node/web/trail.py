"""Notes in the audit trail what was looked at, and reads the trail out."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Annotated
from urllib.parse import urlencode

from fastapi import HTTPException, Query, Request

from node.web.queries import day, midnight
from storage import audit
from storage.audit import KINDS, AuditFilter, AuditKind
from storage.database import Database

SECONDS_OF_A_LOOK = 600.0  # in which looking again is the same look
MOST_LOOKS = 10_000
NOBODY_ASKED = "an administrator"


class Looks:
    """Whose study was looked at by whom: one line for each look, not for each click."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._at: dict[tuple[str, str, str], float] = {}

    def note(self, request: Request, study_uid: str = "") -> None:
        """``study_uid``: none for the list of studies. A page that keeps itself up to date is no look."""
        who, address = visitor(request), address_of(request)
        refreshes = "hx-request" in request.headers and not request.url.path.startswith("/api/")
        if refreshes or not self._is_new((who, address, study_uid)):
            return
        text = "looked at the study" if study_uid else "looked at the list of studies"
        with self._database.session() as session:
            audit.note(session, "viewed", who, text, address=address, study_uid=study_uid)

    def _is_new(self, look: tuple[str, str, str]) -> bool:
        moment = time.monotonic()
        with self._lock:
            if moment - self._at.get(look, -SECONDS_OF_A_LOOK) < SECONDS_OF_A_LOOK:
                return False
            if len(self._at) >= MOST_LOOKS:
                self._at.clear()
            self._at[look] = moment
            return True


@dataclass(frozen=True)
class AuditQuery:
    """What of the trail is asked for; days are of the node's own time zone, both included."""

    kind: AuditKind | None
    q: str
    since: date | None
    until: date | None
    limit: int

    @property
    def filter(self) -> AuditFilter:
        return AuditFilter(
            self.kind,
            self.q,
            midnight(self.since) if self.since else None,
            midnight(self.until + timedelta(days=1)) if self.until else None,
        )

    def address(self, kind: str) -> str:
        """The page's own address for another kind."""
        parts = {"kind": kind, "q": self.q, "from": self.since or "", "to": self.until or ""}
        given = {name: value for name, value in parts.items() if value}
        return "/audit" + (f"?{urlencode(given)}" if given else "")


def audit_query(
    kind: Annotated[str, Query(description=f"one of {', '.join(KINDS)}")] = "",
    q: Annotated[str, Query(max_length=200, description="part of who, address, study UID or text")] = "",
    since: Annotated[str, Query(alias="from", description="first day, 2026-01-31")] = "",
    until: Annotated[str, Query(alias="to", description="last day, 2026-01-31")] = "",
    limit: Annotated[int, Query(ge=1, le=5000, description="lines, the newest first")] = 200,
) -> AuditQuery:
    """
    Raises:
        HTTPException: 422 with a sentence for an unknown kind or a bad day.
    """
    named = next((known for known in KINDS if known == kind), None)
    if kind and named is None:
        raise HTTPException(422, f"There is no kind {kind!r}. There are: {', '.join(KINDS)}.")
    return AuditQuery(named, q.strip(), day(since), day(until), limit)


def visitor(request: Request) -> str:
    """The person asking, as timelines and the audit trail name them."""
    login = getattr(request.state, "login", None)
    return login.name if login is not None else NOBODY_ASKED


def address_of(request: Request) -> str:
    return request.client.host if request.client else ""
