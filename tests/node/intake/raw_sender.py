"""A sender that does what a sound one never would: any bytes, any UID, any pace."""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import build_context
from pynetdicom.pdu import A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    MaximumLengthNotification,
)

ASSOCIATE_AC, ASSOCIATE_RJ, P_DATA, RELEASE_RQ, RELEASE_RP, ABORT = 2, 3, 4, 5, 6, 7


class RawSender:
    """A TCP connection and the few PDUs needed to talk over it."""

    def __init__(self, port: int, timeout: float = 20) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def associate(
        self,
        contexts: Sequence[tuple[str, str]] = ((CTImageStorage, ExplicitVRLittleEndian),),
        caller: str = "RAW",
    ) -> int:
        """Ask for an association; return the type of the PDU that answers."""
        self.socket.sendall(association_request(contexts, caller))
        return self.receive()[0]

    def store(
        self,
        data: bytes,
        uid: str,
        sop_class: str = CTImageStorage,
        context_id: int = 1,
        fragment: int = 16_000,
        originator: str = "",
    ) -> int:
        """Send one object and return the status of the answer."""
        self.socket.sendall(store_pdus(data, uid, sop_class, context_id, fragment, originator))
        return self.status()

    def status(self) -> int:
        """Receive a response and return its Status (0000,0900)."""
        kind, body = self.receive()
        assert kind == P_DATA, f"PDU type {kind} instead of a response"
        return status_in(body)

    def send_pdu(self, kind: int, body: bytes) -> None:
        self.socket.sendall(pdu(kind, body))

    def release(self) -> int:
        self.send_pdu(RELEASE_RQ, b"\0\0\0\0")
        return self.receive()[0]

    def receive(self) -> tuple[int, bytes]:
        """The next PDU's type and body; type 0 when the peer has closed the connection."""
        head = self._exactly(6)
        if len(head) < 6:
            return 0, b""
        return head[0], self._exactly(struct.unpack(">I", head[2:])[0])

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            try:
                piece = self.socket.recv(count - len(data))
            except ConnectionResetError:
                break
            if not piece:
                break
            data += piece
        return data


def association_request(contexts: Sequence[tuple[str, str]], caller: str = "RAW") -> bytes:
    primitive = A_ASSOCIATE()
    primitive.application_context_name = UID("1.2.840.10008.3.1.1.1")
    primitive.calling_ae_title, primitive.called_ae_title = caller, "OVERREAD"
    offered = [build_context(*context) for context in contexts]
    for number, context in enumerate(offered):
        context.context_id = 2 * number + 1
    primitive.presentation_context_definition_list = offered
    length, implementation = MaximumLengthNotification(), ImplementationClassUIDNotification()
    length.maximum_length_received = 0
    implementation.implementation_class_uid = UID("1.2.3.4")
    primitive.user_information = [length, implementation]
    return A_ASSOCIATE_RQ(primitive).encode()


def status_in(body: bytes) -> int:
    """The Status of the response that a P-DATA-TF's body holds."""
    return int(struct.unpack_from("<H", body, body.index(b"\0\0\0\x09\x02\0\0\0") + 8)[0])


def pdu(kind: int, body: bytes) -> bytes:
    return struct.pack(">BBI", kind, 0, len(body)) + body


def store_pdus(
    data: bytes,
    uid: str | bytes,
    sop_class: str,
    context_id: int = 1,
    fragment: int = 16_000,
    originator: str = "",
) -> bytes:
    """A C-STORE request and its data set as P-DATA-TF PDUs with one fragment each."""
    pieces = [pdu(P_DATA, pdv(context_id, 0x03, store_command(uid, sop_class, originator=originator)))]
    for start in range(0, len(data), fragment):
        last = 0x02 if start + fragment >= len(data) else 0x00
        pieces.append(pdu(P_DATA, pdv(context_id, last, data[start : start + fragment])))
    return b"".join(pieces)


def pdv(context_id: int, control: int, data: bytes) -> bytes:
    return struct.pack(">IBB", len(data) + 2, context_id, control) + data


def store_command(uid: str | bytes, sop_class: str, message_id: int = 1, originator: str = "") -> bytes:
    """``originator``: the AE title whose C-MOVE has the object sent."""
    elements = (
        command_element(0x0002, padded(sop_class)),
        command_element(0x0100, struct.pack("<H", 0x0001)),
        command_element(0x0110, struct.pack("<H", message_id)),
        command_element(0x0700, struct.pack("<H", 0)),
        command_element(0x0800, struct.pack("<H", 1)),
        command_element(0x1000, padded(uid)),
        command_element(0x1030, originator.ljust(16).encode()) if originator else b"",
    )
    body = b"".join(elements)
    return command_element(0x0000, struct.pack("<I", len(body))) + body


def command_element(number: int, value: bytes) -> bytes:
    return struct.pack("<HHI", 0, number, len(value)) + value


def padded(uid: str | bytes) -> bytes:
    data = uid if isinstance(uid, bytes) else uid.encode()
    return data + b"\0" * (len(data) % 2)
