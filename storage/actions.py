"""What an administrator can ask for a study: read it now, read it again, send its results again."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlalchemy import exists, not_, or_, select
from sqlalchemy.orm import Session

from storage.database import now
from storage.deleted_images import note_whole, still_missing
from storage.deliveries import forget_unwanted, still_wanted, stood_for
from storage.events import count_of, log_event
from storage.own_results import is_own_result
from storage.readings import UNFINISHED
from storage.tables import Delivery, Instance, ReadingRow, Revision, Series, Study


class ActionRefusedError(Exception):
    """What was asked for cannot be done as the study stands; the message says why."""


def read_now(session: Session, study_uid: str, asked_by: str) -> int:
    """Close the study without waiting for its quiet period, whatever of it was deleted; returns how many
    images it is read without.

    Raises:
        LookupError: the study never came in.
        ActionRefusedError: no image is waiting to be read, or all were deleted.
    """
    study = _study(session, study_uid)
    if not study.is_open:
        raise ActionRefusedError("Every image of this study is part of a reading already. Use “Read again”.")
    _refuse_without_images(session, study)
    return _read(session, study, f"Reading now was asked for by {asked_by}")


def read_again(session: Session, study_uid: str, asked_by: str) -> int:
    """Have the study closed once more, as a new revision with all its images that are here; returns how many
    it is read without, because they were deleted. What is only compared again is not waited for.

    Raises:
        LookupError: the study never came in.
        ActionRefusedError: its images are still coming in or were all deleted, or a reading is under way.
    """
    study = _study(session, study_uid)
    if study.is_open:
        raise ActionRefusedError("This study is still coming in. Use “Read now” to read it as it stands.")
    _refuse_without_images(session, study)
    asked = study.read_now and not study.compare_again
    newest = _newest_revision(session, study)
    if asked or (newest is not None and _is_under_way(newest)):
        raise ActionRefusedError("A reading of this study is under way already.")
    return _read(session, study, f"Reading again was asked for by {asked_by}")


def send_again(session: Session, study_uid: str, asked_by: str, wanted: Mapping[str, Collection[str]]) -> int:
    """Put every delivery of the newest results to where the settings still want them back into the outbox,
    due at once; returns how many. What an earlier revision posted of the same objects is among them; what
    could not be sent elsewhere counts no more. A revision that ended without a reading stays as it ended,
    though its report of that is sent. ``wanted``: the kinds of objects that are set for each destination, by
    its name.

    Raises:
        LookupError: the study never came in.
        ActionRefusedError: the study has no result to send, or none to a destination that is still set.
    """
    study = _study(session, study_uid)
    sent = _newest_with_results(session, study)
    if sent is None:
        raise ActionRefusedError("This study has no result to send. Use “Read again” to make one.")
    forget_unwanted(session, study_uid, sent.number, wanted)
    made = session.scalars(select(Delivery).where(stood_for(sent.id))).all()
    deliveries = still_wanted(made, wanted)
    if not deliveries:
        raise ActionRefusedError(
            "The newest results of this study were sent to none of the destinations in the settings. Use "
            "“Read again” to send them there."
        )
    for delivery in deliveries:
        delivery.state, delivery.attempts, delivery.next_at = "waiting", 0, now()
        delivery.last_error = ""
        delivery.commit_requests, delivery.commit_due = 0, None
    if any(reading.objects for reading in sent.readings):
        sent.state = "delivering"
        if sent.stage in ("", "deliver"):  # what failed before is not mended by sending
            sent.stage, sent.reason = "deliver", ""
    text = f"Sending again was asked for by {asked_by}."
    log_event(session, "deliver", text, study_uid=study_uid, revision=sent.number)
    return len(deliveries)


def _read(session: Session, study: Study, asked: str) -> int:
    """Have what is here of a study read, as a person wants it."""
    missing = still_missing(session, study) if study.images_deleted_at is not None else 0
    without = f", without {count_of(missing, 'image')} that were deleted" if missing else ""
    note_whole(session, study)
    study.read_now, study.compare_again = True, False
    log_event(session, "receive", f"{asked}{without}.", study_uid=study.uid)
    return missing


def _is_under_way(revision: Revision) -> bool:
    """Whether it is read, or soon will be: a comparison made again waits for all other studies."""
    return revision.state == "reading" or (revision.state == "queued" and not revision.compares_again)


def _refuse_without_images(session: Session, study: Study) -> None:
    """
    Raises:
        ActionRefusedError: its images were all deleted; results of this node's that came back are none.
    """
    images = select(Instance.id).join(Instance.series).where(Series.study_pk == study.id)
    if study.images_deleted_at is not None and not session.scalar(
        select(images.where(not_(is_own_result())).exists())
    ):
        raise ActionRefusedError("The images of this study were deleted. Send it again to have it read.")


def _study(session: Session, uid: str) -> Study:
    """The study, locked, so that none of its images is deleted meanwhile."""
    study = session.scalars(select(Study).where(Study.uid == uid).with_for_update()).one_or_none()
    if study is None:
        raise LookupError(f"No study {uid} has come in.")
    return study


def _newest_revision(session: Session, study: Study) -> Revision | None:
    query = select(Revision).where(Revision.study_pk == study.id).order_by(Revision.number.desc()).limit(1)
    return session.scalars(query).one_or_none()


def _newest_with_results(session: Session, study: Study) -> Revision | None:
    """The newest revision that has ended with anything to send: what was read, or why nothing was."""
    posted = exists().where(Delivery.revision_pk == Revision.id)
    query = (
        select(Revision)
        .where(Revision.study_pk == study.id, Revision.state.not_in(UNFINISHED))
        .where(or_(posted, Revision.readings.any(ReadingRow.objects.any())))
        .order_by(Revision.number.desc())
        .limit(1)
    )
    return session.scalars(query).one_or_none()
