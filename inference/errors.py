"""The errors of the reading itself; every message is one sentence a person can act on."""


class UnreadableSeriesError(ValueError):
    """A series that cannot be assembled soundly; the message says why, in one sentence."""
