"""Whose a study is and what study a series is of, so that what contradicts it is refused at once."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence

from sqlalchemy.exc import SQLAlchemyError

from node.intake.examination import Header
from storage.database import Database
from storage.intake import Belonging, belonging, contradiction

log = logging.getLogger(__name__)

MOST_KNOWN = 10_000  # studies, and as many series
LONGEST_WAIT = 1.0  # seconds that a sender waits while another's study is looked up
SECONDS_WITHOUT = 30.0  # the database, once it has failed: senders do not wait for it


class Belongings:
    """What came lately, in memory. The database is asked when a study or a series is met for the first
    time, and again before anything is refused. While it is away nothing is: the ledger, which looks at
    everything once more, then sets aside what contradicts. ``merged``: patient IDs that are one patient's.
    """

    def __init__(self, database: Database, merged: Sequence[Sequence[str]] = ()) -> None:
        self._database = database
        self._merged = merged
        self._lock = threading.Lock()
        self._asking = threading.Lock()
        self._patient_of: OrderedDict[str, str] = OrderedDict()
        self._study_of: OrderedDict[str, str] = OrderedDict()
        self._asked_again_at = 0.0

    def contradiction(self, header: Header) -> str:
        """Why an image cannot belong where it says; empty where it can, or nobody can tell."""
        if self._fits(header):
            return ""
        known = self._known(header)
        if known.patient_id is None or known.study_of_series is None or self._contradicts(known, header):
            found = self._look_up(header)
            if found is None:
                return ""
            known = Belonging(
                known.patient_id if found.patient_id is None else found.patient_id,
                found.study_of_series or known.study_of_series,
            )
            self._remember(header, known)
        return self._contradicts(known, header)

    def keep(self, header: Header) -> None:
        """An image was kept: who was first is right."""
        if self._fits(header):
            return
        known = self._known(header)
        if known.patient_id is None or known.study_of_series is None:
            patient_id = header.patient_id if known.patient_id is None else known.patient_id
            self._remember(header, Belonging(patient_id, known.study_of_series or header.study_uid))

    def _fits(self, header: Header) -> bool:
        """Whether it is another image of a series that is known: nearly all are."""
        return (
            self._patient_of.get(header.study_uid) == header.patient_id
            and self._study_of.get(header.series_uid) == header.study_uid
        )

    def _contradicts(self, known: Belonging, header: Header) -> str:
        return contradiction(known, header.study_uid, header.patient_id, self._merged)

    def _known(self, header: Header) -> Belonging:
        return Belonging(self._patient_of.get(header.study_uid), self._study_of.get(header.series_uid))

    def _remember(self, header: Header, known: Belonging) -> None:
        with self._lock:
            if known.patient_id is not None:
                _put(self._patient_of, header.study_uid, known.patient_id)
            if known.study_of_series is not None:
                _put(self._study_of, header.series_uid, known.study_of_series)

    def _look_up(self, header: Header) -> Belonging | None:
        """What the database says; None while it is away, or busy with another's question for too long."""
        if time.monotonic() < self._asked_again_at or not self._asking.acquire(timeout=LONGEST_WAIT):
            return None
        try:
            with self._database.snapshot() as session:
                return belonging(session, header.study_uid, header.series_uid)
        except (SQLAlchemyError, OSError) as error:
            self._asked_again_at = time.monotonic() + SECONDS_WITHOUT
            log.warning("Whose images are received cannot be looked up: %s", str(error).partition("\n")[0])
            return None
        finally:
            self._asking.release()


def _put(known: OrderedDict[str, str], uid: str, value: str) -> None:
    known[uid] = value
    known.move_to_end(uid)
    if len(known) > MOST_KNOWN:
        known.popitem(last=False)
