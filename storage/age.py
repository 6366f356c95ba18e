"""Which rows are old, though the clock may have been behind when some were written."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import InstrumentedAttribute, aliased

from storage.database import now


def entered_before(
    key: InstrumentedAttribute[int], dated: InstrumentedAttribute[datetime], moment: datetime
) -> ColumnElement[bool]:
    """Whether a row was entered before each that is dated since a moment: one that was entered after is no
    older, whatever the clock showed then. Dates that are yet to come tell nothing.

    Rows are looked through in the order of their keys, of which those that are old come first.
    """
    other: Any = aliased(key.class_)
    at = getattr(other, dated.key)
    since = func.coalesce(at, at).between(moment, now())  # by no index, which would lead through all since
    identity = getattr(other, key.key)
    first = select(identity).where(since).order_by(identity).limit(1).scalar_subquery()
    return key < func.coalesce(first, key + 1)
