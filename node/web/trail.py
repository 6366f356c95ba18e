"""What is asked of the audit trail, in the address of its page or of the API; and who asks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Annotated

from fastapi import HTTPException, Query, Request

from node.web.queries import LONG_PAGE, Older, address, as_text, day, from_text, midnight
from node.wire.listening import plain_address
from storage.audit import KINDS, AuditFilter, AuditKind
from storage.paging import Place


@dataclass(frozen=True)
class AuditQuery:
    """What of the trail is asked for; days are of the node's own time zone, both included."""

    kind: AuditKind | None
    q: str
    since: date | None
    until: date | None
    older: Place | None
    limit: int

    @property
    def filter(self) -> AuditFilter:
        return AuditFilter(
            self.kind,
            self.q,
            midnight(self.since) if self.since else None,
            midnight(self.until + timedelta(days=1)) if self.until else None,
        )

    def address(self, **changed: str) -> str:
        """The page's own address with this query, ``changed`` in some of its parts (empty: left out)."""
        parts = {
            "kind": self.kind or "",
            "q": self.q,
            "from": self.since.isoformat() if self.since else "",
            "to": self.until.isoformat() if self.until else "",
            "older": as_text(self.older),
            "limit": str(self.limit) if self.limit != LONG_PAGE else "",
        } | changed
        return address("/audit", parts)


def audit_query(
    kind: Annotated[str, Query(description=f"one of {', '.join(KINDS)}")] = "",
    q: Annotated[str, Query(max_length=200, description="part of who, address, study UID or text")] = "",
    since: Annotated[
        str, Query(alias="from", description="first day, 2026-01-31, as the node's clock has it")
    ] = "",
    until: Annotated[str, Query(alias="to", description="last day")] = "",
    older: Older = "",
    limit: Annotated[int, Query(ge=1, le=5000, description="lines on a page")] = LONG_PAGE,
) -> AuditQuery:
    """
    Raises:
        HTTPException: 422 with a sentence for an unknown kind, a bad day or a bad place.
    """
    named = next((known for known in KINDS if known == kind), None)
    if kind and named is None:
        raise HTTPException(422, f"There is no kind {kind!r}. There are: {', '.join(KINDS)}.")
    return AuditQuery(named, q.strip(), day(since), day(until), from_text(older), limit)


def visitor(request: Request) -> str:
    """Who asks, as timelines and the audit trail name them: by login, or by address where there is none."""
    login = getattr(request.state, "login", None)
    if login is not None:
        return str(login.name)
    return f"somebody at {address_of(request) or 'an unknown address'}"


def address_of(request: Request) -> str:
    """Where it comes from, as a believed proxy says where one is between; empty where nobody says."""
    return plain_address(request.client.host) if request.client else ""
