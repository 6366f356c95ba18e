"""The errors of the reading itself; every message is one sentence a person can act on."""


class UnreadableSeriesError(ValueError):
    """A series that cannot be assembled soundly; the message says why, in one sentence."""


class NotInHounsfieldError(UnreadableSeriesError):
    """A CT of other values than HU; ``unit`` is what its header calls them."""

    def __init__(self, unit: str) -> None:
        super().__init__(f"The values of this CT are in {unit}, not in Hounsfield units; send the CT in HU.")
        self.unit = unit
