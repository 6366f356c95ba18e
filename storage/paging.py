"""Lists that are shown a page at a time, the newest line first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Select, literal, tuple_
from sqlalchemy.orm import InstrumentedAttribute

from storage.tables import UtcDateTime

Row = TypeVar("Row")
Query = TypeVar("Query", bound=Select[*tuple[Any, ...]])


@dataclass(frozen=True)
class Place:
    """Where a page of a list ended, by the moment and the key of its last line; the next one holds what is
    older."""

    at: datetime
    id: int


def page_of(
    query: Query,
    at: InstrumentedAttribute[datetime],
    id_: InstrumentedAttribute[int],
    older_than: Place | None,
    limit: int,
) -> Query:
    """The newest rows of ``query``, and one more than ``limit`` where there are more. Costs the same on every
    page, where an index has ``at``."""
    if older_than is not None:
        here = tuple_(literal(older_than.at, UtcDateTime()), literal(older_than.id))
        query = query.where(tuple_(at, id_) < here)
    return query.order_by(at.desc(), id_.desc()).limit(limit + 1)


def shown(rows: Sequence[Row], limit: int) -> tuple[Sequence[Row], Row | None]:
    """The rows of a page, and its last one where an older page follows."""
    return rows[:limit], rows[limit - 1] if len(rows) > limit else None
