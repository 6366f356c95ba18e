"""What errors say, to people."""

from __future__ import annotations


def said(error: BaseException) -> str:
    """The first line of it; of a database's error its own words, without the statement and its values, which
    may be a patient's."""
    words = str(getattr(error, "orig", None) or error).strip()
    return words.partition("\n")[0] or type(error).__name__
