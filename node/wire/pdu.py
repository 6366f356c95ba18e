"""PDUs (PS3.8 9.3) over a socket, each read and written whole within a deadline that the kernel keeps."""

from __future__ import annotations

import socket
import ssl
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Self

from node.security.tls import Identity, PeerCertificate, TlsError, certificate_of, in_words

MAXIMUM_PDU = 256 * 1024  # of the fragments a peer may put into one PDU; what we announce

ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ, P_DATA, RELEASE_RQ, RELEASE_RP, ABORT = range(1, 8)
PDU_HEAD = struct.Struct(">BxI")
FRAGMENT_HEAD = struct.Struct(">IBB")
SECONDS_TO_TAKE_LEAVE, BYTES_TO_TAKE_LEAVE = 1.0, 1 << 20  # for a peer to hang up after it was turned away
COMMAND, LAST = 0x01, 0x02  # bits of a fragment's control header (PS3.8 E.2)


class ProtocolError(RuntimeError):
    """The peer does not keep to the protocol, or to our limits: its association is aborted."""


class PeerGoneError(RuntimeError):
    """The peer has closed the connection or has been silent for too long."""


class PeerSilentError(PeerGoneError):
    """The peer has been silent for too long."""


class Wire:
    """A connection that is read in whole PDUs."""

    def __init__(self, connection: socket.socket) -> None:
        """``connection`` blocks; the wire ends it."""
        self._connection = connection
        self._head = bytearray(PDU_HEAD.size)
        self._buffer = bytearray(MAXIMUM_PDU)
        self._seconds = 0.0
        connection.setblocking(True)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    @property
    def connection(self) -> socket.socket:
        return self._connection

    def set_deadline(self, seconds: float) -> None:
        """How long a PDU may take to begin, and again to come in whole; and to go out."""
        self._seconds = seconds
        value = struct.pack("@ll", int(seconds), int(seconds % 1 * 1e6))
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            self._connection.setsockopt(socket.SOL_SOCKET, option, value)

    def receive(self, maximum: int) -> tuple[int, memoryview]:
        """The next PDU's type and body; the body is valid until the next call.

        Raises:
            PeerGoneError: the connection is closed, or the deadline has passed.
            ProtocolError: the PDU announces more than ``maximum`` bytes.
        """
        self._fill(memoryview(self._head))
        kind, length = PDU_HEAD.unpack(self._head)
        if length > maximum:
            raise ProtocolError(f"a PDU of type {kind} announces {length} bytes; {maximum} are allowed")
        if length > len(self._buffer):
            self._buffer = bytearray(length)
        body = memoryview(self._buffer)[:length]
        self._fill(body)
        return kind, body

    def cut(self, how: int = socket.SHUT_RDWR) -> None:
        """End the connection, or one direction of it; any thread may."""
        with suppress(OSError):  # it had ended
            socket.socket.shutdown(self._connection, how)  # beneath TLS, which has no half

    def take_leave(self) -> None:
        """After the last word: see to it that the peer gets to read it."""
        self.hear_out()

    def hear_out(self) -> None:
        """Say nothing more, and wait a moment until the peer hangs up: a close with data of its own unread
        would cost it what it has yet to read (RFC 1122 4.2.2.13)."""
        raw, until, left = socket.socket, time.monotonic() + SECONDS_TO_TAKE_LEAVE, BYTES_TO_TAKE_LEAVE
        self.set_deadline(SECONDS_TO_TAKE_LEAVE)
        with suppress(OSError):
            raw.shutdown(self._connection, socket.SHUT_WR)  # beneath TLS, which has no half
            while left > 0 and time.monotonic() < until:
                count = len(raw.recv(self._connection, 1 << 16))
                if not count:
                    break
                left -= count

    def close(self) -> None:
        self._connection.close()

    def send(self, kind: int, body: bytes) -> None:
        self.send_pdu(PDU_HEAD.pack(kind, len(body)) + body)

    def send_pdu(self, pdu: bytes) -> None:
        self.send_parts((pdu,))

    def send_parts(self, parts: Sequence[bytes | memoryview]) -> None:
        """Send ``parts`` one after the other, all within one deadline.

        Raises:
            PeerGoneError: the connection is closed, or the peer does not take them in time.
        """
        until = time.monotonic() + self._seconds
        left = list(parts)
        while left:
            try:
                count = self._connection.sendmsg(left)
            except BlockingIOError:
                raise PeerSilentError("takes no data") from None
            except OSError as error:
                raise PeerGoneError(str(error)) from error
            while left and count >= len(left[0]):
                count -= len(left.pop(0))
            if left:
                left[0] = memoryview(left[0])[count:]
                if self._seconds and time.monotonic() > until:
                    raise PeerSilentError("takes data too slowly")

    def _fill(self, view: memoryview) -> None:
        if not view:
            return
        try:
            count = self._connection.recv_into(view, len(view), socket.MSG_WAITALL)
        except BlockingIOError:
            raise PeerSilentError("silent for too long") from None
        except OSError as error:
            raise PeerGoneError(str(error)) from error
        if count < len(view):
            if self._is_open():
                raise PeerSilentError("sends data too slowly")
            raise PeerGoneError("closed the connection")

    def _is_open(self) -> bool:
        try:
            return bool(self._connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except BlockingIOError:
            return True
        except OSError:
            return False


class SecureWire(Wire):
    """The same over TLS, which hands out no more than a record (16 KiB) at a time."""

    def __init__(self, connection: ssl.SSLSocket) -> None:
        super().__init__(connection)
        self._secure = connection

    @classmethod
    def with_caller(cls, connection: socket.socket, identity: Identity) -> Self:
        """Over a connection that a peer has made, before the two have shaken hands.

        Raises:
            PeerGoneError: it has hung up.
        """
        try:
            secure = identity.accepting().wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
        except OSError as error:
            raise PeerGoneError("hung up before the TLS handshake") from error
        return cls(secure)

    def shake_hands(self, seconds: float) -> PeerCertificate | None:
        """The TLS handshake; returns what the peer showed of itself.

        Raises:
            TlsError: the peer does not speak TLS, is not who it should be, or takes longer than ``seconds``.
            PeerGoneError: it hung up meanwhile.
        """
        self.set_deadline(seconds)
        try:
            self._secure.do_handshake()
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError, ConnectionError) as error:
            raise PeerGoneError("hung up during the TLS handshake") from error
        except OSError as error:
            self.hear_out()
            raise TlsError(in_words(error)) from error
        return certificate_of(self._secure)

    def set_deadline(self, seconds: float) -> None:
        self._seconds = seconds
        self._secure.settimeout(seconds)

    def take_leave(self) -> None:
        self._say_goodbye()
        self.hear_out()

    def close(self) -> None:
        self._say_goodbye()
        super().close()

    def _say_goodbye(self) -> None:
        with suppress(OSError, ValueError):  # nobody listens any more
            self._secure.settimeout(0)
            self._secure.unwrap()  # waits for no answer

    def send_parts(self, parts: Sequence[bytes | memoryview]) -> None:
        until = time.monotonic() + self._seconds
        left = memoryview(b"".join(parts))
        while left:
            try:
                left = left[self._secure.send(left) :]
            except OSError as error:
                raise _gone(error, "takes no data") from error
            if left and time.monotonic() > until:
                raise PeerSilentError("takes data too slowly")

    def _fill(self, view: memoryview) -> None:
        until = time.monotonic() + self._seconds
        while view:
            try:
                count = self._secure.recv_into(view, len(view))
            except OSError as error:
                raise _gone(error, "silent for too long") from error
            if not count:
                raise PeerGoneError("closed the connection")
            view = view[count:]
            if view and time.monotonic() > until:
                raise PeerSilentError("sends data too slowly")


def wire_over(connection: socket.socket) -> Wire:
    """The wire that fits a connection."""
    return SecureWire(connection) if isinstance(connection, ssl.SSLSocket) else Wire(connection)


def fragments(body: memoryview) -> Iterator[tuple[int, int, memoryview]]:
    """Context ID, control header and data of each fragment in a P-DATA-TF's body (PS3.8 9.3.5).

    Raises:
        ProtocolError: one is cut short or reaches beyond the PDU.
    """
    position, end = 0, len(body)
    while position < end:
        if position + FRAGMENT_HEAD.size > end:
            raise ProtocolError("a fragment is cut short")
        length, context_id, control = FRAGMENT_HEAD.unpack_from(body, position)
        start, position = position + FRAGMENT_HEAD.size, position + 4 + length
        if length < 2 or position > end:
            raise ProtocolError("a fragment reaches beyond its PDU")
        yield context_id, control, body[start:position]


def _gone(error: OSError, silence: str) -> PeerGoneError:
    if isinstance(error, TimeoutError):
        return PeerSilentError(silence)
    return PeerGoneError(in_words(error))
