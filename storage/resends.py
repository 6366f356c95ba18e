"""Images that came again, the very same: a line on the timeline, and nothing else."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage.events import count_of
from storage.tables import Event

ONE_RESEND = timedelta(minutes=1)  # between two lines that are one
_LINE = re.compile(r"(?P<count>\d+) images? came again from (?P<source>.*) and (?:was|were) already here\.")


@dataclass(frozen=True)
class Resent:
    """``count`` images of a study that ``source`` sent though they were here, until ``at``."""

    at: datetime
    study_uid: str
    source: str
    count: int


def note_resends(session: Session, resent: Sequence[Resent]) -> None:
    """Say on the timeline of each study what came again. What follows within a minute of such a line, with
    nothing between, is added to it: some senders ask for an association for each image."""
    counts: Counter[tuple[str, str]] = Counter()
    for one in resent:
        counts[one.study_uid, one.source] += one.count
    last_at = {(one.study_uid, one.source): one.at for one in resent}
    for (study_uid, source), count in counts.items():
        at = last_at[study_uid, source]
        newest = select(Event).where(Event.study_uid == study_uid).order_by(Event.id.desc()).limit(1)
        before = session.scalars(newest).one_or_none()
        if before is not None and at - before.at < ONE_RESEND and (told := _told(before, source)):
            before.at, before.text = at, _line(told + count, source)
        else:
            session.add(Event(at=at, study_uid=study_uid, stage="receive", text=_line(count, source)))
        session.flush()


def _line(count: int, source: str) -> str:
    verb = "was" if count == 1 else "were"
    return f"{count_of(count, 'image')} came again from {source} and {verb} already here."


def _told(event: Event, source: str) -> int:
    """How many images from ``source`` a line tells of; 0 where it tells of something else."""
    line = _LINE.fullmatch(event.text)
    return int(line["count"]) if line and line["source"] == source else 0
