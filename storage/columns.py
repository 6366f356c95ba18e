"""What of a text that somebody else wrote a column can hold."""

from __future__ import annotations

from sqlalchemy import String
from sqlalchemy.orm import InstrumentedAttribute


def clip(column: InstrumentedAttribute[str], text: str) -> str:
    """``text`` as the column can hold it: not too long, and neither NUL, which PostgreSQL refuses, nor half
    of a surrogate pair, which no database takes."""
    assert isinstance(column.type, String)
    return text.encode("utf-8", "replace").decode().replace("\0", "")[: column.type.length]


def holds(column: InstrumentedAttribute[str], text: str) -> bool:
    """Whether the column can hold it as it is. What it cannot is in no row, and may not be asked for:
    PostgreSQL refuses the question."""
    return text == clip(column, text)
