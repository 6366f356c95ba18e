"""Receives with pynetdicom's own associations: slower than ``transport``, by public names of the library.

Who is let in, TLS, deadlines and limits are those of ``transport``; what else differs is written in
docs/conformance.md, and held by the intake's tests.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable
from functools import partial
from io import BytesIO
from socketserver import BaseServer
from typing import Any, cast

from pydicom import Dataset
from pynetdicom import AE, evt, register_uid
from pynetdicom.association import Association
from pynetdicom.dimse_messages import C_CANCEL_RQ
from pynetdicom.dimse_primitives import C_ECHO, C_STORE
from pynetdicom.events import Event
from pynetdicom.pdu import P_DATA_TF
from pynetdicom.service_class import StorageServiceClass
from pynetdicom.sop_class import uid_to_service_class
from pynetdicom.transport import RequestHandler, ThreadedAssociationServer

from node.intake.acceptance import SUCCESS, Acceptance
from node.intake.contexts import RETIRED_STORAGE_CLASSES, supported_contexts
from node.intake.door import Door
from node.intake.examination import Announcement
from node.intake.hearing import Hearing
from node.intake.introduction import introduce
from node.intake.negotiation import MalformedRequestError, check_size
from node.intake.stock_connection import BoundedSocket, Connection, bound
from node.intake.tally import Tally
from node.intake.transport import (
    PROCESSING_FAILURE,
    SECONDS_TO_FINISH,
    UNRECOGNISED_OPERATION,
)
from node.peers.commitment import MalformedReportError, Report, decode_report
from node.security.tls import Identity, TlsError
from node.settings import DicomSettings
from node.wire.listening import plain_address
from node.wire.pdu import (
    ABORT,
    ASSOCIATE_RQ,
    MAXIMUM_PDU,
    PDU_HEAD,
    PeerGoneError,
    PeerSilentError,
    ProtocolError,
    SecureWire,
    Wire,
)
from storage.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION

log = logging.getLogger(__name__)

SECONDS_BETWEEN_LOOKS = 0.05  # at whether to stop listening
NO_MESSAGE = "sends what is no PDU, or no message"
_NO_LIMIT = 1 << 20  # of associations: the door counts them, and pynetdicom would count who is silent too


class StockListener:
    """A listening socket whose associations pynetdicom serves, each with two threads that poll, once it is
    known who asks."""

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
        self._door = door
        self._acceptance = acceptance
        self._take_report = take_report
        self._identity = identity
        self._server: _Server | None = None
        self._hearing = Hearing()
        self._arriving: dict[tuple[str, int], Connection] = {}
        self._connections: dict[Association, Connection] = {}
        self._lock = threading.Lock()
        self._ae = AE(ae_title)
        self._ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
        self._ae.implementation_version_name = IMPLEMENTATION_VERSION
        self._ae.maximum_associations = _NO_LIMIT
        self._ae.maximum_pdu_size = MAXIMUM_PDU
        self._ae.network_timeout = settings.network_timeout
        for uid in (*RETIRED_STORAGE_CLASSES, *settings.private_sop_classes):
            if uid_to_service_class(uid) is not StorageServiceClass:
                register_uid(uid, f"Storage_{uid.replace('.', '_')}", StorageServiceClass)

    def start(self) -> int:
        """Listen; return the port.

        Raises:
            OSError: the address cannot be listened on.
        """
        server = self._ae.make_server(
            (self._settings.host, self._settings.port),
            contexts=supported_contexts(self._settings.private_sop_classes),
            evt_handlers=[
                (evt.EVT_CONN_OPEN, self._on_open),
                (evt.EVT_ABORTED, self._on_aborted),
                (evt.EVT_FSM_TRANSITION, self._on_transition),
                (evt.EVT_DIMSE_RECV, self._on_message),
                (evt.EVT_PDU_SENT, self._on_sent),
                (evt.EVT_C_ECHO, self._on_echo),
                (evt.EVT_C_STORE, self._on_store),
                (evt.EVT_N_EVENT_REPORT, self._on_report),
            ],
            server_class=_Server,
            request_handler=partial(_Entrance, self._serve),
        )
        self._server = cast(_Server, server)
        self._server.arrive, self._server.turn_back = self._arrive, self._turn_back
        self._server.hearing = self._hearing
        listen = partial(self._server.serve_forever, poll_interval=SECONDS_BETWEEN_LOOKS)
        self._listening = threading.Thread(target=listen, name="listener", daemon=True)
        self._listening.start()
        return int(self._server.server_address[1])

    def stop(self) -> None:
        """Stop listening and end every association, after the object it is just receiving."""
        server, self._server = self._server, None
        if server is None:
            return
        BaseServer.shutdown(server)  # pynetdicom's own looks for it in a list where only its own servers are
        server.server_close()
        with self._lock:
            open_ = [*self._arriving.values(), *self._connections.values()]
        until = time.monotonic() + SECONDS_TO_FINISH
        for connection in sorted(open_, key=lambda one: one.is_busy):
            while connection.is_busy and not connection.ended.wait(0.01) and time.monotonic() < until:
                continue
            connection.end()
        for connection in open_:
            connection.ended.wait(max(1.0, until - time.monotonic()))

    @property
    def problem(self) -> str | None:
        """Why who connects is not heard; None where nothing is wrong."""
        return None if self._server is None else self._hearing.problem(self._listening)

    def _arrive(self, request: socket.socket, client_address: Any) -> None:
        connection = Connection(plain_address(str(client_address[0])), Wire(request))
        with self._lock:
            self._arriving[_place(client_address)] = connection
        self._door.knock(connection)

    def _serve(self, entrance: _Entrance) -> None:
        """One connection, in a thread of its own, until its end."""
        connection = self._arriving[_place(entrance.client_address)]
        try:
            if self._identity is not None:
                connection.wire = wire = SecureWire.with_caller(entrance.request, self._identity)
                connection.certificate = wire.shake_hands(self._settings.tls.handshake_seconds)
                entrance.request = wire.connection
            if self._is_introduced(connection):
                entrance.associate()
                self._await_end(connection)
        except TlsError as error:
            self._door.distrust(connection.address, str(error))
        except (ProtocolError, MalformedRequestError, PeerSilentError) as error:
            self._break_off(connection, str(error))
        except PeerGoneError as error:
            log.info("%s: %s", connection.address, error)
        finally:
            if connection.tally is not None:
                connection.tally.tell()
            connection.wire.close()
            self._leave(connection, entrance.client_address)

    def _leave(self, connection: Connection, client_address: Any) -> None:
        self._door.leave(connection)
        with self._lock:
            self._arriving.pop(_place(client_address), None)
            if connection.association is not None:
                self._connections.pop(connection.association, None)
        connection.ended.set()

    def _turn_back(self, client_address: Any) -> None:
        """Who has just arrived cannot be served."""
        if connection := self._arriving.get(_place(client_address)):
            self._leave(connection, client_address)

    def _is_introduced(self, connection: Connection) -> bool:
        """Whether an association is asked for by somebody who is let in: pynetdicom sees no other's request.

        Raises:
            ProtocolError, MalformedRequestError: it is asked for as no sound peer does.
            PeerGoneError: the peer hung up, or is silent.
        """
        introduced = introduce(
            connection,
            connection.wire,
            connection.certificate,
            self._door,
            self._settings.network_timeout,
        )
        if introduced is None:
            return False
        check_size(introduced.request)
        connection.request = PDU_HEAD.pack(ASSOCIATE_RQ, len(introduced.request)) + introduced.request
        connection.caller, connection.tally = introduced.caller, Tally(self._door, introduced.caller)
        return True

    def _await_end(self, connection: Connection) -> None:
        association = connection.association
        assert association is not None  # since it was opened
        association.join()
        if not (association.is_released or association.is_aborted):
            self._complain(connection, NO_MESSAGE)  # on which its threads have ended

    def _on_open(self, event: Event) -> None:
        """Between the arrival of a connection and the first look at what it says."""
        with self._lock:
            connection = self._arriving.pop(_place(cast(Any, event).address))
            self._connections[event.assoc] = connection
        connection.association = event.assoc
        sock: Any = event.assoc.dul.socket
        sock.__class__ = BoundedSocket
        sock.given, sock.seconds = connection.request, self._settings.network_timeout
        sock.break_off = partial(self._break_off, connection)
        sock.has_waiting, sock.refused = lambda: not event.assoc.dimse.msg_queue.empty(), ""

    def _on_aborted(self, event: Event) -> None:
        """Who was only left idle is not noted."""
        connection = self._connections.get(event.assoc)
        if connection and event.assoc.dul.idle_timer_expired() and connection.is_busy:
            self._complain(connection, "silent for too long")

    def _on_transition(self, event: Event) -> None:
        if event.fsm_event == "Evt19" and (connection := self._connections.get(event.assoc)):
            self._complain(connection, NO_MESSAGE)
        elif event.fsm_event == "Evt10" and (message := event.assoc.dimse.message) is not None:
            sock: Any = event.assoc.dul.socket
            sock.refused = bound(message, self._settings.maximum_object_mb << 20)

    def _complain(self, connection: Connection, why: str) -> None:
        """Note once what a connection is ended for, though both threads of its association may say so."""
        with self._lock:
            if connection.was_noted:
                return
            connection.was_noted = True
        if connection.caller is None:
            self._door.distrust(connection.address, why)
        else:
            self._door.lose(connection.caller, why)

    def _break_off(self, connection: Connection, why: str) -> None:
        self._complain(connection, why)
        try:
            connection.wire.send(ABORT, b"\0\0\x02\0")
            connection.wire.take_leave()
        except PeerGoneError:
            log.debug("%s had gone already", connection.address)

    def _on_message(self, event: Event) -> None:
        """pynetdicom passes over a command that lacks what it must have, as over a C-CANCEL."""
        connection = self._connections.get(event.assoc)
        if connection is None or isinstance(event.message, C_CANCEL_RQ):
            return
        if cast(Any, event.message.message_to_primitive()).is_valid_request:
            connection.owes_answer = True

    def _on_sent(self, event: Event) -> None:
        if isinstance(event.pdu, P_DATA_TF) and (connection := self._connections.get(event.assoc)):
            connection.owes_answer = False

    @staticmethod
    def _on_echo(event: Event) -> int:
        """pynetdicom takes whatever comes in a context for echoes for one."""
        return SUCCESS if isinstance(event.request, C_ECHO) else UNRECOGNISED_OPERATION

    def _on_report(self, event: Event) -> tuple[int, None]:
        information = cast(BytesIO | None, cast(Any, event.request).EventInformation)
        try:
            encoded = information.getvalue() if information else b""
            report = decode_report(encoded, str(event.context.transfer_syntax))
        except MalformedReportError as error:
            log.warning("A storage commitment result cannot be read: %s", error)
            return PROCESSING_FAILURE, None
        if self._take_report is None or not self._take_report(report):
            log.info("A report on a transaction nobody waits for: %s", report.transaction_uid)
        return SUCCESS, None

    def _on_store(self, event: Event) -> Dataset:
        connection = self._connections[event.assoc]
        request = cast(C_STORE, event.request)
        title = connection.caller.ae_title if connection.caller else ""
        announced = Announcement(
            sop_class=str(request.AffectedSOPClassUID or ""),
            uid=str(request.AffectedSOPInstanceUID or ""),
            transfer_syntax=str(event.context.transfer_syntax),
            caller=title,
            address=connection.address,
            fetched=str(request.MoveOriginatorApplicationEntityTitle or "").strip()
            in (self._ae.ae_title, title),
            abstract_syntax=str(event.context.abstract_syntax),
        )
        arrival = self._acceptance.begin(announced)
        arrival.write(cast(BytesIO, request.DataSet).getbuffer())
        answer = arrival.finish()
        if connection.tally is not None:
            connection.tally.add(answer)
        response = Dataset()
        response.Status = answer.status
        if answer.comment:
            response.ErrorComment = answer.comment[:64]
        return response


def _place(client_address: Any) -> tuple[str, int]:
    """Where a connection comes from; no other that is open comes from there."""
    return str(client_address[0]), int(client_address[1])


class _Server(ThreadedAssociationServer):
    """Tells of each connection in the order of their coming, before it has a thread."""

    daemon_threads = True
    request_queue_size = 256
    arrive: Callable[[socket.socket, Any], None]
    turn_back: Callable[[Any], None]
    hearing: Hearing

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        """
        Raises:
            OSError: none can be accepted, which passes.
        """
        try:
            return super().get_request()
        except Exception as error:
            self.hearing.failed(error)
            raise OSError(str(error)) from error  # any other would end the thread that listens

    def process_request(self, request: Any, client_address: Any) -> None:
        try:
            self.arrive(request, client_address)
            super().process_request(request, client_address)
        except Exception as error:  # noqa: BLE001  # no memory, no thread to be had: it passes
            self.turn_back(client_address)
            self.shutdown_request(request)
            self.hearing.failed(error)
        else:
            self.hearing.succeeded()

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.exception("A connection from %s could not be served", client_address)


class _Entrance(RequestHandler):
    """Where a connection comes in, in a thread of its own."""

    request: socket.socket

    def __init__(self, serve: Callable[[_Entrance], None], *arguments: Any) -> None:
        self._serve = serve
        super().__init__(*arguments)  # which handles it

    def handle(self) -> None:
        self._serve(self)

    def associate(self) -> None:
        """Start the association's threads."""
        super().handle()
