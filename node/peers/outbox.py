"""Empties the outbox: every destination at its own pace, for as long as it takes."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path

from pydicom.uid import generate_uid
from sqlalchemy.orm import Session

from node.peers import commitment
from node.peers.sending import AwayError, DeliveryError, Destination, Receipt
from node.settings import DestinationSettings
from node.upkeep.periodic import PeriodicTask
from storage import audit, deliveries
from storage.contents import name_of
from storage.database import Database, now
from storage.deliveries import FALLBACKS, DueDelivery
from storage.events import log_event

SECONDS_TO_END = 10  # for each destination that is being sent to, when the node stops
LONGEST_WAIT = 5.0  # seconds between looks at the outbox, so that one filled by a person is seen
COMMITMENT_PATIENCE = timedelta(minutes=5)  # for the result of a storage commitment request


class Outbox:
    """One thread a destination sends what is due, and asks the database what is next.

    The rows are the truth: an attempt that a crash cut short is made again, with the same object.
    """

    def __init__(
        self,
        database: Database,
        root: Path,
        destinations: Mapping[str, tuple[DestinationSettings, Destination]],
        patience: timedelta = COMMITMENT_PATIENCE,
    ) -> None:
        self._patience = patience
        self._database = database
        self._root = root
        self._stopping = threading.Event()
        self._away: dict[str, float] = {}  # who took no association, and when to ask them again
        self.tasks = tuple(
            PeriodicTask(
                f"outbox {name}",
                partial(self._empty, settings, destination),
                LONGEST_WAIT,
                f"results for {name} cannot be sent",
            )
            for name, (settings, destination) in destinations.items()
        )

    def start(self) -> None:
        for task in self.tasks:
            task.wake()
            task.start()

    def wake(self) -> None:
        """Something was posted."""
        for task in self.tasks:
            task.wake()

    def stop(self) -> None:
        self._stopping.set()
        for task in self.tasks:
            task.stop(SECONDS_TO_END)

    def _empty(self, settings: DestinationSettings, destination: Destination) -> float:
        """Send what is due; returns the seconds until the next look."""
        if self._stopping.is_set():
            return LONGEST_WAIT
        with self._database.snapshot() as session:
            due = deliveries.due(session, settings.name)
            unconfirmed = deliveries.to_be_confirmed(session, settings.name)
            upcoming = deliveries.next_due(session, settings.name)
        if due:
            self._send(destination, settings, due)
            return 0.0
        if unconfirmed:
            for study_uid, revision in dict.fromkeys((each.study_uid, each.revision) for each in unconfirmed):
                if self._stopping.is_set() or not self._confirm(destination, settings, study_uid, revision):
                    break
            return 0.0
        if self._is_back(destination, settings):
            return 0.0
        wait = (upcoming - now()).total_seconds() if upcoming else LONGEST_WAIT
        return min(max(0.0, wait), LONGEST_WAIT)

    def _send(self, destination: Destination, settings: DestinationSettings, due: list[DueDelivery]) -> None:
        by_path = {self._root / delivery.path: delivery for delivery in due}
        receipts: list[tuple[DueDelivery, Receipt]] = []
        for receipt in destination.send(list(by_path)):
            delivery = by_path[receipt.path]
            with self._database.session() as session:
                if deliveries.is_kept(session, delivery.id):
                    _record(session, settings, delivery, receipt)
            receipts.append((delivery, receipt))
            if self._stopping.is_set():
                break
        with self._database.session() as session:
            _say_what_is_accepted(session, settings.name, receipts)
            _say_who_has_it(session, settings, receipts)
        if any(receipt.is_away for _, receipt in receipts):
            self._away[settings.name] = time.monotonic() + settings.retry_seconds
        else:
            self._away.pop(settings.name, None)

    def _is_back(self, destination: Destination, settings: DestinationSettings) -> bool:
        """Ask a destination that was away; once it answers, what waits for it need not wait any longer."""
        if time.monotonic() < self._away.get(settings.name, math.inf):
            return False
        try:
            destination.echo()
        except DeliveryError:
            self._away[settings.name] = time.monotonic() + settings.retry_seconds
            return False
        del self._away[settings.name]
        with self._database.session() as session:
            deliveries.make_due(session, settings.name)
        return True

    def _confirm(
        self, destination: Destination, settings: DestinationSettings, study_uid: str, revision: int
    ) -> bool:
        """Ask for storage commitment of one revision's objects; what is not answered is asked for again, in
        a transaction of its own: of one that is repeated a destination may say that it knows it already.
        Returns whether the destination was there; one that was away is asked for nothing for a while."""
        transaction = generate_uid(prefix=None)
        with self._database.session() as session:
            note = partial(log_event, session, "deliver", study_uid=study_uid, revision=revision)
            due = deliveries.to_be_confirmed(session, settings.name)
            sent = [each for each in due if (each.study_uid, each.revision) == (study_uid, revision)]
            asked = [each for each in sent if _may_ask(session, each)]
            again_at = now() + self._patience  # for all of them alike, that they stay in one transaction
            for each in asked:
                deliveries.record_commit_requested(session, each.id, transaction, again_at)
            if lost := len(sent) - len(asked):
                note(f"{settings.name} never confirmed {lost} objects", level="error")
            deliveries.settle(session, study_uid, revision)
        if not asked:
            return True
        try:
            report = destination.commit(transaction, [self._root / each.path for each in asked])
        except AwayError as error:
            text = f"storage commitment could not be asked for: {error}"
            with self._database.session() as session:
                if deliveries.record_commit_not_asked(session, transaction, text):
                    log_event(session, "deliver", text, study_uid=study_uid, revision=revision)
                deliveries.ask_later(session, settings.name, timedelta(seconds=settings.retry_seconds))
            return False
        except DeliveryError as error:
            text = f"storage commitment could not be asked for: {error}"
        else:
            text = f"{settings.name} is asked to commit {len(asked)} objects"
            if report is not None and commitment.record(self._database, report):
                return True
        with self._database.session() as session:
            log_event(session, "deliver", text, study_uid=study_uid, revision=revision)
        return True


def _say_who_has_it(
    session: Session, settings: DestinationSettings, receipts: Sequence[tuple[DueDelivery, Receipt]]
) -> None:
    """Into the audit trail, one line for each study."""
    sent = Counter(delivery.study_uid for delivery, receipt in receipts if receipt.outcome == "sent")
    for study_uid, count in sent.items():
        text = f"was sent {count} result {'object' if count == 1 else 'objects'}"
        audit.note(session, "delivered", settings.name, text, address=settings.host, study_uid=study_uid)


def _may_ask(session: Session, delivery: DueDelivery) -> bool:
    return deliveries.record_commit_unanswered(session, delivery.id, "storage commitment was not answered")


def _record(session: Session, settings: DestinationSettings, delivery: DueDelivery, receipt: Receipt) -> None:
    """Write down what became of one object, and end its revision when it was the last.

    An outage that lasts is said once, not at each attempt.
    """
    log_here = partial(
        log_event, session, "deliver", study_uid=delivery.study_uid, revision=delivery.revision
    )
    name = name_of(delivery.kind, delivery.path)
    pause = timedelta(seconds=settings.retry_seconds)
    if receipt.outcome == "sent":
        deliveries.record_sent(session, delivery.id, confirm=settings.confirm)
        log_here(f"{name} is in {settings.name}")
    elif receipt.is_kind_refused and _replaced(session, delivery):
        instead = FALLBACKS[delivery.kind].upper()
        log_here(f"{name} is replaced by {instead}: {receipt.reason}", level="warning")
    elif receipt.outcome == "refused":
        deliveries.record_refused(session, delivery.id, receipt.reason)
        log_here(f"{name} was refused: {receipt.reason}", level="error")
    elif receipt.outcome == "not offered":
        deliveries.record_not_offered(session, delivery.id, receipt.reason, pause)
    else:
        next_at = deliveries.record_failed(session, delivery.id, receipt.reason, pause)
        if delivery.attempts == 0:
            log_here(
                f"{name} could not be sent, next try at {next_at:%H:%M:%S} UTC: {receipt.reason}",
                level="warning",
            )
    deliveries.settle(session, delivery.study_uid, delivery.revision)


def _replaced(session: Session, delivery: DueDelivery) -> bool:
    fallback = FALLBACKS.get(delivery.kind)
    return fallback is not None and deliveries.replace(session, delivery, fallback) > 0


def _say_what_is_accepted(
    session: Session, name: str, receipts: Sequence[tuple[DueDelivery, Receipt]]
) -> None:
    """Which kinds of objects a destination takes, on the timeline of each study that has one it does not."""
    for study_uid, revision in dict.fromkeys((d.study_uid, d.revision) for d, _ in receipts):
        of_it = [
            (d.kind.upper(), r) for d, r in receipts if (d.study_uid, d.revision) == (study_uid, revision)
        ]
        taken = dict.fromkeys(kind for kind, receipt in of_it if receipt.outcome == "sent")
        left = dict.fromkeys(kind for kind, receipt in of_it if receipt.is_kind_refused)
        if left:
            text = f"{name} accepts {', '.join(taken) or 'nothing'}; not {', '.join(left)}"
            log_event(session, "deliver", text, study_uid=study_uid, revision=revision, level="warning")
