"""What arrives becomes rows: patients, studies, series, instances."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from sqlalchemy import Table, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session, joinedload

from storage.belonging import UID_OF_ANOTHERS, Belonging, contradiction, only_expected
from storage.columns import clip
from storage.deleted_images import note_whole, still_missing
from storage.tables import Base, Event, Instance, Patient, Revision, Series, Study


@dataclass(frozen=True)
class Received:
    """One image that lies in the archive at ``path`` (relative to its root). Texts are decoded;
    ``source`` is the calling AE title, empty when it is not known. ``fetched``: this node asked for it."""

    uid: str
    sop_class: str
    transfer_syntax: str
    series_uid: str
    study_uid: str
    path: str
    size: int
    received_at: datetime
    source: str = ""
    patient_id: str = ""
    issuer: str = ""
    birth_date: str = ""
    study_date: str = ""
    study_time: str = ""
    accession_number: str = ""
    study_description: str = ""
    modality: str = ""
    series_number: int | None = None
    series_description: str = ""
    body_part: str = ""
    fetched: bool = False


@dataclass(frozen=True)
class Misfit:
    """An image that contradicts what is known: its file is to be set aside."""

    received: Received
    reason: str


@dataclass(frozen=True)
class Recorded:
    """What a batch came to: how many rows are new, how many images were known, which do not fit."""

    new: int
    known: int
    misfits: tuple[Misfit, ...] = ()


def record(session: Session, received: Sequence[Received], merged: Sequence[Sequence[str]] = ()) -> Recorded:
    """Enter a batch of images; entering an image twice changes nothing. ``merged``: patient IDs of one
    person, any of which images of a study may have; the study stays with the first ID that one of its images
    has, whatever an archive said when it was asked for the study.

    An image that is new to its study opens it, which will close with the next revision; a known one
    only prolongs the quiet period of a study that is still open. Images fetched as a prior's open nothing;
    whoever sends a study that is or was fetched opens it, known images or not. A patient without an ID is
    never taken for another: each such study gets a patient of its own, told apart by the study UID as issuer.
    """
    new, known, misfits = _judged(session, received, merged)
    studies = _studies(session, [*new, *known])
    series = _series(session, new, studies)
    for image in new:
        study = studies[image.study_uid]
        told = Belonging(study.patient.patient_id)
        is_anothers = contradiction(told, image.study_uid, image.patient_id, merged)
        if is_anothers or (image.patient_id and not study.patient.patient_id):
            _give(session, study, image)
    sent_after_fetch = [image for image in known if studies[image.study_uid].fetched_until is not None]
    _open(session, studies, [i for i in (*new, *sent_after_fetch) if not _fetched(i, studies[i.study_uid])])
    _prolong(session, studies, known)
    if new:
        rows = [
            {
                "series_pk": series[image.series_uid].id,
                "uid": image.uid,
                "sop_class": image.sop_class,
                "transfer_syntax": image.transfer_syntax,
                "path": image.path,
                "size": image.size,
                "received_at": image.received_at,
                "revision": None,
            }
            for image in new
        ]
        _insert_missing(session, Instance, rows)
        for study in {studies[image.study_uid] for image in new}:
            if study.images_deleted_at is not None and not still_missing(session, study):
                note_whole(session, study)
    return Recorded(len(new), len(known), tuple(misfits))


def _judged(
    session: Session, received: Sequence[Received], merged: Sequence[Sequence[str]]
) -> tuple[list[Received], list[Received], list[Misfit]]:
    """Those that are new, those that are known, and those that contradict what is known or comes before them.
    These last claim nothing: where nothing else is of their studies and series, there are none."""
    studies = _studies_by_uid(session, {image.study_uid for image in received})
    found = session.execute(
        select(Instance.uid, Instance.path).where(Instance.uid.in_({image.uid for image in received}))
    )
    held = {row.uid: row.path for row in found}
    by_key = {study.id: study.uid for study in studies.values()}
    series = _series_by_uid(session, {image.series_uid for image in received})
    study_of = {uid: by_key.get(one.study_pk, "another") for uid, one in series.items()}
    told = {uid: study.patient.patient_id for uid, study in studies.items()}
    expected = only_expected(session, studies)
    patient_of = {uid: told[uid] or None for uid in studies if uid not in expected}
    new: list[Received] = []
    known: list[Received] = []
    misfits: list[Misfit] = []
    for image in received:
        if held.get(image.uid, image.path) != image.path:
            misfits.append(Misfit(image, UID_OF_ANOTHERS))
            continue
        if image.uid in held:
            known.append(image)
            continue
        owner = Belonging(patient_of.get(image.study_uid), study_of.get(image.series_uid))
        if reason := contradiction(owner, image.study_uid, image.patient_id, merged):
            misfits.append(Misfit(image, reason))
            continue
        new.append(image)
        held[image.uid] = image.path
        study_of[image.series_uid] = image.study_uid
        if not owner.patient_id:
            of_study = told.get(image.study_uid)
            is_anothers = contradiction(Belonging(of_study), image.study_uid, image.patient_id, merged)
            patient_of[image.study_uid] = (image.patient_id if is_anothers else of_study) or image.patient_id
    return new, known, misfits


def instances_of(session: Session, study_uid: str, revision: int) -> dict[str, list[str]]:
    """The images a revision stands on: for each Series Instance UID its files, relative to the archive's
    root, in the order of their SOP Instance UIDs. Later images are left out."""
    rows = session.execute(
        select(Series.uid, Instance.path)
        .join(Series.instances)
        .join(Series.study)
        .where(Study.uid == study_uid, Instance.revision <= revision)
        .order_by(Series.uid, Instance.uid)
    )
    files: dict[str, list[str]] = {}
    for series_uid, path in rows:
        files.setdefault(series_uid, []).append(path)
    return files


def is_recorded(session: Session, image: Received) -> bool:
    """Whether the image has its row, at the path where it lies."""
    return session.scalar(select(Instance.path).where(Instance.uid == image.uid)) == image.path


def _studies(session: Session, images: Sequence[Received]) -> dict[str, Study]:
    first = {image.study_uid: image for image in reversed(images)}
    found = _studies_by_uid(session, first)
    missing = [image for uid, image in first.items() if uid not in found]
    if not missing:
        return found
    patients = _patients(session, missing)
    rows = [
        {
            "uid": image.study_uid,
            "patient_pk": patients[_patient_key(image)],
            "study_date": clip(Study.study_date, image.study_date),
            "study_time": clip(Study.study_time, image.study_time),
            "birth_date": clip(Study.birth_date, image.birth_date),
            "accession_number": clip(Study.accession_number, image.accession_number),
            "description": clip(Study.description, image.study_description),
            "source": clip(Study.source, image.source),
            "first_image_at": image.received_at,
            "last_image_at": image.received_at,
            "is_open": False,  # until an image of it is entered
            "read_now": False,
        }
        for image in missing
    ]
    _insert_missing(session, Study, rows)
    return _studies_by_uid(session, first)


def _give(session: Session, study: Study, image: Received) -> None:
    """Make the study that of the image's patient."""
    key = _patients(session, [image])[_patient_key(image)]
    study.patient = session.get_one(Patient, key)
    study.birth_date = clip(Study.birth_date, image.birth_date) or study.birth_date
    session.flush()


def _patients(session: Session, images: Iterable[Received]) -> dict[tuple[str, str], int]:
    rows = {
        _patient_key(image): {
            "patient_id": _patient_key(image)[0],
            "issuer": _patient_key(image)[1],
            "birth_date": clip(Patient.birth_date, image.birth_date),
        }
        for image in images
    }
    _insert_missing(session, Patient, list(rows.values()))
    found = session.execute(
        select(Patient.patient_id, Patient.issuer, Patient.id).where(
            Patient.patient_id.in_({patient_id for patient_id, _ in rows})
        )
    )
    return {(patient_id, issuer): pk for patient_id, issuer, pk in found}


def _patient_key(image: Received) -> tuple[str, str]:
    patient_id = clip(Patient.patient_id, image.patient_id)
    return patient_id, clip(Patient.issuer, image.issuer) if patient_id else image.study_uid


def _series(session: Session, images: Sequence[Received], studies: dict[str, Study]) -> dict[str, Series]:
    first = {image.series_uid: image for image in reversed(images)}
    found = _series_by_uid(session, first)
    rows = [
        {
            "study_pk": studies[image.study_uid].id,
            "uid": uid,
            "modality": clip(Series.modality, image.modality),
            "number": image.series_number,
            "description": clip(Series.description, image.series_description),
            "body_part": clip(Series.body_part, image.body_part),
        }
        for uid, image in first.items()
        if uid not in found
    ]
    if not rows:
        return found
    _insert_missing(session, Series, rows)
    return _series_by_uid(session, first)


def _fetched(image: Received, study: Study) -> bool:
    expected = study.fetched_until is not None and image.received_at <= study.fetched_until
    return expected and image.fetched


def _open(session: Session, studies: dict[str, Study], new: Iterable[Received]) -> None:
    latest: dict[str, Received] = {}
    for image in new:
        held = latest.get(image.study_uid)
        if held is None or image.received_at > held.received_at:
            latest[image.study_uid] = image
    for uid, image in latest.items():
        study = studies[uid]
        if not study.is_open:
            revised = select(Revision.id).where(Revision.study_pk == study.id).limit(1)
            late = " late images" if session.scalar(revised) is not None else ""
            text = f"Receiving{late} from {image.source or 'an unknown sender'}."
            session.add(Event(at=image.received_at, study_uid=uid, revision=None, stage="receive", text=text))
        if study.fetched_until is not None:
            study.source = clip(Study.source, image.source)
        study.is_open, study.fetched_until = True, None
        study.last_image_at = image.received_at  # also one before the last, when the clock was put back
    session.flush()


def _prolong(session: Session, studies: dict[str, Study], known: Iterable[Received]) -> None:
    for image in known:
        study = studies[image.study_uid]
        if study.is_open:
            study.last_image_at = image.received_at
    session.flush()


def _studies_by_uid(session: Session, uids: Iterable[str]) -> dict[str, Study]:
    """Studies with their patients, locked: nobody closes one between this look and our commit."""
    found = (
        select(Study)
        .where(Study.uid.in_(list(uids)))
        .order_by(Study.id)
        .options(joinedload(Study.patient))
        .with_for_update(of=Study)
    )
    return {study.uid: study for study in session.scalars(found)}


def _series_by_uid(session: Session, uids: Iterable[str]) -> dict[str, Series]:
    return {
        series.uid: series for series in session.scalars(select(Series).where(Series.uid.in_(list(uids))))
    }


def _insert_missing(session: Session, table: type[Base], rows: list[dict[str, Any]]) -> None:
    """Insert the rows whose unique values are not there yet, also while another writer does the same."""
    dialect = session.get_bind().dialect.name
    core = cast(Table, table.__table__)
    insert = postgresql.insert(core) if dialect == "postgresql" else sqlite.insert(core)
    session.execute(insert.on_conflict_do_nothing(), rows)
