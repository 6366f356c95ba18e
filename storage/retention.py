"""What may be deleted: images of studies that are done with, and old records. Findings never are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from sqlalchemy import ColumnElement, CursorResult, Select, and_, delete, exists, func, or_, select
from sqlalchemy.orm import Session, aliased

from storage.database import now
from storage.deleted_images import note_deleted
from storage.events import count_of, log_event
from storage.tables import Delivery, Event, Instance, Patient, Refusal, Revision, Series, Study, Unanswered

BEING_READ = ("queued", "reading")
NOT_DONE = (*BEING_READ, "delivering")
IMAGES_AT_ONCE = 500  # that are deleted while everybody else waits for the database


@dataclass(frozen=True)
class Released:
    """Images of one study, whose rows are gone: their files, relative to the archive's root; and those that
    could not be deleted, and why not, whose rows are kept. ``rest``: the key after which there are more."""

    study_uid: str
    paths: tuple[str, ...]
    bytes: int
    stuck: Mapping[str, OSError]
    rest: int | None


def releasable(
    session: Session, before: datetime, limit: int, merged: Sequence[Sequence[str]] = ()
) -> list[str]:
    """Studies whose images may be deleted, with their last image before this moment, the oldest first.

    Left out are those still coming in, waiting, being read or delivered; failed ones, which a person may
    want to have read again; those to be compared once an archive is back; and those of a patient of whom
    another study is being read, for it may be compared with them. A patient is known by the ID, whoever
    issued it, and by those that it was ``merged`` with.
    """
    query = select(Study.uid).where(Study.last_image_at < before, *_done_with(session, merged))
    return list(session.scalars(query.order_by(Study.last_image_at).limit(limit)))


def release(
    session: Session,
    study_uid: str,
    why: str,
    merged: Sequence[Sequence[str]] = (),
    unlink: Callable[[Sequence[str]], Mapping[str, OSError]] = lambda _: {},
    *,
    after: int = 0,
    at_once: int = IMAGES_AT_ONCE,
) -> Released | None:
    """Forget images of a study, those ``after`` a key and ``at_once`` at most, if they may still be deleted.
    Before the session commits ``unlink`` deletes their files, and returns those that it could not: what is
    sent again meanwhile waits for that, and is new."""
    session.execute(select(Study.id).where(Study.uid == study_uid).with_for_update())
    wanted = (Study.uid == study_uid, *_done_with(session, merged))  # as it is once nobody else has the row
    study = session.scalar(select(Study).where(*wanted))
    if study is None:
        return None
    of_study = (
        Instance.series_pk.in_(select(Series.id).where(Series.study_pk == study.id)),
        Instance.id > after,
    )
    query = select(Instance.id, Instance.path, Instance.size).where(*of_study).order_by(Instance.id)
    found = session.execute(query.limit(at_once + 1)).all()
    rows = found[:at_once]
    stuck = unlink([row.path for row in rows])
    gone = [row for row in rows if row.path not in stuck]
    size = sum(row.size for row in gone)
    if gone or not rows:
        note_deleted(session, study)
        study.images_deleted_at = now()
    if gone:
        these = (*of_study, Instance.id <= rows[-1].id, ~Instance.path.in_(stuck))
        session.execute(delete(Instance).where(*these).execution_options(synchronize_session=False))
        images = count_of(len(gone), "image")
        text = f"Its {images} ({size / 1e6:,.1f} MB) were deleted: {why}. What was found is kept."
        log_event(session, "node", text, study_uid=study_uid)
    rest = rows[-1].id if len(found) > len(rows) else None
    return Released(study_uid, tuple(row.path for row in gone), size, stuck, rest)


def newest_image_at(session: Session) -> datetime | None:
    """When the last image came, of any study."""
    return session.scalar(select(func.max(Study.last_image_at)))


def kept_by_failure(session: Session) -> int:
    """How many failed studies keep their images from being deleted."""
    return session.scalar(select(func.count()).select_from(Study).where(_has_images(), _is_failed())) or 0


def forget_records(session: Session, before: datetime, at_once: int = 10_000) -> int:
    """Delete lines of timelines and of refusals that are older; returns how many, ``at_once`` of each at
    most, so that nobody waits long for the database."""
    return sum(_deleted(session, table, [table.at < before], at_once) for table in (Event, Refusal))


def _deleted(session: Session, table: Any, old: Sequence[ColumnElement[bool]], at_once: int) -> int:
    chosen = select(table.id).where(*old).limit(at_once)
    gone = delete(table).where(table.id.in_(chosen)).execution_options(synchronize_session=False)
    return int(cast("CursorResult[Any]", session.execute(gone)).rowcount)


def _being_read() -> Select[str]:
    """The patient IDs of studies that are being read."""
    query = select(Patient.patient_id).join(Study).join(Revision)
    return query.where(Revision.state.in_(BEING_READ), Patient.patient_id != "")


def _merged_with_one_being_read(session: Session, merged: Sequence[Sequence[str]]) -> set[str]:
    if not merged:
        return set()
    found = set(session.scalars(_being_read()))
    return set().union(*(group for group in merged if found & set(group)))


def _done_with(session: Session, merged: Sequence[Sequence[str]]) -> tuple[ColumnElement[bool], ...]:
    revision, delivery = aliased(Revision), aliased(Delivery)
    under_way = exists().where(revision.study_pk == Study.id, revision.state.in_(NOT_DONE))
    on_its_way = exists().where(
        delivery.revision_pk == revision.id,
        revision.study_pk == Study.id,
        or_(delivery.state == "waiting", delivery.commit_due.is_not(None)),
    )
    also = _merged_with_one_being_read(session, merged)
    same_patient = or_(Patient.patient_id.in_(_being_read()), Patient.patient_id.in_(also))
    patients_under_way = select(Patient.id).where(same_patient)
    return (
        _has_images(),
        Study.is_open.is_(False),
        Study.read_now.is_(False),
        or_(Study.fetched_until.is_(None), Study.fetched_until <= now()),
        ~under_way,
        ~on_its_way,
        ~_is_failed(),
        ~exists().where(Unanswered.study_pk == Study.id),
        Study.patient_pk.not_in(patients_under_way),
    )


def _has_images() -> ColumnElement[bool]:
    since_then = exists().where(Series.study_pk == Study.id, Instance.series_pk == Series.id)
    return or_(Study.images_deleted_at.is_(None), since_then)


def _is_failed() -> ColumnElement[bool]:
    newest, newer = aliased(Revision), aliased(Revision)
    later = exists().where(newer.study_pk == newest.study_pk, newer.number > newest.number)
    return exists().where(and_(newest.study_pk == Study.id, newest.state == "failed", ~later))
