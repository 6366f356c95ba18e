"""The timeline: what happened to a study, in sentences without a patient's name."""

from __future__ import annotations

from typing import Literal

from sqlalchemy.orm import Session

from storage.database import now
from storage.tables import Event

Level = Literal["info", "warning", "error"]


def log_event(
    session: Session,
    stage: str,
    text: str,
    *,
    study_uid: str = "",
    revision: int | None = None,
    level: Level = "info",
) -> None:
    """Add one line to the timeline of a study, or of the node when ``study_uid`` is empty."""
    session.add(
        Event(at=now(), study_uid=study_uid, revision=revision, stage=stage, level=level, text=text[:2000])
    )


def count_of(number: int, noun: str) -> str:
    """Such as "1 image" or "2 images"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
