"""A quiet study becomes a revision, to be read; or one that is not, where a part of it was deleted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, not_, or_, select, update
from sqlalchemy.orm import Session

from storage.deleted_images import still_missing, was_read
from storage.events import count_of
from storage.own_results import is_own_result
from storage.tables import Event, Instance, Revision, Series, Study


@dataclass(frozen=True)
class ClosedStudy:
    study_uid: str
    revision_number: int


@dataclass(frozen=True)
class OpenStudy:
    """A study that waits to be closed. ``read_now``: a person will not wait for its quiet period."""

    uid: str
    source: str
    last_image_at: datetime
    read_now: bool


def open_studies(session: Session) -> list[OpenStudy]:
    """The studies that wait to be closed; asks without making anybody wait."""
    waiting = select(Study).where(or_(Study.is_open, Study.read_now))
    return [_open_study(study) for study in session.scalars(waiting)]


def close_quiet(session: Session, now: datetime, is_quiet: Callable[[OpenStudy], bool]) -> list[ClosedStudy]:
    """Close every open study that has been quiet for long enough, and every one that a person asked to have
    read now. Only a study with new images, or with ``read_now``, gets a revision: results of this node's that
    came back are none. It is skipped, and not returned, while images that were read before are deleted."""
    waiting = (
        select(Study)
        .where(or_(Study.is_open, Study.read_now))
        .order_by(Study.last_image_at)
        .with_for_update(skip_locked=True)
    )
    closed = []
    for study in session.scalars(waiting):
        if study.read_now or is_quiet(_open_study(study)):
            revision = _close(session, study, now)
            if revision is not None:
                closed.append(ClosedStudy(study.uid, revision))
    return closed


def _open_study(study: Study) -> OpenStudy:
    return OpenStudy(study.uid, study.source, study.last_image_at, study.read_now)


def _close(session: Session, study: Study, now: datetime) -> int | None:
    asked, compare_again = study.read_now, study.compare_again
    study.is_open = study.read_now = study.compare_again = False
    of_study = Instance.series_pk.in_(select(Series.id).where(Series.study_pk == study.id))
    total, new, series = session.execute(
        select(
            func.count(Instance.id),
            func.count(Instance.id).filter(Instance.revision.is_(None)),
            func.count(Instance.series_pk.distinct()),
        )
        .join(Instance.series)
        .where(of_study, not_(is_own_result()))
    ).one()
    if not total or not (new or asked):
        return None
    last = session.scalar(select(func.max(Revision.number)).where(Revision.study_pk == study.id)) or 0
    number = last + 1
    session.execute(
        update(Instance)
        .where(of_study, Instance.revision.is_(None))
        .values(revision=number)
        .execution_options(synchronize_session=False)
    )
    session.execute(
        update(Revision)
        .where(Revision.study_pk == study.id, Revision.state == "queued")
        .values(
            state="superseded",
            finished_at=now,
            reason=f"Revision {number} of the study came before it was read.",
        )
    )
    revision = Revision(
        study_pk=study.id,
        number=number,
        state="queued",
        image_count=total,
        closed_at=now,
        compares_again=compare_again and not new,
    )
    session.add(revision)
    again = "now" if new else "again"
    why = f"to be read {again}" if asked else "after its quiet period"
    text = f"Closed {why}: {count_of(total, 'image')} in {series} series, {new} of them new."
    session.add(Event(at=now, study_uid=study.uid, revision=number, stage="receive", text=text))
    if study.images_deleted_at is not None:
        _skip_a_part(session, study, revision, now)
        return None
    return int(number)


def _skip_a_part(session: Session, study: Study, revision: Revision, now: datetime) -> None:
    missing = count_of(still_missing(session, study), "image")
    earlier = " after an earlier reading, which still stands" if was_read(session, study) else ""
    revision.state, revision.stage, revision.finished_at = "skipped", "receive", now
    revision.reason = (
        f"Not read: {missing} that belong to it were deleted{earlier}. To have it read, send the "
        "whole study again, or press “Read again” to read what is there."
    )
    event = Event(
        at=now,
        study_uid=study.uid,
        revision=revision.number,
        stage="receive",
        level="warning",
        text=revision.reason,
    )
    session.add(event)
