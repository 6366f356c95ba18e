"""Answers an A-ASSOCIATE-RQ (PS3.8 9.3): which contexts are accepted, or why nobody is let in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

from node.wire.negotiation import APPLICATION_CONTEXT, Kind
from storage.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION

CALLER_NOT_RECOGNISED = (1, 1, 3)  # result, source, reason (PS3.8 Table 9-21)
LIMIT_EXCEEDED = (2, 3, 2)


class MalformedRequestError(ValueError):
    """The bytes are no A-ASSOCIATE-RQ."""


@dataclass(frozen=True)
class Request:
    """Who asks for an association, and for what."""

    caller: str
    primitive: A_ASSOCIATE


@dataclass(frozen=True)
class Agreement:
    """``contexts``: the abstract syntax and the transfer syntax of each accepted context, by its ID.
    ``answer``: the A-ASSOCIATE-AC that says so."""

    contexts: Mapping[int, Kind]
    answer: bytes


def decode_request(pdu: bytes) -> Request:
    """Read an A-ASSOCIATE-RQ, with its six bytes of head.

    Raises:
        MalformedRequestError: it is something else, or broken.
    """
    request = A_ASSOCIATE_RQ()
    try:
        request.decode(pdu)
        primitive = request.to_primitive()
        return Request(str(primitive.calling_ae_title or "").strip(), primitive)
    except Exception as error:  # its decoder raises whatever its parts do on bytes of ill will
        raise MalformedRequestError(f"no association request: {type(error).__name__}: {error}") from error


def agree(request: Request, supported: Sequence[PresentationContext], maximum_pdu: int) -> Agreement:
    """Accept an association with whichever of the proposed contexts are ``supported``."""
    roles = {
        item.sop_class_uid: (item.scu_role, item.scp_role)
        for item in request.primitive.user_information
        if isinstance(item, SCP_SCU_RoleSelectionNegotiation) and item.sop_class_uid
    }
    results, agreed_roles = negotiate_as_acceptor(
        list(request.primitive.presentation_context_definition_list), list(supported), roles
    )
    answer = A_ASSOCIATE()
    answer.application_context_name = APPLICATION_CONTEXT
    answer.calling_ae_title = request.primitive.calling_ae_title
    answer.called_ae_title = request.primitive.called_ae_title
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
