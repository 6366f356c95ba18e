"""The DICOM receiver: answers C-ECHO and C-STORE (PS3.4 A and B) and keeps what is sent."""

from __future__ import annotations

import errno
import logging
import math
import socket
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pynetdicom

from node.intake.acceptance import Acceptance
from node.intake.belongings import Belongings
from node.intake.door import Door
from node.intake.examination import Announcement
from node.intake.ledger import Ledger
from node.intake.notes import RefusalNotes
from node.intake.stock import StockListener
from node.intake.transport import FastListener
from node.peers import commitment
from node.security.tls import Identity
from node.settings import DicomSettings
from storage.archive import Archive, ArchiveError
from storage.database import Database
from storage.figures import Entered

log = logging.getLogger(__name__)

PROVEN_PYNETDICOM = "3.0.4"  # by the tests of tests/node/intake


class ReceiverError(RuntimeError):
    """The receiver cannot start; the message says what to do."""


class Receiver:
    """Listens for senders; what they send ends in ``archive`` and, shortly after, in ``database``.

    ``settings.port`` 0 takes a free port. ``identity`` is who the node is where TLS is enabled. ``merged``:
    patient IDs that are one patient's.
    """

    def __init__(
        self,
        settings: DicomSettings,
        ae_title: str,
        archive: Archive,
        database: Database,
        identity: Identity | None = None,
        merged: Sequence[Sequence[str]] = (),
    ) -> None:
        self._settings = settings
        self._archive = archive
        belongings = Belongings(merged)
        self._ledger = Ledger(database, archive, merged, belongings)
        notes = RefusalNotes(self._ledger)
        acceptance = Acceptance(
            archive,
            self._ledger,
            notes,
            belongings,
            minimum_free=settings.minimum_free_mb << 20,
            maximum_object=settings.maximum_object_mb << 20,
            database_folder=_on_another_disk(database, archive),
        )
        self._acceptance = acceptance
        door = Door(settings, notes)
        self._misfit = _misfit(settings)
        if self._misfit:
            log.warning("%s", self._misfit)
        listener = FastListener if settings.transport == "fast" and not self._misfit else StockListener
        self._listener: FastListener | StockListener = listener(
            settings,
            ae_title,
            acceptance,
            door,
            partial(commitment.record, database),
            identity if settings.tls.enabled else None,
        )

    def start(self) -> int:
        """Bring in what an earlier run left unrecorded, then listen; return the port.

        Raises:
            ReceiverError: the address cannot be listened on, or the archive cannot be written.
        """
        try:
            self._archive.claim()
        except ArchiveError as error:
            raise ReceiverError(str(error)) from error
        self._ledger.start()
        try:
            adopted = self._acceptance.adopt_left_behind()
            if adopted:
                log.info("Entered %d images that the last run had received but not recorded.", adopted)
            return self._listener.start()
        except OSError as error:
            self._ledger.stop()
            self._archive.release()
            raise ReceiverError(_explained(error, self._settings)) from error

    def stop(self) -> None:
        """End the associations, write what waits for the database, give the archive free."""
        self._listener.stop()
        self._ledger.stop()
        self._archive.release()

    def settle(self, seconds: float = math.inf) -> bool:
        """Wait until every image answered so far has its row, or for ``seconds``; returns whether it has.

        Raises:
            LedgerStoppedError: the receiver was stopped before that.
        """
        return self._ledger.settle(seconds)

    def studies_arriving(self) -> frozenset[str]:
        """The studies of which an object is on its way in; ask before ``settle``, which waits for the rows of
        those that are no more."""
        return self._acceptance.studies_arriving()

    def take(self, announced: Announcement, data_set: bytes) -> int:
        """Keep an object that we fetched: it did not come to our port. Returns the status to answer."""
        arrival = self._acceptance.begin(replace(announced, fetched=True))
        arrival.write(data_set)
        return arrival.finish().status

    @property
    def entered(self) -> Entered:
        """How many images and refusals have got their rows since the start."""
        return self._ledger.entered

    @property
    def problem(self) -> str | None:
        """What is wrong at the moment, in one sentence; None when nothing is."""
        return self._listener.problem or self._ledger.problem or self._misfit


def _on_another_disk(database: Database, archive: Archive) -> Path | None:
    """The folder of the database's file, unless the archive's disk is its own."""
    folder = database.folder
    if folder is None or folder.stat().st_dev == archive.root.stat().st_dev:
        return None
    return folder


def _misfit(settings: DicomSettings) -> str | None:
    """Why the fast transport, though it is chosen, does not serve: it negotiates with classes of pynetdicom's
    that may be others in another version."""
    if settings.transport == "fast" and pynetdicom.__version__ != PROVEN_PYNETDICOM:
        return (
            f"pynetdicom {pynetdicom.__version__} is installed, and the fast transport is proven with "
            f"{PROVEN_PYNETDICOM} alone: images are received by the stock one, which is slower. Install "
            f'pynetdicom=={PROVEN_PYNETDICOM}, or set dicom.transport = "stock".'
        )
    return None


def _explained(error: OSError, settings: DicomSettings) -> str:
    where = f"{settings.host}:{settings.port}"
    if error.errno == errno.EADDRINUSE:
        return f"Another program listens on {where}. Stop it, or choose another dicom.port."
    if error.errno == errno.EACCES:
        return (
            f"This user may not listen on {where}. "
            "Choose a dicom.port of 1024 or above, or grant it CAP_NET_BIND_SERVICE."
        )
    if error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
        return (
            f"{settings.host} is not an address of this machine. "
            "Set dicom.host to one that is, or to 0.0.0.0 for all of them."
        )
    return f"The receiver cannot start on {where}: {error.strerror or error}."
