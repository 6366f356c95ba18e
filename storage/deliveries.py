"""The outbox: each result object on its way to each destination, once."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Select, and_, delete, func, or_, select, update
from sqlalchemy.orm import Session

from storage.columns import clip, holds
from storage.database import has_come, now
from storage.readings import StoredObject, find_revision, readings_of
from storage.tables import Commitment, Delivery, ReadingRow, ResultObject, Revision, Study

FALLBACKS: Mapping[str, str] = {"seg": "sc", "sr": "sc", "pr": "sc"}
"""What kind of object is sent instead, where it was made, to a destination that takes none of a kind."""
LONGEST_PAUSE = timedelta(hours=1)
MOST_COMMIT_REQUESTS = 5  # for one object, until it counts as unconfirmed


@dataclass(frozen=True)
class DueDelivery:
    """One object to be sent, or to be confirmed; ``attempts`` made so far."""

    id: int
    study_uid: str
    revision: int
    object_uid: str
    kind: str
    path: str
    attempts: int
    destination: str


def post(
    session: Session, study_uid: str, number: int, destination: str, objects: Sequence[StoredObject]
) -> int:
    """Put ``objects`` in the outbox for ``destination``; one that was posted before is not posted again.

    Returns how many are new.
    """
    revision = find_revision(session, study_uid, number)
    known = set(
        session.scalars(
            select(Delivery.object_uid).where(
                Delivery.destination == destination, Delivery.object_uid.in_([o.uid for o in objects])
            )
        )
    )
    fresh = [o for o in objects if o.uid not in known]
    session.add_all(
        Delivery(
            revision_pk=revision.id,
            object_uid=o.uid,
            destination=destination,
            kind=o.kind,
            path=o.path,
            state="waiting",
            attempts=0,
            next_at=now(),
        )
        for o in fresh
    )
    return len(fresh)


def is_posted(session: Session, study_uid: str, number: int) -> bool:
    """Whether anything of the revision is on its way to a destination, or was."""
    revision = find_revision(session, study_uid, number)
    return session.scalar(select(Delivery.id).where(stood_for(revision.id)).limit(1)) is not None


def due(session: Session, destination: str, limit: int = 500) -> list[DueDelivery]:
    """What ``destination`` should be sent now, oldest first; what was tried more often comes last, for it may
    be what the destination breaks off over."""
    return _deliveries(
        session,
        _DELIVERIES.where(
            Delivery.destination == destination,
            Delivery.state == "waiting",
            has_come(Delivery.next_at, now(), LONGEST_PAUSE),
        )
        .order_by(None)
        .order_by(Delivery.attempts, Delivery.id)
        .limit(limit),
    )


def to_be_confirmed(session: Session, destination: str) -> list[DueDelivery]:
    """What ``destination`` should be asked to commit now: of revisions of which nothing waits to be sent."""
    has_come_due = has_come(Delivery.commit_due, now(), LONGEST_PAUSE)
    return _deliveries(session, _DELIVERIES.where(_may_be_confirmed(destination), has_come_due))


def _may_be_confirmed(destination: str) -> ColumnElement[bool]:
    """Of a delivery: that ``destination`` may be asked to commit it, of a revision of which nothing waits."""
    here = Delivery.destination == destination
    waiting = select(Delivery.revision_pk).where(here, Delivery.state == "waiting")
    return and_(
        here,
        Delivery.state == "sent",
        Delivery.commit_due.is_not(None),
        Delivery.revision_pk.not_in(waiting),
    )


def in_transaction(session: Session, transaction_uid: str) -> list[DueDelivery]:
    """What was asked to be committed in a transaction since it was last sent, and has not been confirmed,
    though it may have been given up meanwhile."""
    if not holds(Commitment.transaction_uid, transaction_uid):
        return []
    asked = select(Commitment.delivery_pk).where(Commitment.transaction_uid == transaction_uid)
    return _deliveries(
        session, _DELIVERIES.where(Delivery.id.in_(asked), Delivery.state.in_(("sent", "unconfirmed")))
    )


_DELIVERIES = (
    select(Delivery, Study.uid, Revision.number)
    .join(Revision, Delivery.revision_pk == Revision.id)
    .join(Study, Revision.study_pk == Study.id)
    .order_by(Delivery.id)
)


def _deliveries(session: Session, query: Select[Delivery, str, int]) -> list[DueDelivery]:
    return [
        DueDelivery(d.id, study_uid, number, d.object_uid, d.kind, d.path, d.attempts, d.destination)
        for d, study_uid, number in session.execute(query)
    ]


def next_due(session: Session, destination: str) -> datetime | None:
    """When the next attempt for ``destination`` is due, if any is, to send or to have confirmed."""
    waiting = Delivery.destination == destination, Delivery.state == "waiting"
    send = session.scalar(select(func.min(Delivery.next_at)).where(*waiting))
    confirm = session.scalar(select(func.min(Delivery.commit_due)).where(_may_be_confirmed(destination)))
    return min((moment for moment in (send, confirm) if moment is not None), default=None)


def is_kept(session: Session, delivery_id: int) -> bool:
    """Whether it was not taken back meanwhile; if so, it stays until the session ends."""
    return session.get(Delivery, delivery_id, with_for_update=True) is not None


def record_sent(session: Session, delivery_id: int, *, confirm: bool = False) -> None:
    """The destination has it; with ``confirm``, it is still to be asked to commit it."""
    delivery = session.get_one(Delivery, delivery_id)
    delivery.state = "sent"
    delivery.attempts += 1
    delivery.first_sent_at = delivery.first_sent_at or delivery.sent_at
    delivery.sent_at = now()
    delivery.last_error = ""
    delivery.commit_due = now() if confirm else None
    _forget_transactions(session, delivery)


def record_commit_requested(
    session: Session, delivery_id: int, transaction_uid: str, again_at: datetime
) -> None:
    """It is about to be asked for; unless the answer is there by ``again_at``, it is asked for again."""
    delivery = session.get_one(Delivery, delivery_id)
    session.add(Commitment(delivery_pk=delivery.id, transaction_uid=transaction_uid))
    delivery.commit_requests += 1
    delivery.commit_due = again_at


def record_commit_not_asked(session: Session, transaction_uid: str, reason: str) -> bool:
    """The destination was away: what was about to be asked counts for nothing. Returns whether ``reason`` is
    news."""
    is_news = False
    for each in in_transaction(session, transaction_uid):
        delivery = session.get_one(Delivery, each.id)
        is_news |= delivery.last_error != (text := clip(Delivery.last_error, reason))
        delivery.commit_requests -= 1
        if delivery.state == "sent":
            delivery.commit_due = now()
        delivery.last_error = text
    session.execute(delete(Commitment).where(Commitment.transaction_uid == transaction_uid))
    return is_news


def ask_later(session: Session, destination: str, pause: timedelta) -> None:
    """Nothing is to be confirmed by ``destination`` before ``pause`` is over."""
    at = now() + min(pause, LONGEST_PAUSE)
    due = Delivery.destination == destination, Delivery.state == "sent", Delivery.commit_due < at
    session.execute(update(Delivery).where(*due).values(commit_due=at))


def record_confirmed(session: Session, delivery_id: int) -> None:
    """The destination keeps it. Where it had been given up, what failed with it is still to be settled."""
    delivery = session.get_one(Delivery, delivery_id)
    if delivery.state == "unconfirmed":
        _take_up_again(session, delivery)
    delivery.state = "confirmed"
    delivery.commit_due = None
    delivery.last_error = ""
    _forget_transactions(session, delivery)


def _take_up_again(session: Session, delivery: Delivery) -> None:
    """Take back that revisions failed over what was not confirmed."""
    study_pk = select(Revision.study_pk).where(Revision.id == delivery.revision_pk).scalar_subquery()
    of_study = Revision.study_pk == study_pk, Revision.state == "failed", Revision.stage == "deliver"
    for revision in session.scalars(select(Revision).where(*of_study)).all():
        if session.scalar(select(Delivery.id).where(Delivery.id == delivery.id, stood_for(revision.id))):
            revision.state, revision.reason = "delivering", ""


def _forget_transactions(session: Session, delivery: Delivery) -> None:
    session.execute(delete(Commitment).where(Commitment.delivery_pk == delivery.id))


def record_not_committed(session: Session, delivery_id: int, reason: str) -> bool:
    """The destination does not keep it: it is sent again. Returns False if that was tried often enough."""
    delivery = session.get_one(Delivery, delivery_id)
    delivery.last_error = clip(Delivery.last_error, reason)
    delivery.commit_due = None
    again = delivery.commit_requests < MOST_COMMIT_REQUESTS
    delivery.state = "waiting" if again else "unconfirmed"
    delivery.next_at = now()
    return again


def record_commit_unanswered(session: Session, delivery_id: int, reason: str) -> bool:
    """Whatever was asked had no answer. Returns False if that was often enough: it is not asked again."""
    delivery = session.get_one(Delivery, delivery_id)
    if delivery.commit_requests < MOST_COMMIT_REQUESTS:
        return True
    delivery.last_error = clip(Delivery.last_error, reason)
    delivery.state, delivery.commit_due = "unconfirmed", None
    return False


def record_refused(session: Session, delivery_id: int, reason: str) -> None:
    """The destination will never take this object: it is not tried again."""
    delivery = session.get_one(Delivery, delivery_id)
    delivery.state = "refused"
    delivery.commit_due = None
    delivery.attempts += 1
    delivery.last_error = clip(Delivery.last_error, reason)


def replace(session: Session, refused: DueDelivery, kind: str) -> int:
    """Send the objects of ``kind`` in the place of one that the destination has no use for.

    Returns how many of the study's there are; with none, nothing is changed.
    """
    made = readings_of(session, refused.study_uid, refused.revision)
    objects = [each for reading in made for each in reading.objects if each.kind == kind]
    if objects:
        post(session, refused.study_uid, refused.revision, refused.destination, objects)
        delivery = session.get_one(Delivery, refused.id)
        delivery.state, delivery.commit_due = "replaced", None
        delivery.attempts += 1
    return len(objects)


def record_failed(session: Session, delivery_id: int, reason: str, pause: timedelta) -> datetime:
    """The attempt failed: the next is due after ``pause``, doubled for each attempt, an hour at most."""
    delivery = session.get_one(Delivery, delivery_id)
    delivery.next_at = now() + min(pause * 2 ** min(delivery.attempts, 20), LONGEST_PAUSE)
    delivery.attempts += 1
    delivery.last_error = clip(Delivery.last_error, reason)
    return delivery.next_at


def record_not_offered(session: Session, delivery_id: int, reason: str, pause: timedelta) -> None:
    """Its turn did not come: that is no attempt, and it is due after ``pause``."""
    delivery = session.get_one(Delivery, delivery_id)
    delivery.next_at = now() + min(pause, LONGEST_PAUSE)
    delivery.last_error = clip(Delivery.last_error, reason)


def make_due(session: Session, destination: str) -> None:
    """What waits for ``destination`` waits no longer."""
    waiting = Delivery.destination == destination, Delivery.state == "waiting", Delivery.next_at > now()
    session.execute(update(Delivery).where(*waiting).values(next_at=now()))


def settle(session: Session, study_uid: str, number: int) -> str | None:
    """End each delivering revision of the study whose objects have all left: delivered, or failed when
    something was refused or not confirmed. An object that an earlier revision posted counts for a later one
    that has it too.

    Returns the new state of revision ``number``, None while something of it is still waiting.
    """
    ended = {
        revision.number: _settle(session, revision)
        for revision in session.scalars(
            select(Revision).join(Study).where(Study.uid == study_uid, Revision.state == "delivering")
        ).all()
    }
    return ended.get(number)


def stood_for(revision_pk: int) -> ColumnElement[bool]:
    """Of a delivery: that it is of what this revision posted, or of an object it has that another posted."""
    made = (
        select(ResultObject.uid)
        .join(ReadingRow, ResultObject.reading_pk == ReadingRow.id)
        .where(ReadingRow.revision_pk == revision_pk)
    )
    return or_(Delivery.revision_pk == revision_pk, Delivery.object_uid.in_(made))


def _settle(session: Session, revision: Revision) -> str | None:
    rows = session.execute(select(Delivery.state, Delivery.commit_due).where(stood_for(revision.id))).all()
    states = [state for state, _ in rows]
    if any(state == "waiting" or (state == "sent" and due) for state, due in rows):
        return None
    refused, unconfirmed = states.count("refused"), states.count("unconfirmed")
    if revision.reason or refused or unconfirmed:
        revision.state = "failed"
        revision.stage = revision.stage if revision.reason else "deliver"
        revision.reason = (
            revision.reason
            or (f"{refused} of {len(states)} objects were refused by a destination" if refused else "")
            or f"{unconfirmed} of {len(states)} objects were not confirmed by a destination"
        )
    else:
        revision.state = "delivered"
        revision.stage = ""
    revision.finished_at = now()
    return revision.state


def retire(session: Session, destinations: Collection[str]) -> int:
    """Give up what waits for a destination that is no longer among ``destinations``; returns how many."""
    gone = session.execute(
        select(Delivery, Study.uid, Revision.number)
        .join(Revision, Delivery.revision_pk == Revision.id)
        .join(Study, Revision.study_pk == Study.id)
        .where(
            or_(Delivery.state == "waiting", Delivery.commit_due.is_not(None)),
            Delivery.destination.not_in(destinations),
        )
    ).all()
    for delivery, study_uid, number in gone:
        record_refused(
            session, delivery.id, f"destination {delivery.destination!r} is no longer in the settings"
        )
        settle(session, study_uid, number)
    return len(gone)


def forget_unwanted(
    session: Session, study_uid: str, number: int, wanted: Mapping[str, Collection[str]]
) -> int:
    """Take back what failed, or still waits, of a revision's objects on the way to where they are not to go
    any more; returns how many. What did arrive there, though it was never confirmed, counts as sent.
    ``wanted``: the kinds of objects that are set for each destination, by its name."""
    revision = find_revision(session, study_uid, number)
    of_it = select(Delivery).where(stood_for(revision.id)).order_by(Delivery.id)
    made = session.scalars(of_it.with_for_update()).all()  # else one just sent would be taken back
    kept = still_wanted(made, wanted)
    never_done = [each for each in made if each.state in ("waiting", "refused", "unconfirmed")]
    unwanted = [each for each in never_done if each not in kept]
    for delivery in unwanted:
        _forget_transactions(session, delivery)
        if delivery.sent_at is None:
            session.delete(delivery)
        else:
            delivery.state, delivery.commit_due, delivery.last_error = "sent", None, ""
    session.flush()
    return len(unwanted)


def still_wanted(made: Sequence[Delivery], wanted: Mapping[str, Collection[str]]) -> list[Delivery]:
    """Those of a kind that is set for their destination, or that went in the place of such a one there.
    ``wanted``: the kinds of objects that are set for each destination, by its name."""

    def is_set(each: Delivery) -> bool:
        return each.kind in wanted.get(each.destination, ())

    instead = {
        (one.destination, FALLBACKS[one.kind]) for one in made if one.state == "replaced" and is_set(one)
    }
    return [one for one in made if is_set(one) or (one.destination, one.kind) in instead]
