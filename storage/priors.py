"""The earlier and later studies of a patient: what is known of them, what was read, how lesions went on.

Every look-up starts from a patient or a tracking UID and costs what that one has, however much else is
remembered.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select, true
from sqlalchemy.orm import Session, selectinload

from inference.findings import Finding
from storage.database import now
from storage.readings import StoredReading, save_reading, stored
from storage.tables import Instance, Patient, ReadingRow, Revision, Series, Study

MOST_STUDIES = 500  # of one patient that are looked at, the newest first
RESULT_CLASSES = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.88.34")  # SEG, Comprehensive 3D SR


@dataclass(frozen=True)
class PatientIdentity:
    """Who was studied. ``issuer`` says whose the ID is; both may be empty."""

    patient_id: str
    issuer: str = ""
    birth_date: str = ""


@dataclass(frozen=True)
class KnownStudy:
    """A study as remembered; ``date`` and ``time`` as the images say, valid or not.
    ``received``: when its first image came in. ``fetched``: nobody sent it, it was asked for as a prior.
    ``has_images``: they were not deleted."""

    uid: str
    date: str
    time: str
    received: datetime
    birth_date: str = ""
    fetched: bool = False
    has_images: bool = True


def study_and_patient(session: Session, study_uid: str) -> tuple[KnownStudy, PatientIdentity]:
    """
    Raises:
        LookupError: the study never came in.
    """
    row = session.execute(select(Study, Patient).join(Study.patient).where(Study.uid == study_uid)).first()
    if row is None:
        raise LookupError(f"No study {study_uid} has come in.")
    study, patient = row
    issuer = patient.issuer if patient.patient_id else ""
    return _known(study), PatientIdentity(patient.patient_id, issuer, study.birth_date)


def known_issuers(session: Session, patient_ids: Collection[str]) -> set[str]:
    """Who has given out one of the IDs, as far as studies that came in tell; "" where one names nobody."""
    return set(
        session.scalars(select(Patient.issuer).where(Patient.patient_id.in_(filter(None, patient_ids))))
    )


def issuers_of_one(issuer: str, known: Iterable[str]) -> frozenset[str]:
    """Under which issuers an ID is taken for that of a patient whom ``issuer`` ("" for none) gave it;
    ``known``: all who gave it out, here and in archives.

    Two issuers are two patients (Issuer of Patient ID, PS3.3 10.14). A study that names none is taken for
    the patient's as long as there is but one issuer it can be of: a scanner or an archive leaves out what
    another writes. Once two have given out the same ID it may be of either, and comparing it with one would
    mix patients: then those that name an issuer go with it alone, and those that name none, which come from
    the one house that needs no issuer, with each other.
    """
    named = {issuer, *known} - {""}
    return frozenset({issuer}) if len(named) > 1 else frozenset({*named, ""})


def studies_of(
    session: Session,
    patient_ids: Collection[str],
    issuers: Collection[str],
    modalities: Collection[str] = (),
) -> list[KnownStudy]:
    """The studies under one of the IDs and one of the issuers, those of the newest date first; of
    ``modalities``, where given, those with a series of one of them."""
    given = [one for one in patient_ids if one]
    patients = select(Patient.id).where(Patient.patient_id.in_(given), Patient.issuer.in_(issuers))
    wanted = Study.series.any(Series.modality.in_(modalities)) if modalities else true()
    rows = session.scalars(
        select(Study)
        .where(Study.patient_pk.in_(patients), wanted)
        .order_by(Study.study_date.desc(), Study.study_time.desc(), Study.uid)
        .limit(MOST_STUDIES)
    )
    return [_known(study) for study in rows]


def modality_of(session: Session, series_uid: str) -> str:
    """The modality of a series; empty where it names none, or never came in."""
    return session.scalar(select(Series.modality).where(Series.uid == series_uid)) or ""


def images_of(session: Session, study_uid: str) -> dict[str, list[str]]:
    """Every image of a study, closed or not: for each Series Instance UID its files, relative to the
    archive's root, in the order of their SOP Instance UIDs."""
    rows = session.execute(
        select(Series.uid, Instance.path)
        .join(Series.instances)
        .join(Series.study)
        .where(Study.uid == study_uid)
        .order_by(Series.uid, Instance.uid)
    )
    files: dict[str, list[str]] = {}
    for series_uid, path in rows:
        files.setdefault(series_uid, []).append(path)
    return files


def results_of(session: Session, study_uid: str) -> list[str]:
    """Segmentations and reports among a study's objects: where they lie, relative to the archive's root."""
    return list(
        session.scalars(
            select(Instance.path)
            .join(Instance.series)
            .join(Series.study)
            .where(Study.uid == study_uid, Instance.sop_class.in_(RESULT_CLASSES))
            .order_by(Instance.uid)
        )
    )


def paths_of(session: Session, study_uid: str, uids: Iterable[str]) -> list[str]:
    """Where those of the images ``uids`` lie that belong to the study, relative to the archive's root."""
    return list(
        session.scalars(
            select(Instance.path)
            .join(Instance.series)
            .join(Series.study)
            .where(Study.uid == study_uid, Instance.uid.in_(list(uids)))
            .order_by(Instance.uid)
        )
    )


def newest_reading(session: Session, study_uid: str, reader: str) -> StoredReading | None:
    """The latest reading of a study by ``reader``, whether its results were sent or not."""
    row = session.scalar(
        select(ReadingRow)
        .join(ReadingRow.revision)
        .join(Revision.study)
        .where(Study.uid == study_uid, ReadingRow.reader == reader)
        .options(selectinload(ReadingRow.objects))
        .order_by(Revision.number.desc(), ReadingRow.id.desc())
        .limit(1)
    )
    return stored(row) if row is not None else None


def save_prior_reading(
    session: Session, study_uid: str, identity: str, body: Mapping[str, Any], findings: Sequence[Finding]
) -> None:
    """Remember what was read on a prior so that others can be compared with it; nothing of it is sent."""
    study = session.scalars(select(Study).where(Study.uid == study_uid)).one()
    newest = session.scalar(
        select(Revision).where(Revision.study_pk == study.id).order_by(Revision.number.desc()).limit(1)
    )
    if newest is None or newest.state != "stored":
        at = now()
        newest = Revision(
            study_pk=study.id,
            number=newest.number + 1 if newest else 1,
            state="stored",
            image_count=0,
            closed_at=at,
            finished_at=at,
        )
        session.add(newest)
        session.flush()
    save_reading(session, study_uid, newest.number, identity, body, findings, [""] * len(findings), [])


def compare_again(session: Session, study_uid: str) -> bool:
    """Have a study that was read closed once more, so that it is set against what is known now: after all
    others, unless its reading failed, and nobody has results of it. False when it was never read for results
    of its own, or is about to be read anyway."""
    study = session.scalars(select(Study).where(Study.uid == study_uid)).one_or_none()
    if study is None or study.is_open or study.read_now:
        return False
    if study.fetched_until is not None or study.images_deleted_at is not None:
        return False
    state = session.scalar(
        select(Revision.state).where(Revision.study_pk == study.id).order_by(Revision.number.desc()).limit(1)
    )
    if state not in ("delivering", "delivered", "failed"):
        return False
    study.read_now, study.compare_again = True, state != "failed"
    return True


def _known(study: Study) -> KnownStudy:
    return KnownStudy(
        study.uid,
        study.study_date,
        study.study_time,
        study.first_image_at,
        study.birth_date,
        study.fetched_until is not None,
        study.images_deleted_at is None,
    )
