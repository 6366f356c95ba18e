"""Asks an archive over DICOM what it holds of a patient, and fetches it: C-FIND, C-GET, C-MOVE (PS3.4 C)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Timer
from typing import Any, cast

from pydicom import Dataset
from pydicom.uid import (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)
from pynetdicom import AE, build_context, build_role, evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.presentation import PresentationContext

from node.peers.sending import DeliveryError, associate, name_of
from node.security.tls import Identity
from node.settings import ArchiveSettings

STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
STUDY_ROOT_MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
STUDY_ROOT_GET = "1.2.840.10008.5.1.4.1.2.2.3"
FETCHED_CLASSES = (
    "1.2.840.10008.5.1.4.1.1.2",  # CT
    "1.2.840.10008.5.1.4.1.1.2.1",  # enhanced CT
    "1.2.840.10008.5.1.4.1.1.2.2",  # legacy converted enhanced CT
    "1.2.840.10008.5.1.4.1.1.128",  # PET
    "1.2.840.10008.5.1.4.1.1.130",  # enhanced PET
    "1.2.840.10008.5.1.4.1.1.1",  # CR
    "1.2.840.10008.5.1.4.1.1.1.1",  # DX
    "1.2.840.10008.5.1.4.1.1.66.4",  # segmentation
    "1.2.840.10008.5.1.4.1.1.88.34",  # Comprehensive 3D SR
)
_COMPRESSED = (JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless, RLELossless)
_PENDING = (0xFF00, 0xFF01)
_SUCCESS, _WITH_WARNINGS = 0x0000, 0xB000
_UNKNOWN_DESTINATION = 0xA801
MOST_ANSWERS = 20_000
"""To one question: more than any patient's studies, or a series' images, are."""


class ArchiveAnswerError(RuntimeError):
    """An archive did not answer, or not with sense; the message says which and how. ``away``: it was not to
    be reached, or not in time, and may be asked as soon as it is back; else it answered, with an error."""

    def __init__(self, message: str, *, away: bool = False) -> None:
        super().__init__(message)
        self.away = away


@dataclass(frozen=True)
class FetchedObject:
    """One object as it came: its data set in ``transfer_syntax``, without file meta information."""

    sop_class: str
    uid: str
    transfer_syntax: str
    data_set: bytes


Take = Callable[[FetchedObject], int]
"""Keeps a fetched object and returns the DICOM status to answer."""


@dataclass(frozen=True)
class DicomArchive:
    """A query/retrieve SCP. Whatever it does, each call ends within the ``seconds`` it is given."""

    peer: ArchiveSettings
    calling_ae_title: str
    identity: Identity | None = None

    @property
    def name(self) -> str:
        return self.peer.name

    def find(self, level: str, keys: Dataset, seconds: float) -> list[Dataset]:
        """What matches, at level STUDY, SERIES or IMAGE.

        Raises:
            ArchiveAnswerError: it cannot be reached, is too slow, answers with an error or without end.
        """
        identifier = Dataset()
        identifier.update(keys)
        identifier.QueryRetrieveLevel = level
        found: list[Dataset] = []
        with self._association([build_context(STUDY_ROOT_FIND)], seconds) as (association, until):
            self._require(association, STUDY_ROOT_FIND)
            for status, answer in association.send_c_find(identifier, STUDY_ROOT_FIND):
                code = self._status(status, until, "C-FIND")
                if code in _PENDING and answer is not None:
                    found.append(answer)
                if len(found) > MOST_ANSWERS:
                    association.abort()
                    raise ArchiveAnswerError(
                        f"{name_of(self.peer)} gave more than {MOST_ANSWERS:,} answers to one C-FIND "
                        f"({level}); it seems to disregard what was asked for"
                    )
        return found

    def fetch(self, study_uid: str, series_uids: Sequence[str], take: Take, seconds: float) -> None:
        """Have series sent: over this very association (C-GET) into ``take``, or (C-MOVE) to our receiver.

        Raises:
            ArchiveAnswerError: it cannot be reached, is too slow, or did not send everything.
        """
        identifier = _series(study_uid, series_uids)
        until = time.monotonic() + seconds
        if self.peer.retrieve != "move" and self._get(identifier, take, seconds):
            return
        if self.peer.retrieve == "get":
            raise ArchiveAnswerError(
                f'{name_of(self.peer)} does not offer C-GET; set retrieve = "move" for it'
            )
        self._move(identifier, max(until - time.monotonic(), 1.0))

    def get(self, study_uid: str, series_uids: Sequence[str], take: Take, seconds: float) -> None:
        """The same by C-GET alone.

        Raises:
            ArchiveAnswerError: as ``fetch``, or it offers no C-GET.
        """
        if not self._get(_series(study_uid, series_uids), take, seconds):
            raise ArchiveAnswerError(f"{name_of(self.peer)} does not offer C-GET")

    def _get(self, identifier: Dataset, take: Take, seconds: float) -> bool:
        """False: the archive knows no C-GET."""
        contexts = [build_context(STUDY_ROOT_GET), *_storage_contexts()]
        roles = [build_role(sop_class, scp_role=True) for sop_class in FETCHED_CLASSES]
        handlers: list[Any] = [(evt.EVT_C_STORE, lambda event: take(_received(event)))]
        with self._association(contexts, seconds, roles, handlers) as (association, until):
            if not _accepts(association, STUDY_ROOT_GET):
                return False
            for status, _ in association.send_c_get(identifier, STUDY_ROOT_GET):
                self._check_transfer(status, self._status(status, until, "C-GET"))
        return True

    def _move(self, identifier: Dataset, seconds: float) -> None:
        with self._association([build_context(STUDY_ROOT_MOVE)], seconds) as (association, until):
            self._require(association, STUDY_ROOT_MOVE)
            for status, _ in association.send_c_move(identifier, self.calling_ae_title, STUDY_ROOT_MOVE):
                code = self._status(status, until, "C-MOVE")
                if code == _UNKNOWN_DESTINATION:
                    raise ArchiveAnswerError(
                        f"{name_of(self.peer)} does not know {self.calling_ae_title!r} as a destination; "
                        "enter this node's address and port there"
                    )
                self._check_transfer(status, code)

    def _check_transfer(self, status: Dataset, code: int) -> None:
        """Warnings alone (PS3.4 C.4.3.1.4) are about images that came."""
        failed = status.get("NumberOfFailedSuboperations")
        all_came = code == _SUCCESS or (code == _WITH_WARNINGS and failed == 0)
        if code not in _PENDING and (failed or not all_came):
            raise ArchiveAnswerError(
                f"{name_of(self.peer)} could not send {failed or 'all'} of the images (0x{code:04X})"
            )

    def _status(self, status: Dataset, until: float, service: str) -> int:
        if "Status" not in status:
            late = time.monotonic() >= until
            why = "took longer than allowed" if late else "ended the association or gave no sensible answer"
            raise ArchiveAnswerError(f"{name_of(self.peer)} {why} during {service}", away=True)
        code = int(status.Status)
        if code not in (*_PENDING, _SUCCESS, _WITH_WARNINGS, _UNKNOWN_DESTINATION):
            comment = str(status.get("ErrorComment", ""))
            raise ArchiveAnswerError(
                f"{name_of(self.peer)} answered {service} with 0x{code:04X}"
                + (f": {comment}" if comment else "")
            )
        return code

    def _require(self, association: Association, sop_class: str) -> None:
        if not _accepts(association, sop_class):
            raise ArchiveAnswerError(
                f"{name_of(self.peer)} does not offer the query/retrieve service that is needed"
            )

    @contextmanager
    def _association(
        self,
        contexts: list[PresentationContext],
        seconds: float,
        roles: Sequence[Any] = (),
        handlers: Sequence[Any] = (),
    ) -> Iterator[tuple[Association, float]]:
        """An association that is cut off after ``seconds``, and the moment that will be."""
        until = time.monotonic() + seconds
        ae = AE(ae_title=self.calling_ae_title)
        ae.maximum_pdu_size = 256 * 1024
        ae.requested_contexts = contexts
        ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = ae.connection_timeout = seconds
        try:
            association = associate(
                ae, self.peer, self.identity, ext_neg=list(roles), evt_handlers=list(handlers)
            )
        except DeliveryError as error:
            raise ArchiveAnswerError(str(error), away=True) from error
        cut = Timer(max(until - time.monotonic(), 0.1), association.abort)
        cut.daemon = True
        cut.start()
        try:
            yield association, until
        except ArchiveAnswerError:
            raise
        except RuntimeError as error:
            if association.is_established:
                raise
            text = f"{name_of(self.peer)} ended the association before it could be asked"
            raise ArchiveAnswerError(text, away=True) from error
        finally:
            cut.cancel()
            if association.is_established:
                association.release()


def _series(study_uid: str, series_uids: Sequence[str]) -> Dataset:
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "SERIES"
    identifier.StudyInstanceUID = study_uid
    identifier.SeriesInstanceUID = list(series_uids)
    return identifier


def _storage_contexts() -> Iterator[PresentationContext]:
    """For each class one context as it may be sent by anyone, and one for each lossless compression."""
    for sop_class in FETCHED_CLASSES:
        yield build_context(sop_class, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
        for syntax in _COMPRESSED:
            yield build_context(sop_class, syntax)


def _accepts(association: Association, sop_class: str) -> bool:
    return any(context.abstract_syntax == sop_class for context in association.accepted_contexts)


def _received(event: evt.Event) -> FetchedObject:
    request = cast(C_STORE, event.request)
    data_set: Any = request.DataSet
    return FetchedObject(
        sop_class=str(request.AffectedSOPClassUID or ""),
        uid=str(request.AffectedSOPInstanceUID or ""),
        transfer_syntax=str(event.context.transfer_syntax),
        data_set=data_set.getvalue() if data_set is not None else b"",
    )
