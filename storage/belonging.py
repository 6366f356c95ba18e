"""Whose a study is, what studies series and images are of, and what contradicts that."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Select, and_, not_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from storage.columns import clip, holds
from storage.tables import Instance, Patient, Series, Study

UID_OF_ANOTHERS = "its SOP Instance UID belongs to an image of another study"
_IS_ONLY_EXPECTED = and_(  # no image of it ever had a row
    Study.is_open.is_(False),
    Study.images_deleted_at.is_(None),
    not_(Study.revisions.any()),
    not_(Study.series.any(Series.instances.any())),
)


@dataclass(frozen=True)
class Belonging:
    """Whose a study is, by Patient ID, and what studies a series and an image are of; None where it is not
    known."""

    patient_id: str | None = None
    study_of_series: str | None = None
    study_of_image: str | None = None


@dataclass(frozen=True)
class Owners:
    """The Patient ID of each study, by Study Instance UID, the study of each series, by Series Instance UID,
    and that of each image, by SOP Instance UID."""

    patient_of: Mapping[str, str]
    study_of: Mapping[str, str]
    study_of_image: Mapping[str, str]


def contradiction(
    known: Belonging, study_uid: str, patient_id: str, merged: Sequence[Sequence[str]] = ()
) -> str:
    """Why an image cannot belong where it says, empty where it can. Who does not say whose it is, and whose
    study does not, contradicts nothing. ``merged``: patient IDs of one person."""
    if known.study_of_image not in (None, study_uid):
        return UID_OF_ANOTHERS
    if known.study_of_series not in (None, study_uid):
        return "its Series Instance UID belongs to a series of another study"
    one_person = any(known.patient_id in group and patient_id in group for group in merged)
    same = known.patient_id in (patient_id, clip(Patient.patient_id, patient_id))
    if known.patient_id and patient_id and not (one_person or same):
        return (
            "its Patient ID is not that of the study it names; where both are one person's, enter them in "
            "priors.merged and send it again, else send it as a study of its own, under new UIDs"
        )
    return ""


def owners(
    session: Session, study_uids: Iterable[str], series_uids: Iterable[str], uids: Collection[str] = ()
) -> Owners:
    """What the rows say of studies that have, or had, images, of series and images; others are left out."""
    of_study = select(Study.uid, Patient.patient_id).join(Study.patient).where(not_(_IS_ONLY_EXPECTED))
    of_series = select(Series.uid, Study.uid).join(Series.study)
    of_image = select(Instance.uid, Study.uid).join(Instance.series).join(Series.study)
    return Owners(
        _by_uid(session, of_study, Study.uid, study_uids),
        _by_uid(session, of_series, Series.uid, series_uids),
        _by_uid(session, of_image, Instance.uid, uids),
    )


def only_expected(session: Session, studies: Mapping[str, Study]) -> set[str]:
    """Those of the studies of which no image ever came."""
    closed = [uid for uid, study in studies.items() if not study.is_open]
    if not closed:
        return set()
    return set(session.scalars(select(Study.uid).where(Study.uid.in_(closed), _IS_ONLY_EXPECTED)))


def _by_uid(
    session: Session,
    query: Select[str, str],
    column: InstrumentedAttribute[str],
    uids: Iterable[str],
) -> dict[str, str]:
    """The rows of ``query`` with these in ``column``; where there are none that could be, nobody is asked."""
    wanted = [uid for uid in uids if uid and holds(column, uid)]
    rows = session.execute(query.where(column.in_(wanted))) if wanted else ()
    return {uid: owner for uid, owner in rows}  # noqa: C416  a row is no tuple to dict's types
