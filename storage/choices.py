"""Why a series was or was not read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

from sqlalchemy.orm import Session

from storage.readings import find_revision
from storage.tables import Revision


@dataclass(frozen=True)
class SeriesChoice:
    """``reader`` is empty where no reader came into question."""

    series_uid: str
    reader: str
    read: bool
    reason: str

    @property
    def outcome(self) -> str:
        return "read" if self.read else "not read"


def keep_choices(session: Session, study_uid: str, revision: int, choices: Iterable[SeriesChoice]) -> None:
    """Remember what was chosen for a revision, in place of what was chosen before."""
    find_revision(session, study_uid, revision).choices = [asdict(choice) for choice in choices]


def choices_of(revision: Revision) -> list[SeriesChoice]:
    """What was chosen; a series that was read without a word about it is told by its reading."""
    told = [SeriesChoice(**choice) for choice in revision.choices]
    known = {(choice.series_uid, choice.reader) for choice in told}
    untold = [r for r in revision.readings if (r.series_uid, r.reader) not in known]
    return [*told, *(SeriesChoice(r.series_uid, r.reader, True, "") for r in untold)]
