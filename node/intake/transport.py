"""Serves associations at wire speed: one thread each, straight from the socket to the file.

pynetdicom polls with two threads per association and copies every fragment half a dozen times. Here a
blocking read waits in the kernel, fragments go from one reused buffer to disk, and answers are a few bytes
put together by hand. Negotiation, which happens once, is left to pynetdicom's PDU classes.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from pynetdicom.presentation import PresentationContext
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from node.intake.acceptance import SUCCESS, Acceptance, Answer, Arrival
from node.intake.callers import Caller
from node.intake.contexts import supported_contexts
from node.intake.door import Door
from node.intake.examination import Announcement
from node.intake.hearing import Hearing
from node.intake.introduction import introduce
from node.intake.negotiation import MalformedRequestError, agree, decode_request
from node.intake.tally import Tally
from node.peers.commitment import PUSH_MODEL, MalformedReportError, Report, decode_report
from node.security.tls import Identity, PeerCertificate, TlsError
from node.settings import DicomSettings
from node.wire.command import (
    CANCEL_REQUEST,
    ECHO_REQUEST,
    EVENT_REPORT_REQUEST,
    MAXIMUM_COMMAND,
    STORE_REQUEST,
    Command,
    MalformedCommandError,
    decode_command,
    encode_response,
)
from node.wire.listening import listen, plain_address
from node.wire.negotiation import Kind
from node.wire.pdu import (
    ABORT,
    COMMAND,
    FRAGMENT_HEAD,
    LAST,
    MAXIMUM_PDU,
    P_DATA,
    RELEASE_RP,
    RELEASE_RQ,
    PeerGoneError,
    PeerSilentError,
    ProtocolError,
    SecureWire,
    Wire,
    fragments,
)

log = logging.getLogger(__name__)

MAXIMUM_EVENT = 16 << 20  # bytes of an event report's information
PROCESSING_FAILURE, UNRECOGNISED_OPERATION = 0x0110, 0x0211
SECONDS_TO_FINISH = 5.0  # an object under way when the listener stops
_NOT_STORED = frozenset({str(Verification), PUSH_MODEL})  # what is agreed on for other things than objects


class FastListener:
    """A listening socket and the threads that serve who connects."""

    def __init__(
        self,
        settings: DicomSettings,
        ae_title: str,
        acceptance: Acceptance,
        door: Door,
        take_report: Callable[[Report], bool] | None = None,
        identity: Identity | None = None,
    ) -> None:
        self._settings = settings
        self._acceptance = acceptance
        self._door = door
        self._identity = identity
        self._take_report = take_report
        self._ae_title = ae_title
        self._supported = supported_contexts(settings.private_sop_classes)
        self._socket: socket.socket | None = None
        self._accepting = threading.Thread(target=self._accept, name=f"listener {ae_title}", daemon=True)
        self._lock = threading.Lock()
        self._associations: set[_Association] = set()
        self._stopping = False
        self._hearing = Hearing()

    def start(self) -> int:
        """Listen; return the port.

        Raises:
            OSError: the address cannot be listened on.
        """
        self._socket = listen(self._settings.host, self._settings.port, backlog=256)
        self._accepting.start()
        return int(self._socket.getsockname()[1])

    def stop(self) -> None:
        """Stop listening and end every association, after the object it is just receiving."""
        listening, self._socket = self._socket, None
        if listening is None:
            return
        self._stopping = True
        listening.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        listening.close()
        with self._lock:
            open_ = list(self._associations)
        for association in open_:
            association.end()
        until = time.monotonic() + SECONDS_TO_FINISH
        for association in open_:
            association.join(max(0.0, until - time.monotonic()))
            association.cut()
            association.join(1)

    def _accept(self) -> None:
        listening = self._socket
        assert listening is not None  # started by start
        while not self._stopping:
            try:
                self._take_in(*listening.accept())
            except Exception as error:  # noqa: BLE001  # no descriptor, memory or thread: it passes
                if not self._stopping:
                    self._hearing.failed(error)
            else:
                self._hearing.succeeded()

    def _take_in(self, connection: socket.socket, address: tuple[Any, ...]) -> None:
        with ExitStack() as undoing:
            undoing.callback(connection.close)
            association = _Association(self, connection, plain_address(str(address[0])))
            with self._lock:
                self._associations.add(association)
            undoing.callback(self.ended, association)
            self._door.knock(association)
            association.start()
            undoing.pop_all()

    def ended(self, association: _Association) -> None:
        self._door.leave(association)
        with self._lock:
            self._associations.discard(association)

    @property
    def problem(self) -> str | None:
        """Why who connects is not heard; None where nothing is wrong."""
        return None if self._stopping else self._hearing.problem(self._accepting)

    @property
    def settings(self) -> DicomSettings:
        return self._settings

    @property
    def ae_title(self) -> str:
        return self._ae_title

    @property
    def acceptance(self) -> Acceptance:
        return self._acceptance

    @property
    def door(self) -> Door:
        return self._door

    @property
    def identity(self) -> Identity | None:
        """Who we are to those that speak TLS; None where nobody is to."""
        return self._identity

    def take_report(self, report: Report) -> bool:
        """Hand on a storage commitment result; whether somebody waits for it."""
        return self._take_report is not None and self._take_report(report)

    @property
    def supported(self) -> Sequence[PresentationContext]:
        return self._supported

    @property
    def stopping(self) -> bool:
        return self._stopping


class _Association(threading.Thread):
    """One connection, from the request to the release."""

    def __init__(self, listener: FastListener, connection: socket.socket, address: str) -> None:
        super().__init__(name=f"association {address}", daemon=True)
        self.address = address
        self._listener = listener
        self._connection = connection
        self._wire: Wire = Wire(connection)
        self._caller: Caller | None = None  # once it is let in
        self._contexts: Mapping[int, Kind] = {}
        self._command = bytearray()
        self._request: Command | None = None  # whose data set is being received
        self._context_id = 0
        self._arrival: Arrival | None = None
        self._event = bytearray()  # the information of an event report
        self._tally: Tally | None = None  # once it is let in

    def end(self) -> None:
        """Have the thread end once it has no object under way."""
        if self._request is None:
            self._wire.cut(socket.SHUT_RD)

    def cut(self) -> None:
        self._wire.cut()

    def run(self) -> None:
        door = self._listener.door
        try:
            certificate = self._secure()
            if self._negotiate(certificate):
                self._wire.set_deadline(self._listener.settings.network_timeout)
                while self._serve():
                    pass
        except TlsError as error:
            door.distrust(self.address, str(error))
        except (ProtocolError, PeerSilentError) as error:
            if self._caller is None:
                door.distrust(self.address, str(error))
            elif self._request is None and isinstance(error, PeerSilentError):
                log.info("%s had nothing more to send", self._caller)
            else:
                door.lose(self._caller, str(error))
            self._abort()
        except PeerGoneError as error:
            log.info("%s: %s", self._caller or self.address, error)
            self._abort()
        except Exception:
            log.exception("The association of %s ended on an error of ours", self._caller or self.address)
            self._abort()
        finally:
            if self._arrival is not None:
                self._arrival.abandon()
            if self._tally is not None:
                self._tally.tell()
            self._wire.close()
            self._listener.ended(self)

    def _abort(self) -> None:
        """Nothing of an object under way is left once the peer reads of it."""
        if self._arrival is not None:
            self._arrival.abandon()
        try:
            self._wire.send(ABORT, b"\0\0\x02\0")
            self._wire.take_leave()
        except PeerGoneError:
            log.debug("%s had gone already", self.address)

    def _secure(self) -> PeerCertificate | None:
        """Shake hands over TLS, where it is spoken.

        Raises:
            TlsError: the peer does not speak it, or is not who it should be.
            PeerGoneError: it hung up meanwhile.
        """
        identity = self._listener.identity
        if identity is None:
            return None
        self._wire = secure = SecureWire.with_caller(self._connection, identity)
        return secure.shake_hands(self._listener.settings.tls.handshake_seconds)

    def _negotiate(self, certificate: PeerCertificate | None) -> bool:
        listener = self._listener
        introduced = introduce(
            self, self._wire, certificate, listener.door, listener.settings.network_timeout
        )
        if introduced is None:
            return False
        try:
            request = decode_request(introduced.request)
        except MalformedRequestError as error:
            raise ProtocolError(str(error)) from error
        self._caller, self._tally = introduced.caller, Tally(listener.door, introduced.caller)
        agreement = agree(request, listener.supported, MAXIMUM_PDU)
        self._contexts = agreement.contexts
        self._wire.send_pdu(agreement.answer)
        return True

    def _serve(self) -> bool:
        """Take the next PDU; whether there may be another."""
        kind, body = self._wire.receive(MAXIMUM_PDU)
        if kind == P_DATA:
            self._take_fragments(body)
            if self._listener.stopping and self._request is None:
                self._abort()
                return False
            return True
        if kind == RELEASE_RQ:
            self._wire.send(RELEASE_RP, b"\0\0\0\0")
            return False
        if kind == ABORT:
            return False
        raise ProtocolError(f"an unexpected PDU of type {kind}")

    def _take_fragments(self, body: memoryview) -> None:
        for context_id, control, data in fragments(body):
            if control & COMMAND:
                self._take_command(data, context_id, bool(control & LAST))
            else:
                self._take_data(data, context_id, bool(control & LAST))

    def _take_command(self, fragment: memoryview, context_id: int, is_last: bool) -> None:
        if self._request is not None:
            raise ProtocolError("a command within a data set")
        if context_id not in self._contexts:
            raise ProtocolError(f"context {context_id} was not accepted")
        self._command += fragment
        if len(self._command) > MAXIMUM_COMMAND:
            raise ProtocolError("a command of unreasonable length")
        if not is_last:
            return
        try:
            command = decode_command(self._command)
        except MalformedCommandError as error:
            raise ProtocolError(str(error)) from error
        self._command.clear()
        if command.field == CANCEL_REQUEST:
            return
        self._request, self._context_id = command, context_id
        self._event.clear()
        abstract_syntax, transfer_syntax = self._contexts[context_id]
        if command.field == STORE_REQUEST and abstract_syntax not in _NOT_STORED:
            assert self._caller is not None  # or no context would have been accepted
            title = self._caller.ae_title
            announced = Announcement(
                command.sop_class,
                command.uid,
                transfer_syntax,
                title,
                self.address,
                fetched=command.move_originator in (self._listener.ae_title, title),
                abstract_syntax=abstract_syntax,
            )
            self._arrival = self._listener.acceptance.begin(announced)
        if not command.has_data_set:
            self._answer(command)

    def _take_data(self, fragment: memoryview, context_id: int, is_last: bool) -> None:
        if self._request is None or context_id != self._context_id:
            raise ProtocolError("a data set without its command")
        if self._arrival is not None:
            self._arrival.write(fragment)
        elif self._request.field == EVENT_REPORT_REQUEST:
            self._event += fragment
            if len(self._event) > MAXIMUM_EVENT:
                raise ProtocolError("an event report of unreasonable length")
        if is_last:
            self._answer(self._request)

    def _take_event(self) -> Answer:
        try:
            report = decode_report(bytes(self._event), self._contexts[self._context_id][1])
        except MalformedReportError as error:
            return Answer(PROCESSING_FAILURE, str(error))
        if not self._listener.take_report(report):
            log.info("%s reports on a transaction nobody waits for: %s", self._caller, report.transaction_uid)
        return Answer(SUCCESS)

    def _answer(self, request: Command) -> None:
        arrival, self._arrival = self._arrival, None
        if arrival is not None:
            answer = arrival.finish()
            if self._tally is not None:
                self._tally.add(answer)
        elif request.field == EVENT_REPORT_REQUEST and request.sop_class == PUSH_MODEL:
            answer = self._take_event()
        else:
            answer = Answer(SUCCESS if request.field == ECHO_REQUEST else UNRECOGNISED_OPERATION)
        response = encode_response(request, answer.status, answer.comment)
        self._request = None
        fragment = FRAGMENT_HEAD.pack(len(response) + 2, self._context_id, COMMAND | LAST)
        self._wire.send(P_DATA, fragment + response)
