"""When studies were made, in an order that holds however wrong their dates are."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta

_EARLIEST = date(1975, 1, 1)
"""Before the first CT scanners in hospitals; what claims to be older has a wrong date."""


@dataclass(frozen=True, order=True)
class StudyTime:
    """A place in the order of a patient's studies: by day, time of day, and UID where both are the same."""

    day: date
    time: str
    uid: str

    @classmethod
    def of(cls, study_date: str, study_time: str, uid: str, received: datetime) -> StudyTime:
        """A study without a date, or with one that cannot be, takes the place of its arrival."""
        day = valid_date(study_date, received)
        return cls(day or received.date(), study_time if day else f"{received:%H%M%S}", uid)


def valid_date(text: str, received: datetime) -> date | None:
    """The date of a study (PS3.5 6.2, DA), unless it is none, or lies before there were CT scanners, or
    after the study came in."""
    try:
        day = datetime.strptime(text, "%Y%m%d").date()
    except ValueError:
        return None
    return day if _EARLIEST <= day <= received.date() + timedelta(days=1) else None
