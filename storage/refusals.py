"""What was not accepted becomes rows, and is told on the timeline of the study it names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage.columns import clip, holds
from storage.events import count_of
from storage.tables import Event, Refusal, Study

NO_STATUS = 0  # of the refusal of a connection, or of an image that was acknowledged and set aside after


@dataclass(frozen=True)
class Refused:
    """An object, or a connection, that was not accepted. ``status`` is the DICOM status that was answered, or
    ``NO_STATUS``; ``path`` where the object lies in quarantine or set aside, relative to the archive's root,
    if it does."""

    at: datetime
    caller: str
    address: str
    status: int
    reason: str
    study_uid: str = ""
    uid: str = ""
    sop_class: str = ""
    path: str = ""


def note_refusals(session: Session, refused: Sequence[Refused]) -> None:
    """Enter what was refused, and say so on the timeline of each study that is known."""
    session.add_all(
        Refusal(
            at=one.at,
            caller=clip(Refusal.caller, one.caller),
            address=clip(Refusal.address, one.address),
            study_uid=clip(Refusal.study_uid, one.study_uid),
            uid=clip(Refusal.uid, one.uid),
            sop_class=clip(Refusal.sop_class, one.sop_class),
            status=one.status,
            reason=clip(Refusal.reason, one.reason),
            path=one.path,
        )
        for one in refused
    )
    by_study: dict[str, list[Refused]] = {}
    for one in refused:
        if holds(Study.uid, one.study_uid):
            by_study.setdefault(one.study_uid, []).append(one)
    for uid in session.scalars(select(Study.uid).where(Study.uid.in_(by_study.keys()))):
        of_study = by_study[uid]
        text = f"Refused {count_of(len(of_study), 'object')} from {of_study[0].caller}: {of_study[0].reason}."
        session.add(
            Event(
                at=of_study[-1].at,
                study_uid=uid,
                revision=None,
                stage="receive",
                level="warning",
                text=clip(Event.text, text),
            )
        )
