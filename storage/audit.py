"""The audit trail: who sent, who saw, who did what, and who was not let in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, cast, get_args

from sqlalchemy import CursorResult, Select, delete, or_, select, update
from sqlalchemy.orm import Session

from storage.columns import clip
from storage.database import now
from storage.paging import Place, page_of, shown
from storage.tables import AuditLine

AuditKind = Literal[
    "received", "delivered", "turned-away", "viewed", "action", "login", "login-refused", "logout", "account"
]
KINDS: tuple[AuditKind, ...] = get_args(AuditKind)
ROWS_AT_ONCE = 1000


@dataclass(frozen=True)
class AuditEntry:
    """``who`` is an account, "somebody at" an address where nobody has to log in, an AE title with its
    certificate's subject, or a user of this machine with the command given; ``address`` is where they are."""

    at: datetime
    kind: AuditKind
    who: str
    address: str
    text: str
    study_uid: str = ""


@dataclass(frozen=True)
class AuditFilter:
    """``text`` is part of who, address, study UID or text; ``before`` is excluded."""

    kind: AuditKind | None = None
    text: str = ""
    since: datetime | None = None
    before: datetime | None = None


@dataclass(frozen=True)
class AuditPage:
    """A page of the trail, newest first; ``older`` is None on the last."""

    entries: tuple[AuditEntry, ...]
    older: Place | None


def note(
    session: Session, kind: AuditKind, who: str, text: str, *, address: str = "", study_uid: str = ""
) -> int:
    """Write one line of the trail, dated now; returns its number."""
    line = _line(AuditEntry(now(), kind, who, address, text, study_uid))
    session.add(line)
    session.flush()
    return line.id


def amend(session: Session, line: int, text: str) -> bool:
    """Let a line that was just written tell the whole of what it told the beginning of; False where it is no
    longer there."""
    query = update(AuditLine).where(AuditLine.id == line).values(text=clip(AuditLine.text, text))
    return cast("CursorResult[tuple[()]]", session.execute(query)).rowcount == 1


def enter(session: Session, entries: Sequence[AuditEntry]) -> None:
    session.add_all(_line(one) for one in entries)


def newest(session: Session, wanted: AuditFilter, limit: int = 200) -> tuple[AuditEntry, ...]:
    """The newest entries first."""
    return audit_page(session, wanted, None, limit).entries


def audit_page(session: Session, wanted: AuditFilter, older_than: Place | None, limit: int) -> AuditPage:
    query = _narrowed(select(AuditLine), wanted)
    query = page_of(query, AuditLine.at, AuditLine.id, older_than, limit)
    lines, last = shown(session.scalars(query).all(), limit)
    return AuditPage(tuple(_entry(line) for line in lines), Place(last.at, last.id) if last else None)


def oldest_first(session: Session, wanted: AuditFilter) -> Iterator[AuditEntry]:
    """Every entry, in the order it was written, however many there are."""
    query = _narrowed(select(AuditLine).order_by(AuditLine.id), wanted)
    for line in session.scalars(query.execution_options(yield_per=ROWS_AT_ONCE)):
        yield _entry(line)


def prune(session: Session, before: datetime) -> int:
    """Forget what is older than ``before``; returns how many lines that were."""
    result = session.execute(delete(AuditLine).where(AuditLine.at < before))
    return cast("CursorResult[tuple[()]]", result).rowcount


def _narrowed(query: Select[AuditLine], wanted: AuditFilter) -> Select[AuditLine]:
    if wanted.kind is not None:
        query = query.where(AuditLine.kind == wanted.kind)
    if wanted.text:
        columns = (AuditLine.who, AuditLine.address, AuditLine.study_uid, AuditLine.text)
        query = query.where(or_(*(column.icontains(wanted.text, autoescape=True) for column in columns)))
    if wanted.since is not None:
        query = query.where(AuditLine.at >= wanted.since)
    if wanted.before is not None:
        query = query.where(AuditLine.at < wanted.before)
    return query


def _entry(line: AuditLine) -> AuditEntry:
    kind = cast(AuditKind, line.kind)
    return AuditEntry(line.at, kind, line.who, line.address, line.text, line.study_uid)


def _line(entry: AuditEntry) -> AuditLine:
    return AuditLine(
        at=entry.at,
        kind=entry.kind,
        who=clip(AuditLine.who, entry.who),
        address=clip(AuditLine.address, entry.address),
        study_uid=clip(AuditLine.study_uid, entry.study_uid),
        text=clip(AuditLine.text, entry.text),
    )
