"""Everything remembered of one study: its series, revisions, readings, deliveries and timeline."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session, selectinload

from inference.reading_json import class_from_json, class_to_json
from storage.choices import SeriesChoice, choices_of
from storage.contents import Content
from storage.deliveries import stood_for
from storage.overview import StudyLine, one_study
from storage.tables import Delivery, Event, FindingRow, Instance, ReadingRow, Revision, Series, Study


@dataclass(frozen=True)
class SeriesRecord:
    uid: str
    number: int | None
    modality: str
    description: str
    body_part: str
    image_count: int
    bytes: int
    choices: tuple[SeriesChoice, ...]


@dataclass(frozen=True)
class FindingRecord:
    """A finding as measured; ``malignancy``, which pages call suspicion, ``change``, ``assessments``,
    ``interpolated`` and ``by_look`` as in ``reading.json``. Of a finding ``in_pixels``, on a picture
    without a scale, what is called mm counts pixels; where ``is_sized`` is false, no more than the place of
    the evidence is known. ``suv_max``: of a hot spot. Its key image, where ``has_key_image``,
    is at ``/studies/{uid}/findings/{id}.png``."""

    id: int
    label: str
    tracking_uid: str
    center_mm: tuple[float, float, float]
    score: float
    long_axis_mm: float
    short_axis_mm: float
    volume_mm3: float
    mean_hu: float | None
    malignancy: float | None
    has_key_image: bool
    change: Mapping[str, Any] | None
    in_pixels: bool = False
    assessments: tuple[Mapping[str, Any], ...] = ()
    interpolated: float = 0.0
    by_look: bool = False
    is_sized: bool = True
    suv_max: float | None = None


@dataclass(frozen=True)
class ObjectRecord:
    """``content``: what it holds in a word, empty where its file does not tell."""

    kind: str
    sop_class: str
    uid: str
    content: str


@dataclass(frozen=True)
class ReadingRecord:
    """``model``, ``classes``, ``segments``, ``seconds``, ``assessments``, ``caveats`` and ``measurements`` as
    in ``reading.json``."""

    reader: str
    series_uid: str
    created_at: datetime
    model: Mapping[str, Any]
    findings: tuple[FindingRecord, ...]
    classes: tuple[Mapping[str, Any], ...]
    segments: tuple[Mapping[str, Any], ...]
    seconds: Mapping[str, float]
    objects: tuple[ObjectRecord, ...]
    assessments: tuple[Mapping[str, Any], ...] = ()
    caveats: tuple[Mapping[str, Any], ...] = ()
    measurements: tuple[Mapping[str, Any], ...] = ()

    @property
    def is_incomplete(self) -> bool:
        """A part of the patient was not read."""
        return any(caveat["kind"] == "unread" for caveat in self.caveats)


@dataclass(frozen=True)
class DeliveryRecord:
    """``content``: what the object holds in a word, made of the reading of ``reader``; each empty where its
    file does not tell. ``next_at`` is when the next attempt is due, None once there is none to come.
    ``sent_at`` is the last time it arrived, ``first_sent_at`` the first where there was one before."""

    destination: str
    kind: str
    content: str
    reader: str
    object_uid: str
    state: str
    attempts: int
    next_at: datetime | None
    first_sent_at: datetime | None
    sent_at: datetime | None
    last_error: str


@dataclass(frozen=True)
class EventRecord:
    at: datetime
    revision: int | None
    stage: str
    level: str
    text: str


@dataclass(frozen=True)
class RevisionRecord:
    """``compares_again``: it has no new image, and waits for all other studies."""

    number: int
    state: str
    stage: str
    reason: str
    image_count: int
    compares_again: bool
    closed_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    readings: tuple[ReadingRecord, ...]
    deliveries: tuple[DeliveryRecord, ...]
    events: tuple[EventRecord, ...]


@dataclass(frozen=True)
class Dossier:
    """``revisions`` are the newest first; ``events`` those that belong to none of them, oldest first."""

    study: StudyLine
    series: tuple[SeriesRecord, ...]
    revisions: tuple[RevisionRecord, ...]
    events: tuple[EventRecord, ...]


def study_dossier(session: Session, uid: str, event_limit: int = 500) -> Dossier | None:
    """What is remembered of a study, None if it never came in; of its events the last ``event_limit``."""
    line = one_study(session, uid)
    if line is None:
        return None
    study = session.scalars(select(Study).where(Study.uid == uid)).one()
    revisions = session.scalars(
        select(Revision).where(Revision.study_pk == study.id).order_by(Revision.number.desc())
        .options(
            selectinload(Revision.readings).selectinload(ReadingRow.findings),
            selectinload(Revision.readings).selectinload(ReadingRow.objects),
        )
    ).all()  # fmt: skip
    newest_events = select(Event).where(Event.study_uid == uid).order_by(Event.id.desc()).limit(event_limit)
    events = [_event(row) for row in reversed(session.scalars(newest_events).all())]
    numbers = {revision.number for revision in revisions}
    newest = revisions[0] if revisions else None
    return Dossier(
        study=line,
        series=_series(session, study.id, choices_of(newest) if newest else ()),
        revisions=tuple(
            _revision(session, row, [event for event in events if event.revision == row.number])
            for row in revisions
        ),
        events=tuple(event for event in events if event.revision not in numbers),
    )


def reading_bodies(session: Session, uid: str, revision: int | None = None) -> list[dict[str, Any]] | None:
    """The readings of a revision of the study, the newest if not told, as in ``reading.json``; None if the
    study never came in.

    Raises:
        LookupError: it has no such revision.
    """
    study_key = session.scalar(select(Study.id).where(Study.uid == uid))
    if study_key is None:
        return None
    newest = session.scalar(select(func.max(Revision.number)).where(Revision.study_pk == study_key)) or 0
    wanted = newest if revision is None else revision
    of_it = Revision.study_pk == study_key, Revision.number == wanted
    if revision is not None and session.scalar(select(Revision.id).where(*of_it)) is None:
        raise LookupError(f"Study {uid} has no revision {revision}; its newest is {newest}.")
    rows = session.scalars(select(ReadingRow).join(Revision).where(*of_it).order_by(ReadingRow.id))
    return [row.body for row in rows]


def key_image_path(session: Session, study_uid: str, finding_id: int) -> str | None:
    """Where the key image of a finding of this study lies, as written; None if there is none."""
    return session.scalar(
        select(FindingRow.key_image)
        .join(ReadingRow, ReadingRow.id == FindingRow.reading_pk)
        .join(Revision, Revision.id == ReadingRow.revision_pk)
        .join(Study, Study.id == Revision.study_pk)
        .where(Study.uid == study_uid, FindingRow.id == finding_id, FindingRow.key_image != "")
    )


def _series(session: Session, study_key: int, choices: Sequence[SeriesChoice]) -> tuple[SeriesRecord, ...]:
    sizes = (
        select(Instance.series_pk, func.count().label("images"), func.sum(Instance.size).label("bytes"))
        .join(Series).where(Series.study_pk == study_key).group_by(Instance.series_pk).subquery()
    )  # fmt: skip
    rows = session.execute(
        select(Series, sizes.c.images, sizes.c.bytes).outerjoin(sizes, sizes.c.series_pk == Series.id)
        .where(Series.study_pk == study_key).order_by(Series.number, Series.id)
    )  # fmt: skip
    return tuple(
        SeriesRecord(
            uid=series.uid,
            number=series.number,
            modality=series.modality,
            description=series.description,
            body_part=series.body_part,
            image_count=images or 0,
            bytes=int(size or 0),
            choices=tuple(choice for choice in choices if choice.series_uid == series.uid),
        )
        for series, images, size in rows
    )


def _revision(session: Session, row: Revision, events: Iterable[EventRecord]) -> RevisionRecord:
    deliveries = session.scalars(
        select(Delivery).where(stood_for(row.id)).order_by(Delivery.destination, Delivery.id)
    )
    return RevisionRecord(
        number=row.number,
        state=row.state,
        stage=row.stage,
        reason=row.reason,
        image_count=row.image_count,
        compares_again=row.compares_again,
        closed_at=row.closed_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        readings=tuple(_reading(reading) for reading in row.readings),
        deliveries=tuple(_delivery(delivery) for delivery in deliveries),
        events=tuple(events),
    )


def _reading(row: ReadingRow) -> ReadingRecord:
    bodies = {item.get("tracking_uid"): item for item in row.body.get("findings", ())}
    return ReadingRecord(
        reader=row.reader,
        series_uid=row.series_uid,
        created_at=row.created_at,
        model=row.body.get("model", {}),
        findings=tuple(_finding(finding, bodies.get(finding.tracking_uid, {})) for finding in row.findings),
        classes=tuple(class_to_json(class_from_json(each)) for each in row.body.get("classes", ())),
        segments=tuple(row.body.get("segments", ())),
        seconds=row.body.get("seconds", {}),
        objects=tuple(
            ObjectRecord(item.kind, item.sop_class, item.uid, Content.of(item.path).words)
            for item in row.objects
        ),
        assessments=tuple(row.body.get("assessments", ())),
        caveats=tuple(row.body.get("caveats", ())),
        measurements=tuple(row.body.get("measurements", ())),
    )


def _finding(row: FindingRow, body: Mapping[str, Any]) -> FindingRecord:
    return FindingRecord(
        id=row.id,
        label=row.label,
        tracking_uid=row.tracking_uid,
        center_mm=(row.x_mm, row.y_mm, row.z_mm),
        score=row.score,
        long_axis_mm=row.long_axis_mm,
        short_axis_mm=row.short_axis_mm,
        volume_mm3=row.volume_mm3,
        mean_hu=row.mean_hu,
        malignancy=row.malignancy,
        has_key_image=bool(row.key_image),
        change=body.get("change"),
        in_pixels=body.get("center_px") is not None,
        assessments=tuple(body.get("assessments", ())),
        interpolated=body.get("interpolated", 0.0),
        by_look=body.get("by_look", False),
        is_sized=body.get("kind") != "saliency",
        suv_max=(body.get("uptake") or {}).get("suv_max"),
    )


def _delivery(row: Delivery) -> DeliveryRecord:
    content = Content.of(row.path)
    return DeliveryRecord(
        destination=row.destination,
        kind=row.kind,
        content=content.words,
        reader=content.reader,
        object_uid=row.object_uid,
        state=row.state,
        attempts=row.attempts,
        next_at=row.next_at if row.state == "waiting" else None,
        first_sent_at=row.first_sent_at,
        sent_at=row.sent_at,
        last_error=row.last_error,
    )


def _event(row: Event) -> EventRecord:
    return EventRecord(row.at, row.revision, row.stage, row.level, row.text)
