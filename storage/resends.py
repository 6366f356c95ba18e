"""Images that came again, the very same: a line on the timeline, and nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from storage.events import count_of
from storage.tables import Event

ONE_RESEND = timedelta(minutes=1)  # between two lines that are one


@dataclass(frozen=True)
class Resent:
    """``count`` images of a study that ``source`` sent though they were here, until ``at``."""

    at: datetime
    study_uid: str
    source: str
    count: int


@dataclass(frozen=True)
class Line:
    """What stands on a timeline, in the event ``event_id``: ``count`` images, until ``at``."""

    event_id: int
    at: datetime
    count: int


Lines = Mapping[tuple[str, str], Line]
"""The last line of each study and source."""


def note_resends(session: Session, resent: Sequence[Resent], lines: Lines) -> Lines:
    """Say on the timeline of each study what came again. What follows within a minute of a line among
    ``lines``, with nothing between, is added to it: some senders ask for an association for each image.

    Returns the lines that may still grow; they count once the session is committed.
    """
    counts: Counter[tuple[str, str]] = Counter()
    for one in resent:
        counts[one.study_uid, one.source] += one.count
    last_at = {(one.study_uid, one.source): one.at for one in resent}
    written = dict(lines)
    for (study_uid, source), count in counts.items():
        at = last_at[study_uid, source]
        before = lines.get((study_uid, source))
        if before is not None and at - before.at < ONE_RESEND and _is_last(session, study_uid, before):
            count += before.count
            event = session.get_one(Event, before.event_id)
        else:
            event = Event(study_uid=study_uid, stage="receive")
            session.add(event)
        verb = "was" if count == 1 else "were"
        event.at, event.text = (
            at,
            f"{count_of(count, 'image')} came again from {source} and {verb} already here.",
        )
        session.flush()
        written[study_uid, source] = Line(event.id, at, count)
    newest = max((line.at for line in written.values()), default=None)
    return {
        key: line for key, line in written.items() if newest is not None and newest - line.at < ONE_RESEND
    }


def _is_last(session: Session, study_uid: str, line: Line) -> bool:
    return session.scalar(select(func.max(Event.id)).where(Event.study_uid == study_uid)) == line.event_id
