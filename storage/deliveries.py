"""The outbox: each result object on its way to each destination, once."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from storage.database import now
from storage.readings import StoredObject, find_revision
from storage.tables import Delivery, Revision, Study

LONGEST_PAUSE = timedelta(hours=1)


@dataclass(frozen=True)
class DueDelivery:
    """One object to be sent; ``attempts`` made so far."""

    id: int
    study_uid: str
    revision: int
    object_uid: str
    kind: str
    path: str
    attempts: int


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


def due(session: Session, destination: str, limit: int = 500) -> list[DueDelivery]:
    """What ``destination`` should be sent now, oldest first."""
    rows = session.execute(
        select(Delivery, Study.uid, Revision.number)
        .join(Revision, Delivery.revision_pk == Revision.id)
        .join(Study, Revision.study_pk == Study.id)
        .where(Delivery.destination == destination, Delivery.state == "waiting", Delivery.next_at <= now())
        .order_by(Delivery.id)
        .limit(limit)
    )
    return [
        DueDelivery(d.id, study_uid, number, d.object_uid, d.kind, d.path, d.attempts)
        for d, study_uid, number in rows
    ]


def next_due(session: Session, destination: str) -> datetime | None:
    """When the next attempt for ``destination`` is due, if any is waiting."""
    return session.scalar(
        select(func.min(Delivery.next_at)).where(
            Delivery.destination == destination, Delivery.state == "waiting"
        )
    )


def record_sent(session: Session, delivery_id: int) -> None:
    delivery = session.get_one(Delivery, delivery_id)
    delivery.state = "sent"
    delivery.attempts += 1
    delivery.sent_at = now()
    delivery.last_error = ""


def record_refused(session: Session, delivery_id: int, reason: str) -> None:
    """The destination will never take this object: it is not tried again."""
    delivery = session.get_one(Delivery, delivery_id)
    delivery.state = "refused"
    delivery.attempts += 1
    delivery.last_error = reason[:2000]


def record_failed(session: Session, delivery_id: int, reason: str, pause: timedelta) -> datetime:
    """The attempt failed: the next is due after ``pause``, doubled for each attempt, an hour at most."""
    delivery = session.get_one(Delivery, delivery_id)
    delivery.next_at = now() + min(pause * 2 ** min(delivery.attempts, 20), LONGEST_PAUSE)
    delivery.attempts += 1
    delivery.last_error = reason[:2000]
    return delivery.next_at


def settle(session: Session, study_uid: str, number: int) -> str | None:
    """End a delivering revision whose outbox is empty: delivered, or failed when something was refused.

    Returns its new state, None while something is still waiting.
    """
    revision = find_revision(session, study_uid, number)
    if revision.state != "delivering":
        return None
    states = list(session.scalars(select(Delivery.state).where(Delivery.revision_pk == revision.id)))
    if "waiting" in states:
        return None
    refused = states.count("refused")
    if revision.reason or refused:
        revision.state = "failed"
        revision.stage = revision.stage if revision.reason else "deliver"
        revision.reason = (
            revision.reason or f"{refused} of {len(states)} objects were refused by a destination"
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
        .where(Delivery.state == "waiting", Delivery.destination.not_in(destinations))
    ).all()
    for delivery, study_uid, number in gone:
        record_refused(
            session, delivery.id, f"destination {delivery.destination!r} is no longer in the settings"
        )
        settle(session, study_uid, number)
    return len(gone)
