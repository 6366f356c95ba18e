"""Priors that archives are asked for: the studies that are about to come in, and who has still to answer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from storage.columns import clip
from storage.database import has_come, now
from storage.priors import PatientIdentity
from storage.tables import Patient, Study, Unanswered

LONGEST_PAUSE = timedelta(hours=1)
LONGEST_PAUSE_AFTER_AN_ERROR = timedelta(days=1)
MOST_AT_ONCE = 500


@dataclass(frozen=True)
class Due:
    """A study whose priors an archive has still to be asked for."""

    study_uid: str
    archive: str
    attempts: int
    first_at: datetime


def expect(
    session: Session,
    study_uid: str,
    patient: PatientIdentity,
    date: str,
    time: str,
    description: str,
    until: datetime,
) -> None:
    """Announce that images of a prior are about to come in; a study that somebody sent stays one, unless
    its images were deleted since."""
    study = session.scalar(select(Study).where(Study.uid == study_uid))
    if study is not None:
        if study.fetched_until is not None or study.images_deleted_at is not None:
            study.fetched_until = until
        return
    patient_id, issuer = clip(Patient.patient_id, patient.patient_id), clip(Patient.issuer, patient.issuer)
    owner = session.scalar(select(Patient).where(Patient.patient_id == patient_id, Patient.issuer == issuer))
    if owner is None:
        birth_date = clip(Patient.birth_date, patient.birth_date)
        owner = Patient(patient_id=patient_id, issuer=issuer, birth_date=birth_date)
        session.add(owner)
        session.flush()
    at = now()
    session.add(
        Study(
            uid=study_uid,
            patient_pk=owner.id,
            study_date=clip(Study.study_date, date),
            study_time=clip(Study.study_time, time),
            birth_date=clip(Study.birth_date, patient.birth_date),
            description=clip(Study.description, description),
            first_image_at=at,
            last_image_at=at,
            is_open=False,
            read_now=False,
            fetched_until=until,
        )
    )


def arrived(session: Session, study_uid: str) -> None:
    """The fetch of a prior is over: what comes from now on was sent."""
    study = session.scalar(select(Study).where(Study.uid == study_uid))
    if study is not None and study.fetched_until is not None:
        study.fetched_until = min(study.fetched_until, now())


def note_unanswered(
    session: Session,
    study_uid: str,
    archive: str,
    reason: str,
    pause: timedelta,
    longest: timedelta = LONGEST_PAUSE,
) -> None:
    """Remember to ask ``archive`` again, after ``pause``, doubled with each attempt, ``longest`` at most."""
    study_pk = session.scalars(select(Study.id).where(Study.uid == study_uid)).one()
    row = session.scalar(
        select(Unanswered).where(Unanswered.study_pk == study_pk, Unanswered.archive == archive)
    )
    if row is None:
        row = Unanswered(study_pk=study_pk, archive=archive, first_at=now(), attempts=0)
        session.add(row)
    row.next_at = now() + min(pause * 2 ** min(row.attempts, 20), longest)
    row.attempts += 1
    row.last_error = clip(Unanswered.last_error, reason)


def ask_later(session: Session, study_uid: str, archive: str, pause: timedelta) -> None:
    """Ask ``archive`` after ``pause``, an hour at most, which counts as no attempt."""
    for row in session.scalars(_unanswered(study_uid, archive)):
        row.next_at = now() + min(pause, LONGEST_PAUSE)


def note_answered(session: Session, study_uid: str, archive: str) -> None:
    for row in session.scalars(_unanswered(study_uid, archive)):
        session.delete(row)


def _unanswered(study_uid: str, archive: str) -> Select[Unanswered]:
    of_study = select(Unanswered).join(Study, Study.id == Unanswered.study_pk)
    return of_study.where(Study.uid == study_uid, Unanswered.archive == archive)


def due_again(session: Session) -> list[Due]:
    """The studies whose priors should be asked for again now, oldest first."""
    rows = session.execute(
        select(Unanswered, Study.uid)
        .join(Study, Study.id == Unanswered.study_pk)
        .where(has_come(Unanswered.next_at, now(), LONGEST_PAUSE_AFTER_AN_ERROR))
        .order_by(Unanswered.next_at)
        .limit(MOST_AT_ONCE)
    )
    return [Due(uid, row.archive, row.attempts, row.first_at) for row, uid in rows]
