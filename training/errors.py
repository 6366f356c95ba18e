"""What can be wrong with data to learn from or to score, and with what was asked for."""

from __future__ import annotations

from collections.abc import Collection


class BrokenDataError(ValueError):
    """Data that is not in the layout it should be in; the message names the file."""


class TaskError(ValueError):
    """A task, layout, split or option that does not exist; the message says what does."""


def refuse_unknown(what: str, value: str, known: Collection[str]) -> None:
    """
    Raises:
        TaskError: ``value`` is none of the ``known``.
    """
    if value not in known:
        there = f"there is: {', '.join(known)}" if known else "there are none: leave it out"
        raise TaskError(f"{what} {value!r} is not known; {there}")
