"""What can go wrong on the way to a plan."""


class PlanError(RuntimeError):
    """A plan could not be built, proven or put into service; the message says why and what to do."""
