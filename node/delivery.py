"""Sends DICOM files to a peer, each with a receipt."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol, Self

from pydicom import dcmread
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, _config, build_context
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext

from node.settings import Peer

_config.STORE_SEND_CHUNKED_DATASET = True  # a file goes out as it is, without being decoded

VERIFICATION = UID("1.2.840.10008.1.1")
MAXIMUM_CONTEXTS = 128  # PS3.8 9.3.2.2: context ids are the odd numbers up to 255
OBJECTS_PER_ASSOCIATION = 2000

Outcome = Literal["sent", "refused", "failed"]


class DeliveryError(RuntimeError):
    """The peer cannot be talked to; the message says why and what to look at."""


@dataclass(frozen=True)
class Receipt:
    """What became of one file. ``failed`` may be tried again, ``refused`` need not be."""

    path: Path
    outcome: Outcome
    reason: str = ""


class Destination(Protocol):
    """Where results leave to."""

    def send(self, objects: Sequence[Path]) -> Iterator[Receipt]:
        """Send each object and say what became of it."""
        ...


@dataclass(frozen=True)
class DicomDestination:
    """A storage SCP. ``timeout`` in seconds bounds connecting and each answer."""

    peer: Peer
    calling_ae_title: str
    timeout: float = 30

    def send(self, objects: Sequence[Path]) -> Iterator[Receipt]:
        readable: list[_Outgoing] = []
        for path in objects:
            try:
                meta = read_file_meta_info(path)
                readable.append(_Outgoing(path, meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID))
            except (OSError, InvalidDicomError, AttributeError) as error:
                yield Receipt(path, "refused", f"not a DICOM file that can be sent: {error}")
        for batch in _association_batches(readable):
            yield from self._send_batch(batch)

    def echo(self) -> None:
        """Verify the peer with a C-ECHO (PS3.4 A).

        Raises:
            DeliveryError: nobody listens there, the association is refused, or the answer is not success.
        """
        ae = self._application_entity()
        ae.add_requested_context(VERIFICATION)
        association = associate(ae, self.peer)
        try:
            status = association.send_c_echo()
        finally:
            _end(association)
        if getattr(status, "Status", None) != 0x0000:
            raise DeliveryError(f"{self._name} does not answer a C-ECHO")

    def with_timeout(self, seconds: float) -> Self:
        return replace(self, timeout=seconds)

    def _send_batch(self, batch: Sequence[_Outgoing]) -> Iterator[Receipt]:
        ae = self._application_entity()
        ae.requested_contexts = [build_context(VERIFICATION), *_contexts(batch)]
        try:
            association = associate(ae, self.peer)
        except DeliveryError as error:
            yield from (Receipt(o.path, "failed", str(error)) for o in batch)
            return
        accepted = {
            (UID(c.abstract_syntax or ""), c.transfer_syntax[0]) for c in association.accepted_contexts
        }
        try:
            for number, outgoing in enumerate(batch, 1):
                yield self._send_one(association, accepted, outgoing, number)
        finally:
            _end(association)

    def _send_one(
        self, association: Association, accepted: set[tuple[UID, UID]], outgoing: _Outgoing, number: int
    ) -> Receipt:
        path, sop_class, syntax = outgoing.path, outgoing.sop_class, outgoing.syntax
        as_it_is = (sop_class, syntax) in accepted
        as_implicit = syntax == ExplicitVRLittleEndian and (sop_class, ImplicitVRLittleEndian) in accepted
        if not (as_it_is or as_implicit):
            return Receipt(
                path,
                "refused",
                f"{self._name} does not accept {sop_class.name} as {syntax.name}; "
                "enable it there, or leave this kind out of the destination's objects",
            )
        if not association.is_established:
            return Receipt(path, "failed", f"{self._name} ended the association before this object")
        try:
            status = association.send_c_store(path if as_it_is else dcmread(path), msg_id=number % 65535 + 1)
        except (RuntimeError, ValueError, OSError) as error:
            return Receipt(path, "failed", f"sending to {self._name} broke off: {error}")
        return self._receipt(path, getattr(status, "Status", None), str(getattr(status, "ErrorComment", "")))

    def _receipt(self, path: Path, status: int | None, comment: str) -> Receipt:
        """PS3.4 table B.2-1: 0xB000-0xBFFF warn but store; 0xA700-0xA7FF is out of resources, for now."""
        if status is None:
            return Receipt(path, "failed", f"{self._name} gave no answer within {self.timeout:g} s")
        if status == 0x0000 or 0xB000 <= status <= 0xBFFF:
            return Receipt(path, "sent")
        reason = f"{self._name} answered 0x{status:04X}" + (f": {comment}" if comment else "")
        return Receipt(path, "failed" if 0xA700 <= status <= 0xA7FF else "refused", reason)

    def _application_entity(self) -> AE:
        ae = AE(ae_title=self.calling_ae_title)
        ae.maximum_pdu_size = 256 * 1024
        ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = ae.connection_timeout = self.timeout
        return ae

    @property
    def _name(self) -> str:
        return name_of(self.peer)


def name_of(peer: Peer) -> str:
    """A peer as messages call it."""
    return f"{peer.name} ({peer.ae_title} at {peer.host}:{peer.port})"


def associate(ae: AE, peer: Peer, **options: Any) -> Association:
    """An association with ``peer``, established. ``options`` go to ``AE.associate``.

    Raises:
        DeliveryError: its name is not known, nobody listens there, or it rejects the association.
    """
    name = name_of(peer)
    try:
        addresses = socket.getaddrinfo(peer.host, peer.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise DeliveryError(f"{name}: the host name is not known; check the settings") from error
    association = ae.associate(str(addresses[0][4][0]), peer.port, ae_title=peer.ae_title, **options)
    if association.is_established:
        return association
    if association.is_rejected:
        answer = association.acceptor.primitive
        why = f"{answer.result_str}, {answer.reason_str}" if answer else "no reason given"
        raise DeliveryError(
            f"{name} rejects the association ({why}); is {ae.ae_title!r} known there, "
            f"and is {peer.ae_title!r} its AE title?"
        )
    raise DeliveryError(f"{name} cannot be reached; is it running, and are host and port right?")


@dataclass(frozen=True)
class _Outgoing:
    path: Path
    sop_class: UID
    syntax: UID


def _contexts(batch: Sequence[_Outgoing]) -> Iterator[PresentationContext]:
    """One context for each way an object can go. Verification is asked for beside them, or a peer that
    accepts none would end the association, and could not be told from one that is away."""
    for sop_class, syntax in sorted({(o.sop_class, o.syntax) for o in batch}):
        yield build_context(sop_class, syntax)
        if syntax == ExplicitVRLittleEndian:
            yield build_context(sop_class, ImplicitVRLittleEndian)


def _association_batches(objects: Sequence[_Outgoing]) -> Iterator[list[_Outgoing]]:
    """The objects in order, split where one association could not hold the contexts they need."""
    batch: list[_Outgoing] = []
    kinds: set[tuple[UID, UID]] = set()
    for outgoing in objects:
        kind = (outgoing.sop_class, outgoing.syntax)
        full = kind not in kinds and 2 * len(kinds) + 3 > MAXIMUM_CONTEXTS
        if full or len(batch) == OBJECTS_PER_ASSOCIATION:
            yield batch
            batch, kinds = [], set()
        batch.append(outgoing)
        kinds.add(kind)
    if batch:
        yield batch


def _end(association: Association) -> None:
    if association.is_established:
        association.release()
    elif not association.is_released:
        association.abort()
