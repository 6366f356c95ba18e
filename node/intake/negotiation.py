"""Answers an A-ASSOCIATE-RQ (PS3.8 9.3): which contexts are accepted, or why nobody is let in."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pydicom.uid import UID
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
    SCP_SCU_RoleSelectionNegotiation,
)
from pynetdicom.presentation import PresentationContext, negotiate_as_acceptor

from node.wire.negotiation import APPLICATION_CONTEXT, MAXIMUM_CONTEXTS, Kind
from node.wire.pdu import ASSOCIATE_RQ, PDU_HEAD
from storage.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION

LIMIT_EXCEEDED = (2, 3, 2)  # result, source, reason (PS3.8 Table 9-21)

MAXIMUM_REQUEST = 256 * 1024  # bytes: 128 contexts with every transfer syntax there is, and who the user is
MOST_ITEMS = 8192  # contexts and what they offer (128 times 45), and what is said of the user

_VARIABLE = 68  # where the items begin, after the titles (PS3.8 Table 9-11)
_CALLING = slice(20, 36)
_ITEM = struct.Struct(">BxH")
_PROPOSED_CONTEXT, _USER_INFORMATION = 0x20, 0x50
_BEFORE_ITEMS = {_PROPOSED_CONTEXT: 4, _USER_INFORMATION: 0}  # bytes, where an item holds items


class MalformedRequestError(ValueError):
    """The bytes are no A-ASSOCIATE-RQ, or one that no sound peer makes."""


@dataclass(frozen=True)
class Agreement:
    """``contexts``: the abstract syntax and the transfer syntax of each accepted context, by its ID.
    ``answer``: the A-ASSOCIATE-AC that says so."""

    contexts: Mapping[int, Kind]
    answer: bytes


def calling_title(body: bytes | memoryview) -> str:
    """Who asks, by an A-ASSOCIATE-RQ's body: known before the rest, which costs a hundred times as much, is
    looked at.

    Raises:
        MalformedRequestError: it is too short, or names nobody.
    """
    title = bytes(body[_CALLING]).decode("ascii", "ignore").strip()
    if len(body) < _VARIABLE or not title or not title.isprintable():
        raise MalformedRequestError("no association request: it does not say who calls")
    return title


def check_size(body: bytes) -> None:
    """See that an A-ASSOCIATE-RQ, without its six bytes of head, asks for no more than anybody needs.

    Raises:
        MalformedRequestError: it does.
    """
    contexts, items = _count(body)
    if contexts > MAXIMUM_CONTEXTS or items > MOST_ITEMS:
        raise MalformedRequestError(
            f"an association request of {contexts} contexts and {items} items in all; at most "
            f"{MAXIMUM_CONTEXTS} and {MOST_ITEMS} are read"
        )


def decode_request(body: bytes) -> A_ASSOCIATE:
    """Read an A-ASSOCIATE-RQ, without its six bytes of head.

    Raises:
        MalformedRequestError: it is something else, broken, or asks for more than anybody needs.
    """
    check_size(body)
    request = A_ASSOCIATE_RQ()
    try:
        request.decode(PDU_HEAD.pack(ASSOCIATE_RQ, len(body)) + body)
        return request.to_primitive()
    except Exception as error:  # its decoder raises whatever its parts do on bytes of ill will
        raise MalformedRequestError(f"no association request: {type(error).__name__}: {error}") from error


def _count(body: bytes) -> tuple[int, int]:
    """How many contexts are proposed, and how many items there are in all, within them and beside; counted no
    further than the limits."""
    contexts = items = 0
    for kind, start, end in _items(body, _VARIABLE, len(body)):
        contexts += kind == _PROPOSED_CONTEXT
        items += 1
        if kind in _BEFORE_ITEMS:
            items += sum(1 for _ in _items(body, start + _BEFORE_ITEMS[kind], end))
        if contexts > MAXIMUM_CONTEXTS or items > MOST_ITEMS:
            break
    return contexts, items


def _items(body: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    while start + _ITEM.size <= end:
        kind, length = _ITEM.unpack_from(body, start)
        start += _ITEM.size
        yield kind, start, min(start + length, end)
        start += length


def agree(request: A_ASSOCIATE, supported: Sequence[PresentationContext], maximum_pdu: int) -> Agreement:
    """Accept an association with whichever of the proposed contexts are ``supported``."""
    roles = {
        item.sop_class_uid: (item.scu_role, item.scp_role)
        for item in request.user_information
        if isinstance(item, SCP_SCU_RoleSelectionNegotiation) and item.sop_class_uid
    }
    results, agreed_roles = negotiate_as_acceptor(
        list(request.presentation_context_definition_list), list(supported), roles
    )
    answer = A_ASSOCIATE()
    answer.application_context_name = APPLICATION_CONTEXT
    answer.calling_ae_title = request.calling_ae_title
    answer.called_ae_title = request.called_ae_title
    answer.result, answer.result_source = 0, 1
    answer.presentation_context_definition_results_list = results
    length, implementation, version = (
        MaximumLengthNotification(),
        ImplementationClassUIDNotification(),
        ImplementationVersionNameNotification(),
    )
    length.maximum_length_received = maximum_pdu
    implementation.implementation_class_uid = UID(IMPLEMENTATION_CLASS_UID)
    version.implementation_version_name = IMPLEMENTATION_VERSION
    answer.user_information = [length, implementation, version, *agreed_roles]
    contexts = {
        context.context_id: (str(context.abstract_syntax), str(context.transfer_syntax[0]))
        for context in results
        if context.result == 0 and context.context_id is not None
    }
    return Agreement(contexts, A_ASSOCIATE_AC(answer).encode())
