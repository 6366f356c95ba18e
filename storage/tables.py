"""The domain tables: who was studied, what came in, what was read, what was sent."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, DateTime, ForeignKey, Index, String, UniqueConstraint, false, text
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.types import TypeDecorator


class UtcDateTime(TypeDecorator[datetime]):
    """A moment, always aware and in UTC; SQLite keeps no time zone, so it is put back on reading."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.astimezone(UTC) if value is not None else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    type_annotation_map = {datetime: UtcDateTime, dict[str, Any]: JSON, list[Any]: JSON}  # noqa: RUF012


class Owner(Base):
    """The node whose database this is: one row, from its first start on."""

    __tablename__ = "owner"

    node_id: Mapped[str] = mapped_column(String(64), primary_key=True)


class Patient(Base):
    __tablename__ = "patients"
    __table_args__ = (UniqueConstraint("patient_id", "issuer"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    patient_id: Mapped[str] = mapped_column(String(255))
    issuer: Mapped[str] = mapped_column(String(255), default="")
    birth_date: Mapped[str] = mapped_column(String(16), default="")

    studies: Mapped[list[Study]] = relationship(back_populates="patient")


class Study(Base):
    """``last_image_at`` and ``closed_at``: a study is open while an image arrived after it was last closed.
    ``read_now`` closes it without waiting for the quiet period; ``compare_again``: and nobody waits for that,
    it is only to be set against what is known now. ``fetched_until``: images that come before this moment
    were asked for, as a prior's, and open no reading; None once somebody sent the study.
    ``birth_date`` as the study's own images have it: an ID may have been given to two people.
    ``images_deleted_at``: None again once the series that were read are whole again, or a person asked to
    have what is here read; until then what comes of it is not read."""

    __tablename__ = "studies"
    __table_args__ = (
        Index("ix_studies_open", "is_open", "last_image_at"),
        Index("ix_studies_recent", "last_image_at"),
        Index("ix_studies_patient_date", "patient_pk", "study_date"),
        Index("ix_studies_read_now", "read_now"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    uid: Mapped[str] = mapped_column(String(64), unique=True)
    patient_pk: Mapped[int] = mapped_column(ForeignKey("patients.id"))
    study_date: Mapped[str] = mapped_column(String(16), default="")
    study_time: Mapped[str] = mapped_column(String(32), default="")
    birth_date: Mapped[str] = mapped_column(String(16), default="", server_default="")
    accession_number: Mapped[str] = mapped_column(String(64), default="")
    description: Mapped[str] = mapped_column(String(255), default="")
    source: Mapped[str] = mapped_column(String(32), default="")  # calling AE title of the first image
    first_image_at: Mapped[datetime]
    last_image_at: Mapped[datetime]
    is_open: Mapped[bool] = mapped_column(default=True)
    read_now: Mapped[bool] = mapped_column(default=False)
    compare_again: Mapped[bool] = mapped_column(default=False, server_default=false())
    fetched_until: Mapped[datetime | None]
    images_deleted_at: Mapped[datetime | None]

    patient: Mapped[Patient] = relationship(back_populates="studies")
    series: Mapped[list[Series]] = relationship(back_populates="study")
    revisions: Mapped[list[Revision]] = relationship(back_populates="study", order_by="Revision.number")


class Series(Base):
    """``deleted_uids``: its images that were deleted, until the study is whole again; loaded when used."""

    __tablename__ = "series"

    id: Mapped[int] = mapped_column(primary_key=True)
    study_pk: Mapped[int] = mapped_column(ForeignKey("studies.id"), index=True)
    uid: Mapped[str] = mapped_column(String(64), unique=True)
    modality: Mapped[str] = mapped_column(String(16), default="")
    number: Mapped[int | None]
    description: Mapped[str] = mapped_column(String(255), default="")
    body_part: Mapped[str] = mapped_column(String(64), default="")
    deleted_uids: Mapped[list[Any]] = mapped_column(default=list, server_default="[]", deferred=True)

    study: Mapped[Study] = relationship(back_populates="series")
    instances: Mapped[list[Instance]] = relationship(back_populates="series")


class Instance(Base):
    """``path`` is relative to the archive's root. ``revision`` is the first reading the image was part of;
    None until the study is closed with it."""

    __tablename__ = "instances"

    id: Mapped[int] = mapped_column(primary_key=True)
    series_pk: Mapped[int] = mapped_column(ForeignKey("series.id"), index=True)
    uid: Mapped[str] = mapped_column(String(64), unique=True)
    sop_class: Mapped[str] = mapped_column(String(64))
    transfer_syntax: Mapped[str] = mapped_column(String(64))
    path: Mapped[str] = mapped_column(String(512))
    size: Mapped[int] = mapped_column(BigInteger)
    received_at: Mapped[datetime]
    revision: Mapped[int | None]

    series: Mapped[Series] = relationship(back_populates="instances")


class Revision(Base):
    """One reading of a study as it stood when it was closed. A late image makes the next number.

    state: queued, reading, delivering, delivered, failed, skipped, superseded; stored, for a prior that was
    fetched and read to be compared with, whose results are not sent.
    stage: the step under way, or the one that failed; reason: a sentence for failed and skipped.
    choices: why each series was or was not read, as `storage.choices.SeriesChoice`.
    compares_again: it has no image that was not read before, and only what it is compared with is new.
    """

    __tablename__ = "revisions"
    __table_args__ = (UniqueConstraint("study_pk", "number"), Index("ix_revisions_state", "state"))

    id: Mapped[int] = mapped_column(primary_key=True)
    study_pk: Mapped[int] = mapped_column(ForeignKey("studies.id"))
    number: Mapped[int]
    state: Mapped[str] = mapped_column(String(16), default="queued")
    stage: Mapped[str] = mapped_column(String(32), default="")
    reason: Mapped[str] = mapped_column(String(2000), default="")
    image_count: Mapped[int] = mapped_column(default=0)
    closed_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    choices: Mapped[list[Any]] = mapped_column(default=list, server_default="[]")
    compares_again: Mapped[bool] = mapped_column(default=False, server_default=false())

    study: Mapped[Study] = relationship(back_populates="revisions")
    readings: Mapped[list[ReadingRow]] = relationship(back_populates="revision")


class ReadingRow(Base):
    """One reader on one series. ``identity`` is the hash of everything the result depends on;
    ``edition`` that of what its result objects depend on besides the objects they succeed, empty where none
    were made; ``body`` is the reading as in ``reading.json``."""

    __tablename__ = "readings"
    __table_args__ = (UniqueConstraint("revision_pk", "reader", "series_uid"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    revision_pk: Mapped[int] = mapped_column(ForeignKey("revisions.id"), index=True)
    reader: Mapped[str] = mapped_column(String(64))
    series_uid: Mapped[str] = mapped_column(String(64))
    identity: Mapped[str] = mapped_column(String(64), index=True)
    edition: Mapped[str] = mapped_column(String(64), default="", server_default="")
    body: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]

    revision: Mapped[Revision] = relationship(back_populates="readings")
    findings: Mapped[list[FindingRow]] = relationship(back_populates="reading", cascade="all, delete-orphan")
    objects: Mapped[list[ResultObject]] = relationship(back_populates="reading", cascade="all, delete-orphan")


class FindingRow(Base):
    __tablename__ = "findings"

    id: Mapped[int] = mapped_column(primary_key=True)
    reading_pk: Mapped[int] = mapped_column(ForeignKey("readings.id"), index=True)
    tracking_uid: Mapped[str] = mapped_column(String(64), index=True)
    label: Mapped[str] = mapped_column(String(64))
    x_mm: Mapped[float]
    y_mm: Mapped[float]
    z_mm: Mapped[float]
    score: Mapped[float]
    long_axis_mm: Mapped[float]
    short_axis_mm: Mapped[float]
    volume_mm3: Mapped[float]
    mean_hu: Mapped[float | None]
    malignancy: Mapped[float | None]
    key_image: Mapped[str] = mapped_column(String(512), default="")  # PNG, relative to the archive's root

    reading: Mapped[ReadingRow] = relationship(back_populates="findings")


class ResultObject(Base):
    """A DICOM object made from a reading. ``kind``: seg, sr, pr, sc, ko."""

    __tablename__ = "result_objects"

    id: Mapped[int] = mapped_column(primary_key=True)
    reading_pk: Mapped[int] = mapped_column(ForeignKey("readings.id"), index=True)
    kind: Mapped[str] = mapped_column(String(8))
    sop_class: Mapped[str] = mapped_column(String(64))
    uid: Mapped[str] = mapped_column(String(64), index=True)
    path: Mapped[str] = mapped_column(String(512))

    reading: Mapped[ReadingRow] = relationship(back_populates="objects")


class Delivery(Base):
    """One object on its way to one destination; unique, so that nothing is sent twice.

    state: waiting, sent, confirmed, refused; replaced, where another kind of object went instead;
    unconfirmed, where storage commitment was asked for in vain.
    ``attempts`` so far, ``next_at`` when the next is due. ``sent_at``: the last time; ``first_sent_at``: the
    first, where there was another before. ``commit_due``: when storage commitment is asked
    for, the next time; None where it is not. ``commit_requests``: how often it was."""

    __tablename__ = "deliveries"
    __table_args__ = (
        UniqueConstraint("object_uid", "destination"),
        Index("ix_deliveries_due", "state", "next_at"),
        Index(
            "ix_deliveries_commit_due",
            "destination",
            "commit_due",
            sqlite_where=text("commit_due IS NOT NULL"),
            postgresql_where=text("commit_due IS NOT NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    revision_pk: Mapped[int] = mapped_column(ForeignKey("revisions.id"), index=True)
    object_uid: Mapped[str] = mapped_column(String(64))
    destination: Mapped[str] = mapped_column(String(64))
    kind: Mapped[str] = mapped_column(String(8))
    path: Mapped[str] = mapped_column(String(512))
    state: Mapped[str] = mapped_column(String(16), default="waiting")
    attempts: Mapped[int] = mapped_column(default=0)
    next_at: Mapped[datetime]
    last_error: Mapped[str] = mapped_column(String(2000), default="")
    first_sent_at: Mapped[datetime | None]
    sent_at: Mapped[datetime | None]
    commit_due: Mapped[datetime | None]
    commit_requests: Mapped[int] = mapped_column(default=0, server_default="0")


class Commitment(Base):
    """A transaction in which a destination was asked to commit a delivery since it was last sent. Whichever
    of them it reports on, however late, is about that sending."""

    __tablename__ = "commitments"

    id: Mapped[int] = mapped_column(primary_key=True)
    delivery_pk: Mapped[int] = mapped_column(ForeignKey("deliveries.id"), index=True)
    transaction_uid: Mapped[str] = mapped_column(String(64), index=True)


class Event(Base):
    """One line of a study's timeline. ``level``: info, warning, error. No patient name enters ``text``."""

    __tablename__ = "events"
    __table_args__ = (Index("ix_events_study", "study_uid", "id"), Index("ix_events_at", "at"))

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    study_uid: Mapped[str] = mapped_column(String(64), default="")
    revision: Mapped[int | None]
    stage: Mapped[str] = mapped_column(String(32))  # receive, select, infer, compare, results, deliver, node
    level: Mapped[str] = mapped_column(String(8), default="info")
    text: Mapped[str] = mapped_column(String(2000))


class Unanswered(Base):
    """An archive that could not be asked for a study's priors. The study is compared again once it can."""

    __tablename__ = "unanswered"
    __table_args__ = (UniqueConstraint("study_pk", "archive"), Index("ix_unanswered_next_at", "next_at"))

    id: Mapped[int] = mapped_column(primary_key=True)
    study_pk: Mapped[int] = mapped_column(ForeignKey("studies.id"))
    archive: Mapped[str] = mapped_column(String(64))
    first_at: Mapped[datetime]
    next_at: Mapped[datetime]
    attempts: Mapped[int] = mapped_column(default=0)
    last_error: Mapped[str] = mapped_column(String(2000), default="")


class Refusal(Base):
    """An object the receiver did not accept, kept in quarantine at ``path`` where there was one."""

    __tablename__ = "refusals"
    __table_args__ = (Index("ix_refusals_at", "at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    caller: Mapped[str] = mapped_column(String(32), default="")
    address: Mapped[str] = mapped_column(String(64), default="")
    study_uid: Mapped[str] = mapped_column(String(64), default="")
    uid: Mapped[str] = mapped_column(String(64), default="")
    sop_class: Mapped[str] = mapped_column(String(64), default="")
    status: Mapped[int]
    reason: Mapped[str] = mapped_column(String(2000))
    path: Mapped[str] = mapped_column(String(512), default="")


class User(Base):
    """Somebody who may log in to the status page. ``role``: admin, viewer."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    password_hash: Mapped[str] = mapped_column(String(255))
    role: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[datetime]
    last_login_at: Mapped[datetime | None]


class WebSession(Base):
    """A login. The browser holds the token, the database no more than its SHA-256."""

    __tablename__ = "web_sessions"
    __table_args__ = (Index("ix_web_sessions_ends_at", "ends_at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    token_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    user_pk: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    address: Mapped[str] = mapped_column(String(64), default="")
    created_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    ends_at: Mapped[datetime]

    user: Mapped[User] = relationship()


class AuditLine(Base):
    """Who did what: one line of the audit trail. ``who`` is an account or an AE title; no patient's name
    enters ``text``, unless somebody searched for one."""

    __tablename__ = "audit"
    __table_args__ = (Index("ix_audit_at", "at"), Index("ix_audit_study", "study_uid"))

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    kind: Mapped[str] = mapped_column(String(16))
    who: Mapped[str] = mapped_column(String(64), default="")
    address: Mapped[str] = mapped_column(String(64), default="")
    study_uid: Mapped[str] = mapped_column(String(64), default="")
    text: Mapped[str] = mapped_column(String(2000))
