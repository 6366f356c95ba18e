"""What an association request may cost, before anybody is let in and after."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import ALL_TRANSFER_SYNTAXES
from pynetdicom.pdu import A_ASSOCIATE_RQ
from pynetdicom.presentation import AllStoragePresentationContexts

from node.intake.contexts import supported_contexts
from node.intake.negotiation import (
    MAXIMUM_REQUEST,
    MalformedRequestError,
    agree,
    calling_title,
    decode_request,
)
from node.settings.security import AllowedCaller
from node.wire.pdu import PDU_HEAD
from tests.node.intake.conftest import Intake
from tests.node.intake.raw_sender import ABORT, ASSOCIATE_RJ, RawSender, association_request


def body_of(*contexts: tuple[str, list[str]], caller: str = "RAW") -> bytes:
    return association_request(contexts, caller)[PDU_HEAD.size :]  # type: ignore[arg-type]


def item(kind: int, body: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(body)) + body


def test_the_largest_request_of_a_sound_peer_is_agreed_on() -> None:
    classes = [str(c.abstract_syntax) for c in AllStoragePresentationContexts][:128]
    body = body_of(*((uid, list(ALL_TRANSFER_SYNTAXES)) for uid in classes))
    assert 100_000 < len(body) < MAXIMUM_REQUEST
    assert calling_title(body) == "RAW"
    assert len(agree(decode_request(body), supported_contexts(), 1 << 18).contexts) == 128


@pytest.mark.parametrize(
    "items",
    [
        body_of((CTImageStorage, [ExplicitVRLittleEndian]))[68:] * 129,
        item(0x20, bytes(4) + item(0x40, b"1.2") * 8192),
        item(0x20, bytes(4) + b"\x40\0\xff\xff") * 129,
        item(0x50, item(0x54, b"") * 8192),
        item(0x99, b"") * 8193,
    ],
)
def test_a_request_that_nobody_needs_is_not_decoded(monkeypatch: pytest.MonkeyPatch, items: bytes) -> None:
    decoded: list[bytes] = []
    monkeypatch.setattr(A_ASSOCIATE_RQ, "decode", lambda _self, pdu: decoded.append(pdu))
    with pytest.raises(MalformedRequestError, match="at most 128 and 8192"):
        decode_request(body_of((CTImageStorage, [ExplicitVRLittleEndian]))[:68] + items)
    assert decoded == []


def test_who_is_not_let_in_has_no_request_decoded(
    start_intake: Callable[..., Intake], transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decode(_request: A_ASSOCIATE_RQ, _pdu: bytes) -> None:
        raise AssertionError("decoded")

    intake = start_intake(transport, allowed_callers=[AllowedCaller(ae_title="CT1")])
    monkeypatch.setattr(A_ASSOCIATE_RQ, "decode", decode)
    with RawSender(intake.port) as stranger:
        assert stranger.associate(caller="STRANGER") == ASSOCIATE_RJ
    assert "STRANGER" in intake.refusals()[0].reason


@pytest.mark.parametrize("title", [b" " * 16, b"\0" * 16, b"CT1\nforged".ljust(16), b"\xff" * 16])
def test_a_request_that_names_nobody_is_aborted(intake: Intake, title: bytes) -> None:
    body = body_of((CTImageStorage, [ExplicitVRLittleEndian]))
    with RawSender(intake.port) as sender:
        sender.send_pdu(1, body[:20] + title + body[36:])
        assert sender.receive()[0] == ABORT
    assert "does not say who calls" in intake.refusals()[0].reason
