"""Why a series was or was not read: written as a line of the timeline, and found again in it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

_WRITTEN = re.compile(r"series (\S+) (read|not read)(?: by (\S+))?: (.+)", re.DOTALL)


@dataclass(frozen=True)
class SeriesChoice:
    """``reader`` is empty where no reader came into question."""

    series_uid: str
    reader: str
    read: bool
    reason: str

    @property
    def text(self) -> str:
        """The line of the timeline, stage ``select``."""
        by = f" by {self.reader}" if self.reader else ""
        return f"series {self.series_uid} {self.outcome}{by}: {self.reason}"

    @property
    def outcome(self) -> str:
        return "read" if self.read else "not read"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """The choice a line tells of, None if it tells of something else."""
        match = _WRITTEN.fullmatch(text)
        if match is None:
            return None
        series_uid, outcome, reader, reason = match.groups()
        return cls(series_uid, reader or "", outcome == "read", reason)
