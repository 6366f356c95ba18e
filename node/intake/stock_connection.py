"""A connection of the stock transport's: who it is, and limits that pynetdicom's own sockets do not set."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO

from pynetdicom.association import Association
from pynetdicom.dimse_messages import C_STORE_RQ, DIMSEMessage

from node.intake.callers import Caller
from node.intake.tally import Tally
from node.intake.transport import MAXIMUM_EVENT
from node.peers.polled import PolledSocket
from node.security.tls import PeerCertificate
from node.wire.command import MAXIMUM_COMMAND
from node.wire.pdu import MAXIMUM_PDU, Wire


@dataclass(eq=False)
class Connection:
    """From its coming to its end. ``caller`` is known once it is let in, by the A-ASSOCIATE-RQ ``request``.
    ``owes_answer``: a message came in whole, and its response has not gone out; ``was_noted``: why it is
    ended is written down."""

    address: str
    wire: Wire
    certificate: PeerCertificate | None = None
    caller: Caller | None = None
    tally: Tally | None = None
    request: bytes = b""
    association: Association | None = None
    owes_answer: bool = False
    was_noted: bool = False
    ended: threading.Event = field(default_factory=threading.Event)

    def cut(self) -> None:
        self.wire.cut()

    @property
    def is_busy(self) -> bool:
        """Whether an object is under way, or its answer."""
        association = self.association
        return association is not None and (self.owes_answer or association.dimse.message is not None)

    def end(self) -> None:
        """Abort the association; a connection that has none yet is cut."""
        if self.association is not None and self.association.is_established:
            self.association.abort(block=False)
        else:
            self.cut()


def bound(message: DIMSEMessage, largest: int) -> str:
    """See to it that a message that is not whole yet takes no more memory than it may: of an object, what is
    beyond ``largest`` bytes is forgotten, as it is refused for its size once it has come. Returns why nothing
    more of the message should be read, if so."""
    if message.encoded_command_set.tell() > MAXIMUM_COMMAND:
        return "a command of unreasonable length"
    data_set = message.data_set
    assert isinstance(data_set, BytesIO)  # as pynetdicom is not told to write it to a file
    if isinstance(message, C_STORE_RQ):
        if data_set.tell() > largest:
            data_set.seek(largest + 1)
            data_set.truncate()
    elif data_set.tell() > MAXIMUM_EVENT:
        return "a data set of unreasonable length"
    return ""


class BoundedSocket(PolledSocket):
    """Hands out ``given``, which was received before, then reads, each part of a PDU within ``seconds`` and
    nothing of one beyond our limit, nor of any after a message was ``refused``. Where that is not kept, it
    says why to ``break_off``; then, as when the peer is gone, it hands out less than was asked for, on which
    pynetdicom hangs up. While pynetdicom ``has_waiting`` messages it reads none: it would gather any number.
    """

    given: bytes
    seconds: float
    break_off: Callable[[str], None]
    has_waiting: Callable[[], bool]
    refused: str

    @property
    def ready(self) -> bool:
        return bool(self.given or self.refused) or (not self.has_waiting() and super().ready)

    def recv(self, nr_bytes: int) -> bytearray:
        if self.refused:
            why, self.refused = self.refused, ""
            self.break_off(why)
            return bytearray()
        if self.given:
            data, self.given = bytearray(self.given[:nr_bytes]), self.given[nr_bytes:]
            return data
        if nr_bytes > MAXIMUM_PDU:
            self.break_off(f"a PDU announces {nr_bytes} bytes; {MAXIMUM_PDU} are allowed")
            return bytearray()
        data = bytearray(nr_bytes)
        with memoryview(data) as view:
            filled = self._fill(view)
        del data[filled:]
        return data

    def _fill(self, view: memoryview) -> int:
        """How many bytes of ``view`` were received."""
        filled, until = 0, time.monotonic() + self.seconds
        while self.socket is not None and filled < len(view):
            left = until - time.monotonic()
            try:
                self.socket.settimeout(max(left, 0.001))
                count = self.socket.recv_into(view[filled:]) if left > 0 else None
                self.socket.settimeout(self.seconds)  # for what is sent
            except TimeoutError:
                count = None
            except OSError:
                break
            if count is None:
                self.break_off("sends data too slowly" if filled else "silent for too long")
                break
            if not count:
                break
            filled += count
        return filled
