"""The one thread that enters what was received into the database, in batches, behind the receiver's back.

A sender's "success" rests on the file. Should the database be slow or away, images wait here; should the
node die meanwhile, their names in the archive's ``incoming`` bring them back on start. What should be set
aside, or lose its name there, and cannot be, waits too, holds nothing up, and is tried again now and then.
"""

from __future__ import annotations

import logging
import math
import queue
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from node.intake.belongings import Belongings
from storage import audit
from storage.archive import Archive
from storage.audit import AuditEntry
from storage.belonging import owners
from storage.database import Database, now
from storage.errors import said
from storage.figures import Entered
from storage.intake import Misfit, Received, is_recorded, record
from storage.refusals import NO_STATUS, Refused, note_refusals
from storage.resends import Lines, Resent, note_resends

log = logging.getLogger(__name__)

SECONDS_BETWEEN_LOOKS = 0.2  # of who waits, at whether anybody still writes
ATTEMPTS = 2  # of writing one entry before it is given up: what failed may have been passing
LONGEST_PAUSE = 30.0  # seconds between attempts while the database is away
SECONDS_BETWEEN_MOVES = 30.0  # of files that could not be moved or removed


class LedgerFullError(RuntimeError):
    """The database has fallen behind too far for more to be taken in."""


class LedgerStoppedError(RuntimeError):
    """Nothing is written any more; what waits comes back on the next start."""


@dataclass(frozen=True)
class Entry:
    """An image that lies in the archive, and its name in ``incoming``."""

    received: Received
    incoming_name: str


Item = Entry | Refused | Resent | AuditEntry


class Ledger:
    """Takes images, refusals, resends and lines of the audit trail from any thread and writes them with one.

    A batch is given ``linger`` seconds to grow, so that the database costs a fast sender next to nothing.
    ``capacity``: how many may wait before whoever brings more is kept waiting himself, ``patience`` seconds.
    ``merged``: patient IDs that are one patient's. ``belongings`` are told what is committed, so that what
    contradicts it is refused at the door.
    """

    def __init__(
        self,
        database: Database,
        archive: Archive,
        merged: Sequence[Sequence[str]] = (),
        belongings: Belongings | None = None,
        *,
        batch: int = 512,
        linger: float = 0.25,
        capacity: int = 20_000,
        patience: float = 5,
    ) -> None:
        self._database = database
        self._archive = archive
        self._merged = merged
        self._belongings = belongings or Belongings(merged)
        self._batch = batch
        self._linger = linger
        self._capacity = capacity
        self._patience = patience
        self._resends: Lines = {}
        self._waiting: queue.SimpleQueue[Item | threading.Event] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._hurry = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)
        self._held: Mapping[Entry, OSError] = {}  # whose files could not be moved or removed, and why
        self._held_until = 0.0
        self._away: str | None = None  # what keeps the database from being written
        self.entered = Entered()
        """What was written since the start."""

    @property
    def problem(self) -> str | None:
        """What is wrong at the moment; None when nothing is."""
        if self._thread.ident is not None and not self._thread.is_alive() and not self._stopping.is_set():
            return (
                "What comes in is no longer entered: the thread that did it has ended. Restart the node; it "
                "enters then what lies on its disk."
            )
        return self._away or _stuck(self._held)

    def start(self) -> None:
        self._thread.start()

    def stop(self, seconds: float = 10) -> None:
        """Write what waits, for at most ``seconds``. Images that are left come back on the next start; of the
        rest, which nothing else holds, the log has a line each."""
        self._stopping.set()
        self._hurry.set()
        self._waiting.put(threading.Event())
        self._thread.join(seconds)

    def await_room(self, seconds: float | None = None) -> None:
        """Wait until there is room for one more, for ``seconds`` or else the ledger's ``patience``. Whoever
        is to be told that there is none has to be told before a file of his is kept.

        Raises:
            LedgerFullError: there was none meanwhile.
        """
        until = 0.0
        while self._waiting.qsize() + len(self._held) >= self._capacity:
            until = until or time.monotonic() + (self._patience if seconds is None else seconds)
            if time.monotonic() > until:
                raise LedgerFullError(self.problem or "the database has fallen behind")
            time.sleep(0.02)

    def enter(self, entry: Item) -> None:
        """Have an image, a refusal, a resend or a line of the audit trail written soon."""
        self._waiting.put(entry)

    def settle(self, seconds: float = math.inf) -> bool:
        """Wait until everything entered so far is written, or for ``seconds``; returns whether it is.

        Raises:
            LedgerStoppedError: it will not be before the next start.
        """
        reached = threading.Event()
        self._waiting.put(reached)
        self._hurry.set()
        until = time.monotonic() + seconds
        while not reached.wait(SECONDS_BETWEEN_LOOKS):
            if not self._thread.is_alive() and not reached.is_set():
                raise LedgerStoppedError("the node is stopping; what came in is entered on its next start")
            if time.monotonic() > until:
                return False
        return True

    def _run(self) -> None:
        while True:
            if self._held and time.monotonic() >= self._held_until and not self._look_again():
                self._log_what_is_lost([])
                return
            batch, reached = self._next_batch()
            if batch:
                stuck = self._write_in_the_end(batch)
                if stuck is None:
                    self._log_what_is_lost(batch)
                    return
                self._hold({**self._held, **stuck})
            if reached is not None:
                self._hurry.clear()
                reached.set()
                if self._stopping.is_set():
                    return

    def _next_batch(self) -> tuple[list[Item], threading.Event | None]:
        """What to write next, and who waits until it is written."""
        batch: list[Item] = []
        while len(batch) < self._batch:
            try:
                item = self._waiting.get(block=not batch, timeout=self._until_moves())
            except queue.Empty:
                break
            if isinstance(item, threading.Event):
                return batch, item
            if not batch:
                self._hurry.wait(self._linger)
            batch.append(item)
        return batch, None

    def _until_moves(self) -> float | None:
        """Seconds to wait for something new, until files that could not be moved are tried again."""
        return max(0.0, self._held_until - time.monotonic()) if self._held else None

    def _look_again(self) -> bool:
        """Try once more what could not be moved or removed; False when we are to stop before that."""
        held = [*self._held]
        batches = [held[first : first + self._batch] for first in range(0, len(held), self._batch)]
        stuck = self._write_each(batches)
        if stuck is None:
            return False
        self._held_until = time.monotonic() + SECONDS_BETWEEN_MOVES
        self._hold(stuck)
        return True

    def _hold(self, stuck: Mapping[Entry, OSError]) -> None:
        """Images whose files cannot be moved or removed: as they are, nothing is lost."""
        if stuck and not self._held:  # the next one puts the first one's turn not off
            self._held_until = time.monotonic() + SECONDS_BETWEEN_MOVES
            log.warning(
                "A file cannot be moved or removed, which is tried again: %s", next(iter(stuck.values()))
            )
        self._held = stuck

    def _log_what_is_lost(self, batch: Sequence[Item]) -> None:
        waiting = [self._waiting.get() for _ in range(self._waiting.qsize())]
        for item in [*batch, *waiting]:
            if not isinstance(item, Entry | threading.Event):
                log.warning("The database was away, and this is written down here alone: %s", _named(item))

    def _write_each(self, batches: Sequence[Sequence[Item]]) -> dict[Entry, OSError] | None:
        stuck: dict[Entry, OSError] = {}
        for batch in batches:
            of_batch = self._write_in_the_end(batch)
            if of_batch is None:
                return None
            stuck.update(of_batch)
        return stuck

    def _write_in_the_end(self, batch: Sequence[Item]) -> dict[Entry, OSError] | None:
        """Write, however long the database is away; returns whose files could not be moved or removed, and
        None when we are to stop before that."""
        pause = 0.5
        refusals: list[Exception] = []
        while True:
            try:
                if len(refusals) < ATTEMPTS:
                    stuck = self._write(batch)
                else:
                    stuck = self._give_up(batch[0], refusals[-1])
            except Exception as error:
                if not _is_away(error):
                    if len(batch) > 1:
                        return self._write_each([[one] for one in batch])
                    if len(refusals) == ATTEMPTS:
                        log.exception(
                            "What the database does not take could not be set aside: %s", _named(batch[0])
                        )
                        return {}
                    refusals.append(error)
                    continue
                self._away = f"The database cannot be written ({said(error)}); received images wait."
                log.warning("%s Trying again in %.0f s.", self._away, pause)
                if self._stopping.wait(pause):
                    return None
                pause = min(2 * pause, LONGEST_PAUSE)
                continue
            self._away = None
            return stuck

    def _write(self, batch: Sequence[Item]) -> dict[Entry, OSError]:
        entries = [one for one in batch if isinstance(one, Entry)]
        refused = [one for one in batch if isinstance(one, Refused)]
        resent = [one for one in batch if isinstance(one, Resent)]
        by_image = {entry.received: entry for entry in entries}
        open_session = self._database.durable_session if self._archive.durable else self._database.session
        images = [entry.received for entry in entries]
        stuck: dict[Entry, OSError] = {}
        with open_session() as session:
            misfits = record(session, images, self._merged).misfits if images else ()
            for misfit in misfits:
                entry = by_image[misfit.received]
                try:
                    refused.append(self._withdrawn(misfit, entry.incoming_name))
                except OSError as error:
                    stuck[entry] = error
            if refused:
                note_refusals(session, refused)
            resends = note_resends(session, resent, self._resends)
            audit.enter(session, [one for one in batch if isinstance(one, AuditEntry)])
            # also of what was refused: a person may have given the study to another patient meanwhile
            held = owners(
                session,
                {image.study_uid for image in images} | {one.study_uid for one in refused},
                {image.series_uid for image in images},
                {misfit.received.uid for misfit in misfits},
            )
        fitting = set(images) - {misfit.received for misfit in misfits}
        self._count(len(fitting), len(refused))
        self._belongings.learn(held, {image.uid: image.study_uid for image in fitting})
        self._resends = resends
        for entry in entries:
            if entry not in stuck:
                stuck.update(self._end(entry))
        return stuck

    def _end(self, entry: Entry) -> dict[Entry, OSError]:
        """Its row is committed."""
        try:
            self._archive.recorded(entry.incoming_name, entry.received.path)
        except OSError as error:
            return {entry: error}
        return {}

    def _withdrawn(self, misfit: Misfit, incoming_name: str) -> Refused:
        image = misfit.received
        return Refused(
            at=now(),
            caller=image.source,
            address="",
            status=NO_STATUS,
            reason=f"received, then set aside: {misfit.reason}",
            study_uid=image.study_uid,
            uid=image.uid,
            sop_class=image.sop_class,
            path=self._archive.withdraw(image.path, incoming_name),
        )

    def _give_up(self, item: Item, error: Exception) -> dict[Entry, OSError]:
        """Set an entry aside that the database will never take, so that what follows is not held up; not the
        file of an image that has its row, which only came again."""
        log.error("The database does not take %s: %s", _named(item), said(error), exc_info=error)
        if not isinstance(item, Entry):
            return {}
        with self._database.snapshot() as session:
            has_row = is_recorded(session, item.received)
        if has_row:
            return self._end(item)
        reason = f"the database does not take it ({said(error)})"
        try:
            note = self._withdrawn(Misfit(item.received, reason), item.incoming_name)
        except OSError as stuck:
            return {item: stuck}
        with self._database.session() as session:
            note_refusals(session, [note])
        self._count(0, 1)
        return {}

    def _count(self, images: int, refusals: int) -> None:
        self.entered = Entered(self.entered.images + images, self.entered.refusals + refusals)


def _stuck(held: Mapping[Entry, OSError]) -> str | None:
    """What keeps files from being moved or removed, in words; None where nothing does."""
    if not held:
        return None
    *_, error = held.values()
    return (
        f"Files of {len(held)} received images cannot be moved or removed ({said(error)}); they stay where "
        "they are, and it is tried again. Make their folders writable, or make room there."
    )


def _named(item: Item) -> str:
    """Which entry it is, without a patient's name."""
    match item:
        case Entry():
            return f"image {item.received.uid} of study {item.received.study_uid} ({item.incoming_name})"
        case Refused():
            return f"refusal of {item.caller}@{item.address}, {item.uid or 'no object'}: {item.reason}"
        case Resent():
            return f"{item.count} images of study {item.study_uid} that came again from {item.source}"
        case AuditEntry():
            what = f"audit line {item.at:%Y-%m-%d %H:%M:%S} {item.kind}, {item.who} at {item.address}"
            return f"{what}, study {item.study_uid or '-'}: {item.text}"


def _is_away(error: Exception) -> bool:
    """Whether the database or the machine, not the entry, is to blame: it may be taken later."""
    at_fault = isinstance(error, DBAPIError | PoolTimeoutError | OSError | MemoryError)
    return at_fault and not isinstance(error, DataError | IntegrityError)
