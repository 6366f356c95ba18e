"""An association that this node asks for: one thread on the socket, objects sent as they lie on disk."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import BinaryIO

from pynetdicom.pdu_primitives import A_ASSOCIATE

from node.security.tls import TlsError, in_words
from node.wire.command import (
    ACTION_REQUEST,
    ECHO_REQUEST,
    EVENT_REPORT_REQUEST,
    MAXIMUM_COMMAND,
    RESPONSE,
    STORE_REQUEST,
    MalformedCommandError,
    Response,
    decode_command,
    decode_response,
    encode_action_request,
    encode_echo_request,
    encode_response,
    encode_store_request,
)
from node.wire.negotiation import (
    CALLER_NOT_RECOGNISED,
    MAXIMUM_CONTEXTS,
    Accepted,
    Kind,
    decode_acceptance,
    encode_request,
)
from node.wire.pdu import (
    ABORT,
    ASSOCIATE_AC,
    ASSOCIATE_RJ,
    COMMAND,
    FRAGMENT_HEAD,
    LAST,
    MAXIMUM_PDU,
    P_DATA,
    PDU_HEAD,
    RELEASE_RP,
    RELEASE_RQ,
    PeerGoneError,
    ProtocolError,
    Wire,
    fragments,
    wire_over,
)

MAXIMUM_ACCEPTANCE = 1 << 20  # bytes of an A-ASSOCIATE-AC
MAXIMUM_EVENT = 16 << 20  # bytes of an event's information
SMALLEST_PDU = 1024  # a peer that announces less is not taken at its word
PIECE = 256 * 1024  # bytes of a data set handed to the kernel at once
SECONDS_TO_PART = 5.0  # for the answer to a release


class UnreachableError(RuntimeError):
    """Nobody answers at the address."""


class UnknownHostError(UnreachableError):
    """The host name is not known."""


class RejectedError(RuntimeError):
    """The peer rejects the association; the message is its reason."""


class CallerRejectedError(RejectedError):
    """It does not know the calling AE title."""


class BrokenDataError(RuntimeError):
    """The data set cannot be read to its end; nothing after it can be sent on this association."""


class Association:
    """An established association; made by ``request_association``."""

    def __init__(self, wire: Wire, accepted: Accepted) -> None:
        self._wire = wire
        self._contexts = accepted.contexts
        self._fragment = _fragment_size(accepted.maximum_pdu)
        self._piece = bytearray(max(1, PIECE // self._fragment) * self._fragment)
        self._message_id = 0

    @property
    def accepted(self) -> frozenset[Kind]:
        return frozenset(self._contexts)

    def echo(self, kind: Kind) -> Response:
        """C-ECHO (PS3.7 9.1.5).

        Raises:
            PeerGoneError: no answer came.
            ProtocolError: the answer is none.
        """
        context_id = self._contexts[kind]
        self._send_command(context_id, encode_echo_request(self._next_id(), kind[0]))
        return self._answer(context_id, ECHO_REQUEST)

    def store(self, kind: Kind, uid: str, data_set: BinaryIO, size: int) -> Response:
        """C-STORE (PS3.7 9.1.1) the next ``size`` bytes of ``data_set``, encoded in the kind's syntax.

        Raises:
            PeerGoneError: the peer took it too slowly, left, or did not answer.
            ProtocolError: the peer aborted, or its answer is none.
            BrokenDataError: ``data_set`` ends early or cannot be read.
        """
        context_id = self._contexts[kind]
        self._send_command(context_id, encode_store_request(self._next_id(), kind[0], uid))
        try:
            self._send_data(context_id, data_set, size)
        except PeerGoneError as gone:
            raise self._last_words() or gone from gone
        return self._answer(context_id, STORE_REQUEST)

    def action(self, kind: Kind, uid: str, action: int, data: bytes) -> Response:
        """N-ACTION (PS3.7 10.1.4) on the well-known instance ``uid``, with ``data`` as its information.

        Raises:
            PeerGoneError: no answer came.
            ProtocolError: the answer is none.
        """
        context_id = self._contexts[kind]
        self._send_command(context_id, encode_action_request(self._next_id(), kind[0], uid, action))
        self._send_data(context_id, BytesIO(data), len(data))
        return self._answer(context_id, ACTION_REQUEST)

    def await_event(self, kind: Kind, seconds: float) -> bytes | None:
        """The information of an N-EVENT-REPORT (PS3.7 10.1.1) that comes within ``seconds``, answered with
        success; None if none comes.

        Raises:
            ProtocolError: something else comes.
        """
        self._wire.set_deadline(seconds)
        command, data = bytearray(), bytearray()
        is_whole = False
        while not is_whole:
            try:
                pdu, body = self._wire.receive(MAXIMUM_PDU)
            except PeerGoneError:
                return None
            if pdu != P_DATA:
                return None
            for _, control, piece in fragments(body):
                received = command if control & COMMAND else data
                received += piece
                if len(received) > MAXIMUM_EVENT:
                    raise ProtocolError("it sent an event of unreasonable length")
                is_whole = control & (COMMAND | LAST) == LAST
        try:
            request = decode_command(command)
        except MalformedCommandError as error:
            raise ProtocolError(f"its event cannot be read: {error}") from error
        if request.field != EVENT_REPORT_REQUEST:
            raise ProtocolError("it sent something else than an event")
        self._send_command(self._contexts[kind], encode_response(request, 0x0000))
        return bytes(data)

    def release(self) -> None:
        """End in order; whatever the peer does then, it is over."""
        try:
            self._wire.set_deadline(SECONDS_TO_PART)
            self._wire.send(RELEASE_RQ, bytes(4))
            kind, _ = self._wire.receive(MAXIMUM_PDU)
            if kind == RELEASE_RQ:  # both at once (PS3.8 9.2, release collision)
                self._wire.send(RELEASE_RP, bytes(4))
                self._wire.receive(MAXIMUM_PDU)
        except (PeerGoneError, ProtocolError):
            pass  # every answer had come before
        finally:
            self._wire.close()

    def abort(self) -> None:
        _abort(self._wire)

    def _next_id(self) -> int:
        self._message_id = self._message_id % 0xFFFF + 1
        return self._message_id

    def _send_command(self, context_id: int, command: bytes) -> None:
        pieces = [command[i : i + self._fragment] for i in range(0, len(command), self._fragment)]
        for number, piece in enumerate(pieces, 1):
            control = COMMAND | (LAST if number == len(pieces) else 0)
            self._wire.send_pdu(_heads(context_id, control, len(piece)) + piece)

    def _send_data(self, context_id: int, data_set: BinaryIO, size: int) -> None:
        piece, left = memoryview(self._piece), size
        while True:
            data = piece[: min(left, len(piece))]
            try:
                count = data_set.readinto(data) if data else 0  # type: ignore[attr-defined]
            except OSError as error:
                raise BrokenDataError(f"it cannot be read: {error.strerror or error}") from error
            if count != len(data):
                raise BrokenDataError("it ends early; something shortened it while it was sent")
            left -= count
            self._wire.send_parts(list(self._framed(context_id, data, is_end=not left)))
            if not left:
                return

    def _framed(self, context_id: int, data: memoryview, is_end: bool) -> Iterator[bytes | memoryview]:
        """``data`` in P-DATA-TFs of one fragment each."""
        for start in range(0, max(1, len(data)), self._fragment):
            fragment = data[start : start + self._fragment]
            is_last = is_end and start + self._fragment >= len(data)
            yield _heads(context_id, LAST if is_last else 0, len(fragment))
            if fragment:
                yield fragment

    def _answer(self, context_id: int, field: int) -> Response:
        command = bytearray()
        while True:
            kind, body = self._wire.receive(MAXIMUM_PDU)
            if kind != P_DATA:
                raise _ended(kind, bytes(body))
            for answered_in, control, data in fragments(body):
                if answered_in != context_id or not control & COMMAND:
                    raise ProtocolError("it sent something else than the answer")
                command += data
                if len(command) > MAXIMUM_COMMAND:
                    raise ProtocolError("it sent an answer of unreasonable length")
                if control & LAST:
                    return self._read(command, field)

    def _read(self, command: bytearray, field: int) -> Response:
        try:
            response = decode_response(command)
        except MalformedCommandError as error:
            raise ProtocolError(f"its answer cannot be read: {error}") from error
        if response.field != field | RESPONSE or response.message_id != self._message_id:
            raise ProtocolError("it answered a request that was not made")
        return response

    def _last_words(self) -> ProtocolError | None:
        """What a peer that stopped taking data said before: often an abort with its reason."""
        try:
            self._wire.set_deadline(0.2)
            kind, body = self._wire.receive(MAXIMUM_PDU)
        except (PeerGoneError, ProtocolError):
            return None
        return _ended(kind, bytes(body))


def request_association(
    host: str,
    port: int,
    *,
    calling: str,
    called: str,
    kinds: Sequence[Kind],
    seconds: float,
    tls: tuple[ssl.SSLContext, str] | None = None,
) -> Association:
    """Connect and propose a context for each of ``kinds``. ``seconds`` bound connecting, each answer, and
    the time that the peer takes for 256 KiB. ``tls``: with whose certificates to speak it, and the name that
    the peer's has to bear.

    Raises:
        UnreachableError: nobody listens there, or the name is not known.
        TlsError: the peer speaks no TLS, or one side does not accept the other's certificate.
        RejectedError: the peer does not want the association; CallerRejectedError: not from this caller.
        PeerGoneError: it gave no answer.
        ProtocolError: what listens there does not speak DICOM, or aborted.
    """
    if len(kinds) > MAXIMUM_CONTEXTS:
        raise ValueError(f"{len(kinds)} contexts; an association holds {MAXIMUM_CONTEXTS}")
    proposed = {2 * number + 1: kind for number, kind in enumerate(kinds)}
    try:
        connection = socket.create_connection((host, port), seconds)
    except socket.gaierror as error:
        raise UnknownHostError(str(error)) from error
    except OSError as error:
        raise UnreachableError(str(error)) from error
    wire = wire_over(_secured(connection, *tls) if tls else connection)
    try:
        wire.set_deadline(seconds)
        wire.send_pdu(encode_request(calling, called, proposed))
        kind, body = wire.receive(MAXIMUM_ACCEPTANCE)
        if kind == ASSOCIATE_RJ and len(body) == 4:
            rejected = CallerRejectedError if tuple(body[1:4]) == CALLER_NOT_RECOGNISED else RejectedError
            raise rejected(_reason(*body[1:4]))
        if kind != ASSOCIATE_AC:
            raise _ended(kind, bytes(body))
        return Association(wire, decode_acceptance(bytes(body), proposed))
    except RejectedError:
        wire.close()
        raise
    except (PeerGoneError, ProtocolError) as error:
        _abort(wire)
        if isinstance(error.__cause__, ssl.SSLError):  # in TLS 1.3 it looks at our certificate only now
            raise TlsError(in_words(error.__cause__)) from error
        raise


def _secured(connection: socket.socket, context: ssl.SSLContext, name: str) -> ssl.SSLSocket:
    try:
        return context.wrap_socket(connection, server_hostname=name)
    except OSError as error:
        connection.close()
        raise TlsError(in_words(error)) from error


def _abort(wire: Wire) -> None:
    try:
        wire.set_deadline(SECONDS_TO_PART)
        wire.send(ABORT, bytes(4))
    except PeerGoneError:
        pass  # it is what was wanted
    finally:
        wire.close()


def _fragment_size(maximum_pdu: int) -> int:
    """How much data goes into one P-DATA-TF: an even number, as PS3.8 9.3.5.1 has it."""
    most = max(min(maximum_pdu or MAXIMUM_PDU, MAXIMUM_PDU), SMALLEST_PDU)
    return (most - FRAGMENT_HEAD.size) // 2 * 2


def _heads(context_id: int, control: int, size: int) -> bytes:
    """The heads of a P-DATA-TF and of the one fragment in it."""
    return PDU_HEAD.pack(P_DATA, size + FRAGMENT_HEAD.size) + FRAGMENT_HEAD.pack(
        size + 2, context_id, control
    )


def _ended(kind: int, body: bytes) -> ProtocolError:
    if kind == ABORT:
        return ProtocolError("it aborted the association")
    if kind == RELEASE_RQ:
        return ProtocolError("it released the association instead of answering")
    return ProtocolError(f"it sent a PDU of type {kind} instead of an answer")


def _reason(result: int, source: int, diagnostic: int) -> str:
    """PS3.8 Table 9-21, in words."""
    answer = A_ASSOCIATE()
    try:
        answer.result, answer.result_source, answer.diagnostic = result, source, diagnostic
    except ValueError:
        return f"result {result}, source {source}, reason {diagnostic}"
    return f"{answer.result_str}, {answer.reason_str}"
