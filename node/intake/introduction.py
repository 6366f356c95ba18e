"""The first that a peer says: who it is, before anything that costs is done for it."""

from __future__ import annotations

from dataclasses import dataclass

from node.intake.callers import Caller
from node.intake.door import Door, Guest
from node.intake.negotiation import MAXIMUM_REQUEST, MalformedRequestError, calling_title
from node.security.tls import PeerCertificate
from node.wire.pdu import ASSOCIATE_RJ, ASSOCIATE_RQ, ProtocolError, Wire

SECONDS_TO_INTRODUCE = 30.0  # from connecting to the last byte of the request (ARTIM, PS3.8 9.1.5)


@dataclass(frozen=True)
class Introduction:
    """``caller`` asks for an association; ``request`` is the body of its A-ASSOCIATE-RQ, not yet decoded."""

    caller: Caller
    request: bytes


def introduce(
    guest: Guest, wire: Wire, certificate: PeerCertificate | None, door: Door, seconds: float
) -> Introduction | None:
    """Wait for a peer to ask for an association; None where it is not let in, and has been told so.

    Raises:
        ProtocolError: it says something else, or not who it is.
        PeerGoneError: it hangs up, or takes longer than ``seconds`` or ``SECONDS_TO_INTRODUCE``.
    """
    wire.set_deadline(min(SECONDS_TO_INTRODUCE, seconds))
    kind, body = wire.receive(MAXIMUM_REQUEST)
    if kind != ASSOCIATE_RQ:
        raise ProtocolError(f"a PDU of type {kind} instead of an association request")
    try:
        caller = Caller(calling_title(body), guest.address, certificate)
    except MalformedRequestError as error:
        raise ProtocolError(str(error)) from error
    if rejection := door.admit(guest, caller):
        wire.send(ASSOCIATE_RJ, bytes((0, *rejection)))
        wire.take_leave()
        return None
    return Introduction(caller, bytes(body))
