"""Takes objects in, whatever carried them here: written, examined, kept, answered."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from shutil import disk_usage

from node.intake.belongings import Belongings
from node.intake.examination import (
    CANNOT_UNDERSTAND,
    CONFLICT,
    HEAD,
    OUT_OF_RESOURCES,
    Announcement,
    RefusedError,
    Scratch,
    examine,
    study_uid_of,
)
from node.intake.header import Header
from node.intake.ledger import Entry, Ledger, LedgerFullError
from node.intake.notes import RefusalNotes
from storage.archive import Archive, ContentConflictError, IncomingFile, UnsafeUidError
from storage.database import LEAST_FREE_BYTES, now
from storage.intake import Received
from storage.part10 import decode_head, encode_head
from storage.refusals import Refused

log = logging.getLogger(__name__)

SUCCESS = 0x0000
SECONDS_BETWEEN_LOOKS_AT_THE_DISK = 0.1
SECONDS_TO_ADOPT = 600.0  # what an earlier run left, with a database that has fallen behind


@dataclass(frozen=True)
class Answer:
    """What the sender is told: a DICOM status (PS3.4 B.2.3) and, unless it is success, why. ``study_uid`` is
    that of an object that was kept; ``was_here``: the very same was kept before."""

    status: int
    comment: str = ""
    study_uid: str = ""
    was_here: bool = False


class Acceptance:
    """Where every received object ends: in the archive, or in quarantine with a reason.

    ``minimum_free`` bytes stay free on the disk: before it is full, senders are told to come back. So they
    are before the disk of the database is full, where that is another: ``database_folder``.
    ``maximum_object`` bytes are the most that one object may have.
    """

    def __init__(
        self,
        archive: Archive,
        ledger: Ledger,
        notes: RefusalNotes,
        belongings: Belongings,
        *,
        minimum_free: int = 0,
        maximum_object: int = 1 << 62,
        database_folder: Path | None = None,
    ) -> None:
        self._archive = archive
        self._ledger = ledger
        self._notes = notes
        self._belongings = belongings
        self._minimum_free = minimum_free
        self._maximum_object = maximum_object
        self._database_folder = database_folder
        self._database_minimum = min(minimum_free, LEAST_FREE_BYTES)
        self._database_free = 0
        self._free = 0
        self._free_known_until = 0.0
        self._scratch = Scratch(archive.incoming, self.check_room)
        self._arriving: set[Arrival] = set()

    def begin(self, announced: Announcement) -> Arrival:
        """Start to receive one object."""
        arrival = Arrival(self, announced)
        if arrival.is_open:
            self._arriving.add(arrival)
        return arrival

    def ended(self, arrival: Arrival) -> None:
        self._arriving.discard(arrival)

    def studies_arriving(self) -> frozenset[str]:
        """The studies of which an object is on its way in, as far as what has come of it tells. One that is
        missing here has been entered in the ledger, or never will be."""
        return frozenset(arrival.study_uid() for arrival in tuple(self._arriving)) - {""}

    def adopt_left_behind(self) -> int:
        """Enter the images that an earlier run kept but did not record; return how many."""
        adopted = 0
        scratch = Scratch(self._archive.incoming, lambda: None)  # acknowledged, however full the disk is now
        for path in self._archive.left_behind():
            with path.open("rb") as file:
                try:
                    head = decode_head(file.read(4096))
                    announced = Announcement(
                        head.sop_class,
                        head.uid,
                        head.transfer_syntax,
                        head.source,
                        address="",
                        fetched=self._archive.was_fetched(path),
                    )
                    header = examine(file.fileno(), head.offset, announced, scratch)
                    place = self._archive.image_path(header.study_uid, head.uid)
                except (ValueError, OSError) as error:
                    log.error(
                        "An image received before the last stop is damaged and stays at %s: %s", path, error
                    )
                    continue
            status = path.stat()
            received = _received(announced, header, place, status.st_size)
            if announced.fetched:  # a prior is expected for a while, and sent by somebody after that
                received = replace(received, received_at=datetime.fromtimestamp(status.st_mtime, UTC))
            self._ledger.await_room(SECONDS_TO_ADOPT)
            self._ledger.enter(Entry(received, path.name))
            adopted += 1
        return adopted

    def open(self, fetched: bool) -> IncomingFile:
        self.check_room()
        try:
            self._ledger.await_room()
        except LedgerFullError as error:
            raise RefusedError(OUT_OF_RESOURCES, str(error)) from error
        return self._archive.receive(fetched)

    def check_room(self) -> None:
        if time.monotonic() > self._free_known_until:
            self._free = self._archive.free_bytes()
            if self._database_folder is not None:
                self._database_free = disk_usage(self._database_folder).free
            self._free_known_until = time.monotonic() + SECONDS_BETWEEN_LOOKS_AT_THE_DISK
        free = self._free
        if free < self._minimum_free:
            raise RefusedError(
                OUT_OF_RESOURCES,
                f"the disk is nearly full: {free >> 20} of the {self._minimum_free >> 20} MiB "
                "that must stay free are left",
            )
        if self._database_folder is not None and self._database_free < self._database_minimum:
            raise RefusedError(
                OUT_OF_RESOURCES,
                f"the database's disk is nearly full: {self._database_free >> 20} of the "
                f"{self._database_minimum >> 20} MiB that must stay free are left",
            )

    def check_size(self, size: int) -> None:
        if size > self._maximum_object:
            raise RefusedError(
                OUT_OF_RESOURCES, f"it is larger than the {self._maximum_object >> 20} MiB an object may have"
            )

    def keep(self, incoming: IncomingFile, offset: int, announced: Announcement) -> Answer:
        """Examine a whole file and keep it or put it into quarantine."""
        try:
            header = examine(incoming.fd, offset, announced, self._scratch)
            if reason := self._belongings.contradiction(header, self._study_holding(announced.uid, header)):
                raise RefusedError(CONFLICT, reason, header.study_uid)
            kept = self._archive.keep(incoming, header.study_uid, announced.uid)
        except RefusedError as refused:
            if refused.status == OUT_OF_RESOURCES:  # it is sent again once there is room
                incoming.discard()
                return self.refuse(announced, refused, None)
            return self.refuse(announced, refused, incoming)
        except (ContentConflictError, UnsafeUidError) as error:
            return self.refuse(announced, RefusedError(CONFLICT, str(error), header.study_uid), incoming)
        except OSError as error:
            incoming.discard()
            return self.refuse(announced, out_of_resources(error), None)
        except Exception as error:
            log.exception("An object from %s@%s could not be kept", announced.caller, announced.address)
            unexpected = RefusedError(CANNOT_UNDERSTAND, f"it cannot be kept: {error}")
            return self.refuse(announced, unexpected, incoming)
        self._free -= kept.size  # until the next look
        self._ledger.enter(Entry(_received(announced, header, kept.path, kept.size), kept.incoming_name))
        return Answer(SUCCESS, study_uid=header.study_uid, was_here=not kept.is_new)

    def _study_holding(self, uid: str, header: Header) -> str | None:
        """Another study than the image's own, where an image of its UID lies."""
        study_uid = self._belongings.study_of(uid)
        if study_uid in (None, header.study_uid):
            return None
        is_there = self._archive.path(self._archive.image_path(study_uid, uid)).exists()
        return study_uid if is_there else None

    def refuse(self, announced: Announcement, refused: RefusedError, incoming: IncomingFile | None) -> Answer:
        """Note why an object is not accepted and keep it in quarantine."""
        path, reason = "", refused.reason
        if incoming is not None:
            try:
                path = self._archive.refuse(incoming)
            except OSError as error:
                log.warning("A refused object could not be kept in quarantine: %s", error)
                reason += f"; it could not be kept in quarantine ({error.strerror or error})"
                Path(incoming.path).unlink(missing_ok=True)
        note = Refused(
            at=now(),
            caller=announced.caller,
            address=announced.address,
            status=refused.status,
            reason=reason,
            study_uid=refused.study_uid,
            uid=announced.uid,
            sop_class=announced.sop_class,
            path=path,
        )
        if path:
            self._notes.note_object(note)
        else:
            self._notes.now_and_then(note, (note.caller, note.address, note.status))
        return Answer(refused.status, refused.reason)


class Arrival:
    """One object being received. Data is written as it comes; trouble on the way is answered at the end,
    for the sender listens only then."""

    def __init__(self, acceptance: Acceptance, announced: Announcement) -> None:
        self._acceptance = acceptance
        self._announced = announced
        self._incoming: IncomingFile | None = None
        self._path = ""
        self._trouble: RefusedError | None = None
        head = encode_head(announced.sop_class, announced.uid, announced.transfer_syntax, announced.caller)
        self._offset = self._size = len(head)
        try:
            self._incoming = acceptance.open(announced.fetched)
            self._path = self._incoming.path
            self._incoming.write(head)
        except RefusedError as refused:
            self._give_up(refused)
        except OSError as error:
            self._give_up(out_of_resources(error))

    @property
    def is_open(self) -> bool:
        """Whether more of it is written: it is neither complete nor given up."""
        return self._incoming is not None

    def write(self, data: bytes | memoryview) -> None:
        """Take the next piece of the data set."""
        if self._incoming is None:
            return
        self._size += len(data)
        try:
            self._acceptance.check_size(self._size)
            self._incoming.write(data)
        except RefusedError as refused:
            self._give_up(refused)
        except OSError as error:
            self._give_up(out_of_resources(error))

    def study_uid(self) -> str:
        """Of what has come so far, from any thread; empty where that does not tell."""
        try:
            with Path(self._path).open("rb") as file:
                return study_uid_of(file.read(HEAD))
        except OSError:  # it never had a file, or has it no more
            return ""

    def finish(self) -> Answer:
        """The object is complete: keep or refuse it."""
        if self._incoming is None:
            trouble = self._trouble or RefusedError(OUT_OF_RESOURCES, "it could not be written")
            return self._acceptance.refuse(self._announced, trouble, None)
        incoming, self._incoming = self._incoming, None
        try:
            return self._acceptance.keep(incoming, self._offset, self._announced)
        finally:
            self._acceptance.ended(self)

    def abandon(self) -> None:
        """The sender went away: leave nothing behind."""
        incoming, self._incoming = self._incoming, None
        try:
            if incoming is not None:
                incoming.discard()
        finally:
            self._acceptance.ended(self)

    def _give_up(self, trouble: RefusedError) -> None:
        self._trouble = trouble
        self.abandon()


def out_of_resources(error: OSError) -> RefusedError:
    return RefusedError(OUT_OF_RESOURCES, f"it cannot be stored: {error.strerror or error}")


def _received(announced: Announcement, header: Header, path: str, size: int) -> Received:
    return Received(
        uid=announced.uid,
        sop_class=announced.sop_class,
        transfer_syntax=announced.transfer_syntax,
        path=path,
        size=size,
        received_at=now(),
        source=announced.caller,
        fetched=announced.fetched,
        **vars(header),
    )
