"""Whether images that were deleted are back: a part of a study is not read as if it were all of it."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session, undefer

from storage.tables import Instance, ReadingRow, Revision, Series, Study


def note_deleted(session: Session, study: Study) -> None:
    """Remember which images of a study are about to be deleted, beside those that were before."""
    for series in _series(session, study):
        series.deleted_uids = sorted({*series.deleted_uids, *_held(session, series)})


def still_missing(session: Session, study: Study) -> int:
    """How many images of the series that were read were deleted and are not back; a PET is read with the CT
    beside it. Where nothing was read, of any series; and of those deleted before 0008, of which no names were
    kept, as many as the study had more."""
    every = _series(session, study)
    if not any(series.deleted_uids for series in every):
        return max(_most(session, study) - sum(len(_held(session, series)) for series in every), 0)
    read = _series_read(session, study)
    with_ct = any(series.modality == "PT" and series.uid in read for series in every)
    wanted = [s for s in every if not read or s.uid in read or (with_ct and s.modality == "CT")]
    return sum(len(set(series.deleted_uids) - _held(session, series)) for series in wanted)


def is_whole(session: Session, series_uid: str) -> bool:
    """Whether all images of a series are here, whatever became of others of its study. Of those deleted
    before 0008 no names were kept: a series is not whole then while its study is not."""
    whose = select(Series.study_pk).where(Series.uid == series_uid).scalar_subquery()
    study = session.scalars(select(Study).where(Study.id == whose)).one_or_none()
    if study is None:
        return False
    every = _series(session, study)
    names_kept = study.images_deleted_at is None or any(series.deleted_uids for series in every)
    (series,) = (series for series in every if series.uid == series_uid)
    held = _held(session, series)
    return bool(held) and names_kept and held.issuperset(series.deleted_uids)


def was_read(session: Session, study: Study) -> bool:
    """Whether a reading of the study is kept."""
    return bool(_series_read(session, study))


def note_whole(session: Session, study: Study) -> None:
    """Forget that images of a study were deleted: they are back, or a person wants what is here read."""
    study.images_deleted_at = None
    for series in _series(session, study):
        series.deleted_uids = []


def _series(session: Session, study: Study) -> list[Series]:
    query = select(Series).where(Series.study_pk == study.id).options(undefer(Series.deleted_uids))
    return list(session.scalars(query.execution_options(populate_existing=True)))


def _held(session: Session, series: Series) -> set[str]:
    return set(session.scalars(select(Instance.uid).where(Instance.series_pk == series.id)))


def _series_read(session: Session, study: Study) -> set[str]:
    of_study = Revision.study_pk == study.id
    return set(session.scalars(select(ReadingRow.series_uid).join(ReadingRow.revision).where(of_study)))


def _most(session: Session, study: Study) -> int:
    """How many images the study had when it had most."""
    return session.scalar(select(func.max(Revision.image_count)).where(Revision.study_pk == study.id)) or 0
