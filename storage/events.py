"""The timeline: what happened to a study, in sentences without a patient's name."""

from __future__ import annotations

import logging
from typing import Literal

from sqlalchemy import Connection, event
from sqlalchemy.orm import Mapper, Session

from storage.columns import clip
from storage.database import now
from storage.tables import Event

log = logging.getLogger(__name__)
Level = Literal["info", "warning", "error"]
_LEVELS: dict[str, int] = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


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
    text = clip(Event.text, text)
    session.add(Event(at=now(), study_uid=study_uid, revision=revision, stage=stage, level=level, text=text))


def events_into_log() -> None:
    """Whatever comes onto a timeline is logged, too, from now on."""
    if not event.contains(Event, "after_insert", _into_log):
        event.listen(Event, "after_insert", _into_log)


def _into_log(mapper: Mapper[Event], connection: Connection, told: Event) -> None:
    about = f"study {told.study_uid}" if told.study_uid else "the node"
    log.log(_LEVELS[told.level or "info"], "%s, %s: %s", about, told.stage, told.text)


def count_of(number: int, noun: str, several: str = "") -> str:
    """Such as "1 image" or "2 images"."""
    return f"{number} {noun}" if number == 1 else f"{number} {several or noun + 's'}"
