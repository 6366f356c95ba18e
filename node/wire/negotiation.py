"""Asks for an association (PS3.8 9.3.2) and reads the answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydicom.uid import UID
from pynetdicom import build_context
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
)
from pynetdicom.presentation import PresentationContext

from node.wire.pdu import ASSOCIATE_AC, MAXIMUM_PDU, PDU_HEAD, ProtocolError
from storage.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION

APPLICATION_CONTEXT = UID("1.2.840.10008.3.1.1.1")
CALLER_NOT_RECOGNISED = (1, 1, 3)  # result, source, reason (PS3.8 Table 9-21)
MAXIMUM_CONTEXTS = 128  # their IDs are the odd numbers up to 255 (PS3.8 9.3.2.2)

Kind = tuple[str, str]
"""What may travel in one context: a SOP class in a transfer syntax."""


@dataclass(frozen=True)
class Accepted:
    """``contexts``: the ID of each accepted context. ``maximum_pdu``: the most the peer takes in one P-DATA;
    0 is anything."""

    contexts: Mapping[Kind, int]
    maximum_pdu: int


def encode_request(calling: str, called: str, contexts: Mapping[int, Kind]) -> bytes:
    """An A-ASSOCIATE-RQ that proposes ``contexts``, by their IDs."""
    request = A_ASSOCIATE()
    request.application_context_name = APPLICATION_CONTEXT
    request.calling_ae_title, request.called_ae_title = calling, called
    request.presentation_context_definition_list = [_context(i, kind) for i, kind in contexts.items()]
    length, implementation, version = (
        MaximumLengthNotification(),
        ImplementationClassUIDNotification(),
        ImplementationVersionNameNotification(),
    )
    length.maximum_length_received = MAXIMUM_PDU
    implementation.implementation_class_uid = UID(IMPLEMENTATION_CLASS_UID)
    version.implementation_version_name = IMPLEMENTATION_VERSION
    request.user_information = [length, implementation, version]
    return A_ASSOCIATE_RQ(request).encode()


def decode_acceptance(body: bytes, proposed: Mapping[int, Kind]) -> Accepted:
    """Read an A-ASSOCIATE-AC, without its six bytes of head.

    Raises:
        ProtocolError: it is broken, or accepts what was not proposed.
    """
    accept = A_ASSOCIATE_AC()
    try:
        accept.decode(PDU_HEAD.pack(ASSOCIATE_AC, len(body)) + body)
        primitive = accept.to_primitive()
        results = {
            c.context_id: str(c.transfer_syntax[0])
            for c in primitive.presentation_context_definition_results_list
            if c.result == 0 and c.context_id is not None
        }
        maximum = primitive.maximum_length_received or 0
    except Exception as error:  # its decoder raises whatever its parts do on bytes of ill will
        raise ProtocolError(f"its acceptance cannot be read: {type(error).__name__}: {error}") from error
    if not results.keys() <= proposed.keys():
        raise ProtocolError("it accepts a context that was not proposed")
    return Accepted({kind: i for i, kind in proposed.items() if results.get(i) == kind[1]}, int(maximum))


def _context(number: int, kind: Kind) -> PresentationContext:
    context = build_context(*kind)
    context.context_id = number
    return context
