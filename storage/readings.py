"""What was read: revisions of a study, their readings, findings and result objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import select, true
from sqlalchemy.orm import Session, selectinload

from inference.findings import Finding
from storage.columns import clip
from storage.database import now
from storage.tables import FindingRow, ReadingRow, ResultObject, Revision, Study

State = Literal["queued", "reading", "delivering", "delivered", "failed", "skipped", "superseded", "stored"]
UNFINISHED: tuple[State, ...] = ("queued", "reading")


@dataclass(frozen=True)
class StoredObject:
    """A result object of an earlier reading, as a later one refers to it."""

    kind: str
    sop_class: str
    uid: str
    path: str


@dataclass(frozen=True)
class StoredReading:
    """A reading as remembered: what it and the objects made of it depended on, and which these are.
    ``revision``: of the study, that it stands on."""

    id: int
    revision: int
    identity: str
    edition: str
    body: Mapping[str, Any]
    objects: tuple[StoredObject, ...]


def find_revision(session: Session, study_uid: str, number: int) -> Revision:
    """
    Raises:
        LookupError: there is no such revision.
    """
    revision = session.scalar(
        select(Revision).join(Study).where(Study.uid == study_uid, Revision.number == number)
    )
    if revision is None:
        raise LookupError(f"study {study_uid} has no revision {number}")
    return revision


def unfinished(session: Session) -> list[tuple[str, int]]:
    """(study UID, revision number) of every reading that was asked for and has not ended, oldest first."""
    rows = session.execute(
        select(Study.uid, Revision.number)
        .join(Revision.study)
        .where(Revision.state.in_(UNFINISHED))
        .order_by(Revision.closed_at)
    )
    return [(uid, number) for uid, number in rows]


def begin(session: Session, study_uid: str, number: int) -> bool:
    """Take up a revision; False when a later one has made it needless."""
    revision = find_revision(session, study_uid, number)
    if revision.state not in UNFINISHED:
        return False
    revision.state = "reading"
    revision.started_at = revision.started_at or now()
    return True


def enter_stage(session: Session, study_uid: str, number: int, stage: str) -> None:
    find_revision(session, study_uid, number).stage = stage


def finish(
    session: Session, study_uid: str, number: int, state: State, *, stage: str = "", reason: str = ""
) -> None:
    revision = find_revision(session, study_uid, number)
    revision.state = state
    revision.stage = stage
    revision.reason = clip(Revision.reason, reason)
    revision.finished_at = None if state == "delivering" else now()


def save_reading(
    session: Session,
    study_uid: str,
    number: int,
    identity: str,
    body: Mapping[str, Any],
    findings: Sequence[Finding],
    key_images: Sequence[str],
    objects: Sequence[StoredObject],
    edition: str = "",
) -> None:
    """Remember one reader's reading of one series; saving it again replaces it. ``edition``: what the objects
    depend on, where there are any."""
    row = _reading_row(session, study_uid, number, body["reader"], body["series_uid"])
    row.identity, row.edition = identity, edition
    row.body = dict(body)
    row.created_at = now()
    row.findings = [
        _finding_row(finding, key_image) for finding, key_image in zip(findings, key_images, strict=True)
    ]
    row.objects = [ResultObject(kind=o.kind, sop_class=o.sop_class, uid=o.uid, path=o.path) for o in objects]


def repeat_reading(session: Session, study_uid: str, number: int, earlier: StoredReading) -> None:
    """Let an earlier reading, with its findings and objects, stand for this revision too."""
    source = session.get_one(ReadingRow, earlier.id)
    row = _reading_row(session, study_uid, number, source.reader, source.series_uid)
    row.identity, row.edition = source.identity, source.edition
    row.body, row.created_at = source.body, source.created_at
    row.findings = [FindingRow(**_values(finding)) for finding in source.findings]
    row.objects = [ResultObject(**_values(made)) for made in source.objects]


def readings_of(session: Session, study_uid: str, number: int) -> list[StoredReading]:
    """The readings of one revision, in the order they were made."""
    rows = session.scalars(
        select(ReadingRow)
        .join(ReadingRow.revision)
        .join(Revision.study)
        .where(Study.uid == study_uid, Revision.number == number)
        .options(selectinload(ReadingRow.objects))
        .order_by(ReadingRow.id)
    )
    return [stored(row) for row in rows]


def earlier_reading(
    session: Session, study_uid: str, number: int, reader: str, *, with_objects: bool = False
) -> StoredReading | None:
    """The latest reading of the same study by ``reader`` before revision ``number``; or the latest of which
    results were written, as they are not of a study that was fetched to be compared with."""
    row = session.scalar(
        select(ReadingRow)
        .join(ReadingRow.revision)
        .join(Revision.study)
        .where(Study.uid == study_uid, Revision.number < number, ReadingRow.reader == reader)
        .where(ReadingRow.objects.any() if with_objects else true())
        .options(selectinload(ReadingRow.objects))
        .order_by(Revision.number.desc(), ReadingRow.id.desc())
        .limit(1)
    )
    return stored(row) if row is not None else None


def _reading_row(session: Session, study_uid: str, number: int, reader: str, series_uid: str) -> ReadingRow:
    revision = find_revision(session, study_uid, number)
    row = session.scalar(
        select(ReadingRow).where(
            ReadingRow.revision_pk == revision.id,
            ReadingRow.reader == reader,
            ReadingRow.series_uid == series_uid,
        )
    )
    if row is None:
        row = ReadingRow(revision_pk=revision.id, reader=reader, series_uid=series_uid)
        session.add(row)
    return row


def _values(row: FindingRow | ResultObject) -> dict[str, Any]:
    own = {"id", "reading_pk"}
    return {column.key: getattr(row, column.key) for column in row.__table__.columns if column.key not in own}


def stored(row: ReadingRow) -> StoredReading:
    """A reading's row, with its objects loaded, as a value."""
    objects = tuple(StoredObject(o.kind, o.sop_class, o.uid, o.path) for o in row.objects)
    return StoredReading(row.id, row.revision.number, row.identity, row.edition, row.body, objects)


def _finding_row(finding: Finding, key_image: str) -> FindingRow:
    x, y, z = finding.center_mm
    return FindingRow(
        tracking_uid=finding.tracking_uid,
        label=finding.label,
        x_mm=x,
        y_mm=y,
        z_mm=z,
        score=finding.score,
        long_axis_mm=finding.long_axis_mm,
        short_axis_mm=finding.short_axis_mm,
        volume_mm3=finding.volume_mm3,
        mean_hu=finding.mean_hu,
        malignancy=finding.malignancy,
        key_image=key_image,
    )
