"""What can be wrong with data to learn from or to score, and with what was asked for."""

from __future__ import annotations


class BrokenDataError(ValueError):
    """Data that is not in the layout it should be in; the message names the file."""


class TaskError(ValueError):
    """A task, layout, split or option that does not exist; the message says what does."""
