"""What the status page shows of all studies: one line for each, and the sums over them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args

from sqlalchemy import ColumnElement, Row, Select, and_, case, exists, func, literal, not_, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from storage.own_results import is_own_result
from storage.paging import Place, page_of, shown
from storage.tables import (
    Delivery,
    FindingRow,
    Instance,
    Patient,
    ReadingRow,
    Refusal,
    Revision,
    Series,
    Study,
    UtcDateTime,
)

StudyState = Literal[
    "receiving", "queued", "reading", "delivering", "delivered", "failed", "skipped", "superseded", "stored"
]
"""A study's state is that of its newest revision; ``receiving`` while images still arrive,
``stored`` when it came in but nobody asked for a reading (a prior)."""

STATES: tuple[StudyState, ...] = get_args(StudyState)


@dataclass(frozen=True)
class StudyLine:
    """One study on the list. ``finding_count`` is None until a reading is there; ``reason`` says why a
    study failed or was skipped, ``stage`` where it stands or stood; ``since`` when it came into its state."""

    uid: str
    state: StudyState
    stage: str
    reason: str
    revision: int | None
    since: datetime
    patient_id: str
    accession_number: str
    study_date: str
    description: str
    modalities: tuple[str, ...]
    source: str
    first_image_at: datetime
    last_image_at: datetime
    image_count: int
    readers: tuple[str, ...]
    finding_count: int | None


@dataclass(frozen=True)
class StudyFilter:
    """``text`` is looked for in patient ID, accession number, description, source and study UID;
    ``received_from`` and ``received_before`` bound the moment of the last image."""

    state: StudyState | None = None
    text: str = ""
    received_from: datetime | None = None
    received_before: datetime | None = None


@dataclass(frozen=True)
class StudyPage:
    """A page of the list, newest first; ``older`` is None on the last."""

    studies: tuple[StudyLine, ...]
    older: Place | None


@dataclass(frozen=True)
class Waiting:
    """Deliveries not yet made. ``since`` is when the oldest of them could first have been sent."""

    count: int
    since: datetime | None = None
    destination: str = ""
    attempts: int = 0
    last_error: str = ""


@dataclass(frozen=True)
class SourceLine:
    """A sender, by calling AE title, and the last image of its studies."""

    source: str
    last_image_at: datetime
    study_count: int


@dataclass(frozen=True)
class RefusalLine:
    """An object that was not accepted; ``status`` is the DIMSE status answered (PS3.4 GG.4-1), None
    where none was: to a connection that was turned away, or to an image that was acknowledged and set aside
    after."""

    at: datetime
    caller: str
    address: str
    study_uid: str
    uid: str
    sop_class: str
    status: int | None
    reason: str


@dataclass(frozen=True)
class RefusalPage:
    """A page of them, newest first; ``older`` is None on the last."""

    refusals: tuple[RefusalLine, ...]
    older: Place | None


AnySelect = Select[*tuple[Any, ...]]
AnyRow = Row[*tuple[Any, ...]]

_newest = aliased(Revision)
_state: ColumnElement[str] = case(
    (Study.is_open, literal("receiving")),
    (Study.read_now, literal("queued")),  # asked to be read again
    else_=func.coalesce(_newest.state, literal("stored")),
)


def list_studies(
    session: Session, wanted: StudyFilter | None = None, older_than: Place | None = None, limit: int = 50
) -> StudyPage:
    """Studies as wanted, those with the newest image first. Costs the same on every page."""
    query = _matching(_lines(), wanted or StudyFilter())
    query = page_of(query, Study.last_image_at, Study.id, older_than, limit)
    rows, last = shown(session.execute(query).all(), limit)
    older = Place(last.Study.last_image_at, last.Study.id) if last else None
    return StudyPage(_study_lines(session, rows), older)


def one_study(session: Session, uid: str) -> StudyLine | None:
    rows = session.execute(_lines().where(Study.uid == uid)).all()
    return next(iter(_study_lines(session, rows)), None)


def count_by_state(session: Session) -> dict[StudyState, int]:
    """How many studies are in each state; every state is named."""
    newer, asked = aliased(Revision), and_(Study.read_now, Study.is_open.is_(False))
    settled = (
        ~exists().where(newer.study_pk == Revision.study_pk, newer.number > Revision.number),
        Revision.study_pk.not_in(select(Study.id).where(Study.is_open)),
        Revision.study_pk.not_in(select(Study.id).where(asked)),
    )
    query = select(Revision.state, func.count()).where(*settled).group_by(Revision.state)
    counted: dict[str, int] = {row[0]: row[1] for row in session.execute(query)}
    counted["queued"] = counted.get("queued", 0) + _how_many(session, asked)
    counted["receiving"] = _how_many(session, Study.is_open)
    counted.pop("stored", None)  # also those without a revision
    counted["stored"] = _how_many(session) - sum(counted.values())
    return {state: counted.get(state, 0) for state in STATES}


def waiting_deliveries(session: Session) -> Waiting:
    """The queue towards the destinations, and the oldest of it."""
    still_to_send = Delivery.state == "waiting"
    count = session.scalar(select(func.count()).select_from(Delivery).where(still_to_send)) or 0
    read_at = (
        select(func.min(ReadingRow.created_at)).where(ReadingRow.revision_pk == Revision.id).scalar_subquery()
    )
    since = func.coalesce(read_at, Revision.closed_at, type_=UtcDateTime())
    oldest = session.execute(
        select(Delivery, since).join(Revision, Revision.id == Delivery.revision_pk).where(still_to_send)
        .order_by(since, Delivery.id).limit(1)
    ).first()  # fmt: skip
    if oldest is None:
        return Waiting(count)
    delivery, waited_since = oldest
    return Waiting(count, waited_since, delivery.destination, delivery.attempts, delivery.last_error)


def list_sources(session: Session) -> tuple[SourceLine, ...]:
    """Every sender, the one heard last first; what was fetched has none."""
    last = func.max(Study.last_image_at, type_=UtcDateTime())
    sent = select(Study.source, last, func.count()).where(Study.source != "")
    query = sent.group_by(Study.source).order_by(last.desc())
    return tuple(SourceLine(source, at, count) for source, at, count in session.execute(query))


def list_refusals(session: Session, older_than: Place | None = None, limit: int = 200) -> RefusalPage:
    """The newest refusals first."""
    query = page_of(select(Refusal), Refusal.at, Refusal.id, older_than, limit)
    rows, last = shown(session.scalars(query).all(), limit)
    lines = (
        RefusalLine(r.at, r.caller, r.address, r.study_uid, r.uid, r.sop_class, r.status or None, r.reason)
        for r in rows
    )
    return RefusalPage(tuple(lines), Place(last.at, last.id) if last else None)


def _how_many(session: Session, *conditions: ColumnElement[bool] | InstrumentedAttribute[bool]) -> int:
    return session.scalar(select(func.count()).select_from(Study).where(*conditions)) or 0


def _lines() -> AnySelect:
    query = select(Study, Patient.patient_id, _newest, _state.label("state"))
    return _with_newest(query.join(Patient, Patient.id == Study.patient_pk))


def _with_newest(query: AnySelect) -> AnySelect:
    number = aliased(Revision)
    highest = select(func.max(number.number)).where(number.study_pk == Study.id).scalar_subquery()
    return query.outerjoin(_newest, and_(_newest.study_pk == Study.id, _newest.number == highest))


def _matching(query: AnySelect, wanted: StudyFilter) -> AnySelect:
    if wanted.state == "receiving":
        query = query.where(Study.is_open)
    elif wanted.state is not None:
        query = query.where(Study.is_open.is_(False), _state == wanted.state)
        if wanted.state not in ("delivered", "stored"):  # few among many: found by their own index
            in_it = select(Revision.study_pk).where(Revision.state == wanted.state)
            asked = select(Study.id).where(Study.read_now)
            query = query.where(Study.id.in_(in_it.union(asked) if wanted.state == "queued" else in_it))
    if wanted.text:
        columns = (Patient.patient_id, Study.accession_number, Study.description, Study.source, Study.uid)
        query = query.where(or_(*(column.icontains(wanted.text, autoescape=True) for column in columns)))
    if wanted.received_from is not None:
        query = query.where(Study.last_image_at >= wanted.received_from)
    if wanted.received_before is not None:
        query = query.where(Study.last_image_at < wanted.received_before)
    return query


def _study_lines(session: Session, rows: Sequence[AnyRow]) -> tuple[StudyLine, ...]:
    study_keys = [row.Study.id for row in rows]
    newest = [row[2].id for row in rows if row[2] is not None]
    modalities = _gathered(session, select(Series.study_pk, Series.modality), Series.study_pk, study_keys)
    readers = _gathered(
        session, select(ReadingRow.revision_pk, ReadingRow.reader), ReadingRow.revision_pk, newest
    )
    images = _counted(
        session,
        select(Series.study_pk, func.count()).join(Instance)
        .where(Series.study_pk.in_(study_keys), not_(is_own_result())).group_by(Series.study_pk),
    )  # fmt: skip
    findings = _counted(
        session,
        select(ReadingRow.revision_pk, func.count(FindingRow.id)).outerjoin(FindingRow)
        .where(ReadingRow.revision_pk.in_(newest)).group_by(ReadingRow.revision_pk),
    )  # fmt: skip
    return tuple(
        _study_line(study, patient_id, revision, state, modalities, images, readers, findings)
        for study, patient_id, revision, state in rows
    )


def _study_line(
    study: Study,
    patient_id: str,
    revision: Revision | None,
    state: StudyState,
    modalities: dict[int, tuple[str, ...]],
    images: dict[int, int],
    readers: dict[int, tuple[str, ...]],
    findings: dict[int, int],
) -> StudyLine:
    key = revision.id if revision is not None else 0
    receiving = state == "receiving"
    return StudyLine(
        uid=study.uid,
        state=state,
        stage="receive" if receiving else revision.stage if revision is not None else "",
        reason=revision.reason if revision is not None and state == revision.state else "",
        revision=revision.number if revision is not None else None,
        since=study.last_image_at if receiving or revision is None else _in_state_since(revision),
        patient_id=patient_id,
        accession_number=study.accession_number,
        study_date=study.study_date,
        description=study.description,
        modalities=modalities.get(study.id, ()),
        source=study.source,
        first_image_at=study.first_image_at,
        last_image_at=study.last_image_at,
        image_count=images.get(study.id, 0),
        readers=readers.get(key, ()),
        finding_count=findings.get(key),
    )


def _in_state_since(revision: Revision) -> datetime:
    if revision.state == "queued":
        return revision.closed_at
    return revision.finished_at or revision.started_at or revision.closed_at


def _gathered(
    session: Session, query: Select[int, str], key: ColumnElement[int] | Any, keys: Iterable[int]
) -> dict[int, tuple[str, ...]]:
    gathered: dict[int, tuple[str, ...]] = {}
    for owner, text in session.execute(
        query.where(key.in_(keys)).distinct().order_by(*query.selected_columns)
    ):
        gathered[owner] = (*gathered.get(owner, ()), *((text,) if text else ()))
    return gathered


def _counted(session: Session, query: Select[int, int]) -> dict[int, int]:
    return {row[0]: row[1] for row in session.execute(query)}
