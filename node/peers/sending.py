"""Sends DICOM files to a peer, each with a receipt."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import pynetdicom.association
from pynetdicom import AE
from pynetdicom.status import STORAGE_SERVICE_CLASS_STATUS

from node.peers import commitment
from node.peers.commitment import (
    PUSH_MODEL_INSTANCE,
    MalformedReportError,
    Report,
    decode_report,
    encode_request,
)
from node.peers.outgoing import (
    VERIFICATION,
    Outgoing,
    UnsendableError,
    association_batches,
    contexts,
    outgoing,
)
from node.peers.polled import POLLED
from node.security.tls import Identity, TlsError
from node.settings import Peer
from node.wire.association import (
    Association,
    BrokenDataError,
    CallerRejectedError,
    RejectedError,
    UnknownHostError,
    UnreachableError,
    request_association,
)
from node.wire.negotiation import Kind
from node.wire.pdu import PeerGoneError, PeerSilentError, ProtocolError

SUCCESS, DUPLICATE, CLASS_NOT_SUPPORTED, NOT_AUTHORISED = 0x0000, 0x0111, 0x0122, 0x0124
ECHO_SECONDS = 5.0
SECONDS_TO_LEARN_WHY = 5.0  # a TLS handshake failed
SECONDS_FOR_COMMITMENT = 2.0  # that the association stays open for a result

Outcome = Literal["sent", "refused", "failed", "not offered"]


class DeliveryError(RuntimeError):
    """The peer cannot be talked to; the message says why and what to look at."""


class AwayError(DeliveryError):
    """No association with the peer comes about."""


class CallerUnknownError(AwayError):
    """The peer takes nothing under our AE title."""


@dataclass(frozen=True)
class Receipt:
    """What became of one file. ``failed`` may be tried again, ``refused`` need not be; ``not offered``: the
    peer was lost over others before its turn came. ``is_kind_refused``: the peer takes no object of this
    class, or none in this syntax; ``is_away``: no association came about;
    ``is_caller_unknown``: the peer takes none under our AE title."""

    path: Path
    outcome: Outcome
    reason: str = ""
    is_kind_refused: bool = False
    is_away: bool = False
    is_caller_unknown: bool = False


class Destination(Protocol):
    """Where results leave to."""

    def send(self, objects: Sequence[Path]) -> Iterator[Receipt]:
        """Send each object and say what became of it."""
        ...

    def echo(self) -> None:
        """
        Raises:
            DeliveryError: it is away.
        """
        ...

    def commit(self, transaction_uid: str, objects: Sequence[Path]) -> Report | None:
        """Ask for storage commitment; the result, or None where it will come later.

        Raises:
            AwayError: it could not be asked.
            DeliveryError: the request was not taken.
        """
        ...


@dataclass(frozen=True)
class DicomDestination:
    """A storage SCP. ``timeout`` in seconds bounds connecting, each answer, and each piece it takes;
    ``identity`` is shown to a peer that is spoken to over TLS."""

    peer: Peer
    calling_ae_title: str
    timeout: float = 60
    identity: Identity | None = None

    def send(self, objects: Sequence[Path]) -> Iterator[Receipt]:
        readable: list[Outgoing] = []
        for path in objects:
            try:
                readable.append(outgoing(path))
            except UnsendableError as error:
                yield Receipt(path, "refused", str(error))
            except OSError as error:
                yield Receipt(path, "failed", f"it cannot be read: {error.strerror or error}")
        for batch in association_batches(readable):
            yield from self._send_batch(batch)

    def echo(self) -> None:
        """Verify the peer with a C-ECHO (PS3.4 A).

        Raises:
            DeliveryError: nobody listens there, the association is refused, or the answer is not success.
        """
        association = self._associate([VERIFICATION])
        try:
            if VERIFICATION not in association.accepted:
                raise DeliveryError(f"{self._name} accepts the association, but no C-ECHO")
            status = association.echo(VERIFICATION).status
        except (PeerGoneError, ProtocolError) as error:
            association.abort()
            raise DeliveryError(f"{self._name} does not answer a C-ECHO: {error}") from error
        association.release()
        if status != SUCCESS:
            raise DeliveryError(f"{self._name} answers a C-ECHO with 0x{status:04X}")

    def commit(self, transaction_uid: str, objects: Sequence[Path]) -> Report | None:
        """Request storage commitment (PS3.4 J.3.2), and wait a little for the result on the same association;
        a peer may send it on one of its own as well, to the receiver.

        Raises:
            DeliveryError: the peer cannot be asked, or does not take the request; the message says why.
        """
        try:
            sent = [outgoing(path) for path in objects]
        except UnsendableError as error:
            raise DeliveryError(f"a file that was sent is gone: {error}") from error
        except OSError as error:
            raise DeliveryError(f"a file that was sent cannot be read: {error.strerror or error}") from error
        request = encode_request(transaction_uid, [(str(each.sop_class), each.uid) for each in sent])
        association = self._associate([VERIFICATION, commitment.KIND])
        if commitment.KIND not in association.accepted:
            association.release()
            raise DeliveryError(
                f"{self._name} does not offer storage commitment; enable it there, or set confirm = false"
            )
        try:
            status = association.action(commitment.KIND, PUSH_MODEL_INSTANCE, 1, request).status
            if status != SUCCESS:
                raise DeliveryError(
                    f"{self._name} does not take the storage commitment request: 0x{status:04X}"
                )
            event = association.await_event(commitment.KIND, SECONDS_FOR_COMMITMENT)
            report = decode_report(event, commitment.KIND[1]) if event is not None else None
        except (PeerGoneError, ProtocolError, MalformedReportError) as error:
            association.abort()
            raise DeliveryError(f"{self._name} was lost over storage commitment: {error}") from error
        except DeliveryError:
            association.release()
            raise
        association.release()
        return report

    def _send_batch(self, batch: Sequence[Outgoing]) -> Iterator[Receipt]:
        """What is behind an object over which the association is lost goes on another. Where that is lost
        over its first object too, it is not the object: the rest is not offered."""
        left, lost = list(batch), ""
        while left:
            try:
                association = self._associate(contexts(left))
            except AwayError as error:
                yield from self._without_association(left, error, lost)
                return
            lost_before, lost, answered = lost, "", 0
            try:
                while left and not lost:
                    receipt, lost = self._send_one(association, left.pop(0))
                    answered += not lost
                    yield receipt
            finally:
                association.abort() if lost else association.release()
            if lost_before and not answered:
                reason = f"{self._name} was lost before this object: {lost}"
                yield from (Receipt(each.path, "not offered", reason) for each in left)
                return

    def _without_association(
        self, left: Sequence[Outgoing], error: AwayError, lost_before: str
    ) -> Iterator[Receipt]:
        unknown = isinstance(error, CallerUnknownError)
        for each in left:
            if lost_before:
                yield Receipt(each.path, "not offered", str(error))
            else:
                yield Receipt(each.path, "failed", str(error), is_away=True, is_caller_unknown=unknown)

    def _send_one(self, association: Association, each: Outgoing) -> tuple[Receipt, str]:
        """What became of the object, and why the association is lost, if it is."""
        kind = next((kind for kind in each.kinds if kind in association.accepted), None)
        if kind is None:
            return Receipt(each.path, "refused", self._not_accepted(each), is_kind_refused=True), ""
        try:
            with each.data_set(kind[1]) as (data_set, size):
                response = association.store(kind, each.uid, data_set, size)
        except UnsendableError as error:
            return Receipt(each.path, "refused", str(error)), ""
        except BrokenDataError as error:
            return Receipt(each.path, "failed", str(error)), "an object could not be read to its end"
        except PeerSilentError as error:
            reason = f"{self._name} gave no answer within {self.timeout:g} s ({error})"
            return Receipt(each.path, "failed", reason), reason
        except (PeerGoneError, ProtocolError) as error:
            return Receipt(each.path, "failed", f"sending to {self._name} broke off: {error}"), str(error)
        except OSError as error:  # before anything of it was sent
            return Receipt(each.path, "failed", f"it cannot be read: {error.strerror or error}"), ""
        return self._receipt(each.path, response.status, response.comment), ""

    def _receipt(self, path: Path, status: int, comment: str) -> Receipt:
        """PS3.4 table B.2-1 and PS3.7 C: 0xB000-0xBFFF warn but store; out of resources (0xA700-0xA7FF,
        0x0213) and processing failure (0x0110) may pass. A peer that tells of a duplicate has the object:
        results are the same bytes whenever they have the same UID; of other files it is said."""
        if status == DUPLICATE:
            return Receipt(path, "sent", f"{self._name} has had an object of this UID before")
        if status == SUCCESS or 0xB000 <= status <= 0xBFFF:
            return Receipt(path, "sent")
        reason = f"{self._name} answered {_in_words(status)}" + (f": {comment}" if comment else "")
        if status == NOT_AUTHORISED:
            reason += f"; is {self.calling_ae_title!r} allowed to store there?"
        may_pass = 0xA700 <= status <= 0xA7FF or status in (0x0110, 0x0213)
        kind_refused = status == CLASS_NOT_SUPPORTED
        return Receipt(path, "failed" if may_pass else "refused", reason, is_kind_refused=kind_refused)

    def _not_accepted(self, each: Outgoing) -> str:
        return (
            f"{self._name} does not accept {each.sop_class.name} as {each.syntax.name}; "
            "enable it there, or leave this kind out of the destination's objects"
        )

    def _associate(self, kinds: Sequence[Kind]) -> Association:
        peer = self.peer
        try:
            return request_association(
                peer.host,
                peer.port,
                calling=self.calling_ae_title,
                called=peer.ae_title,
                kinds=kinds,
                seconds=self.timeout,
                tls=tls_with(peer, self.identity),
            )
        except UnknownHostError as error:
            raise AwayError(_unknown(peer)) from error
        except UnreachableError as error:
            raise AwayError(_unreachable(peer)) from error
        except TlsError as error:
            raise AwayError(f"{self._name} cannot be spoken to over TLS: {error}") from error
        except CallerRejectedError as error:
            raise CallerUnknownError(_rejected(peer, self.calling_ae_title, str(error))) from error
        except RejectedError as error:
            raise AwayError(_rejected(peer, self.calling_ae_title, str(error))) from error
        except (PeerGoneError, ProtocolError) as error:
            hint = "is a DICOM service listening there" + (", and without TLS?" if not peer.tls else "?")
            raise AwayError(f"{self._name} answers no association request: {error}; {hint}") from error

    @property
    def _name(self) -> str:
        return name_of(self.peer)


def echo_of(peer: Peer, calling_ae_title: str, identity: Identity | None) -> Callable[[], None]:
    """A C-ECHO to ``peer`` that is given up before a person would give it up; raises as ``echo`` does."""
    return DicomDestination(peer, calling_ae_title, ECHO_SECONDS, identity).echo


def name_of(peer: Peer) -> str:
    """A peer as messages call it."""
    return f"{peer.name} ({peer.ae_title} at {peer.host}:{peer.port})"


def tls_with(peer: Peer, identity: Identity | None) -> tuple[ssl.SSLContext, str] | None:
    """What is shown to a peer that is spoken to over TLS, and the name its certificate has to bear."""
    if not peer.tls:
        return None
    assert identity is not None  # the settings ask for one where a peer wants TLS
    return identity.calling(), peer.tls_name or peer.host


def associate(
    ae: AE, peer: Peer, identity: Identity | None, **options: Any
) -> pynetdicom.association.Association:
    """An association of pynetdicom's with ``peer``, established, for the services that query and retrieve.
    ``options`` go to ``AE.associate``. Each of the addresses that its name has is tried, one after the other,
    within the AE's ``connection_timeout``.

    Raises:
        DeliveryError: its name is not known, nobody listens there, a certificate is not accepted, or it
            rejects the association.
    """
    try:
        addresses = socket.getaddrinfo(peer.host, peer.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise DeliveryError(_unknown(peer)) from error
    options["tls_args"] = tls_with(peer, identity)
    options["evt_handlers"] = [*options.get("evt_handlers", ()), POLLED]
    seconds = ae.connection_timeout
    until = time.monotonic() + (seconds or 0)
    for number, (*_, address) in enumerate(addresses):
        if seconds is not None:
            ae.connection_timeout = max(until - time.monotonic(), 0.1) / (len(addresses) - number)
        association = ae.associate(str(address[0]), peer.port, ae_title=peer.ae_title, **options)
        if association.is_established:
            return association
        if association.is_rejected:
            answer = association.acceptor.primitive
            why = f"{answer.result_str}, {answer.reason_str}" if answer else "no reason given"
            raise DeliveryError(_rejected(peer, ae.ae_title, why))
    if peer.tls:  # pynetdicom keeps to itself why a handshake failed
        DicomDestination(peer, ae.ae_title, SECONDS_TO_LEARN_WHY, identity).echo()
    raise DeliveryError(_unreachable(peer))


def _in_words(status: int) -> str:
    """``0x0124 (Refused: Not Authorised)``, where PS3.4 B.2.3 or PS3.7 C has a word for it."""
    _, words = STORAGE_SERVICE_CLASS_STATUS.get(status, ("", ""))
    return f"0x{status:04X}" + (f" ({words})" if words else "")


def _unknown(peer: Peer) -> str:
    return f"{name_of(peer)}: the host name is not known; check the settings"


def _unreachable(peer: Peer) -> str:
    return f"{name_of(peer)} cannot be reached; is it running, and are host and port right?"


def _rejected(peer: Peer, calling_ae_title: str, why: str) -> str:
    return (
        f"{name_of(peer)} rejects the association ({why}); is {calling_ae_title!r} known there, "
        f"and is {peer.ae_title!r} its AE title?"
    )
