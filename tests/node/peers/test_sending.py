"""One association to a peer, whatever that peer is like: each object ends sent, refused, or due again."""

from __future__ import annotations

import errno
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, evt

from node.intake.contexts import supported_contexts
from node.intake.negotiation import agree, decode_request
from node.peers.sending import DeliveryError, DicomDestination, Receipt
from node.settings import Peer
from node.wire.association import BrokenDataError, request_association
from node.wire.pdu import ABORT, ASSOCIATE_RJ, P_DATA, RELEASE_RQ, Wire
from tests.node.intake.senders import ct_slice

Behaviour = Callable[[Wire], None]


@contextmanager
def peer_that(
    *behaviours: Behaviour, maximum_pdu: int = 16384, seconds: float = 5
) -> Iterator[DicomDestination]:
    """A peer that accepts every association and then does the next of ``behaviours`` with it."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            for behaviour in behaviours:
                connection, _ = listening.accept()
                with connection:
                    wire = Wire(connection)
                    wire.set_deadline(10)
                    _, body = wire.receive(1 << 20)
                    request = decode_request(bytes(body))
                    wire.send_pdu(agree(request, supported_contexts(), maximum_pdu).answer)
                    behaviour(wire)

        thread = threading.Thread(target=serve)
        thread.start()
        yield _destination(listening.getsockname()[1], seconds)
        thread.join(10)
        assert not thread.is_alive()


def _destination(port: int, seconds: float = 5) -> DicomDestination:
    peer = Peer(name="pacs", ae_title="PACS", host="127.0.0.1", port=port)
    return DicomDestination(peer, "OVERREAD", timeout=seconds)


@contextmanager
def storing(answer: Callable[[evt.Event], int] = lambda _: 0x0000) -> Iterator[DicomDestination]:
    """A peer that answers each C-STORE like this."""
    ae = AE("PACS")
    ae.add_supported_context("1.2.840.10008.5.1.4.1.1.2", ExplicitVRLittleEndian)
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, answer)])
    try:
        yield _destination(server.socket.getsockname()[1])
    finally:
        server.shutdown()


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("objects")
    paths = [folder / f"{number}.dcm" for number in range(3)]
    for number, path in enumerate(paths):
        ct_slice(number=number, size=256).save_as(path, enforce_file_format=True)
    return paths


def _outcomes(receipts: list[Receipt]) -> list[str]:
    return [receipt.outcome for receipt in receipts]


def _release(wire: Wire) -> None:
    while wire.receive(1 << 20)[0] != RELEASE_RQ:
        pass


def _abort_mid_object(wire: Wire) -> None:
    wire.receive(1 << 20)
    wire.receive(1 << 20)
    wire.send(ABORT, bytes(4))


def _fall_silent(wire: Wire) -> None:
    _drain(wire)


def _answer_another_request(wire: Wire) -> None:
    wire.receive(1 << 20)
    elements = ((0x0100, 0x8001), (0x0120, 777), (0x0800, 0x0101), (0x0900, 0))
    command = b"".join(struct.pack("<HHIH", 0, tag, 2, value) for tag, value in elements)
    wire.send(P_DATA, struct.pack(">IBB", len(command) + 2, 3, 3) + command)
    _drain(wire)


def _speak_nonsense(wire: Wire) -> None:
    wire.receive(1 << 20)
    wire.send(P_DATA, b"\0\0\0\x06\x03\x03hello")
    _drain(wire)


def _drain(wire: Wire) -> None:
    while wire.receive(1 << 20)[0] not in (ABORT, RELEASE_RQ):
        pass


def _send(destination: DicomDestination, files: list[Path]) -> list[Receipt]:
    return list(destination.send(files))


@pytest.mark.parametrize("maximum_pdu", [1024, 16384, 0])
def test_an_object_arrives_byte_for_byte_whatever_pdu_the_peer_takes(files, maximum_pdu):
    received = []

    def store(event: evt.Event) -> int:
        received.append(event.encoded_dataset())
        return 0x0000

    ae = AE("PACS")
    ae.maximum_pdu_size = maximum_pdu
    ae.add_supported_context("1.2.840.10008.5.1.4.1.1.2", ExplicitVRLittleEndian)
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
    try:
        receipts = _send(_destination(server.socket.getsockname()[1]), files)
    finally:
        server.shutdown()
    assert _outcomes(receipts) == ["sent"] * len(files)
    for path, data in zip(files, received, strict=True):
        assert path.read_bytes().endswith(data[-256 * 256 * 2 :])
        assert dcmread(path).SOPInstanceUID.encode() in data


@pytest.mark.parametrize("trouble", [errno.EMFILE, errno.ENFILE, errno.EIO, errno.ESTALE, errno.EACCES])
@pytest.mark.parametrize("opening", [1, 2])
def test_a_file_that_cannot_be_read_for_now_is_tried_again(files, trouble, opening, monkeypatch):
    """Be it when its head is read, or when it is sent."""
    opened: list[Path] = []
    openly = Path.open

    def troubled(path: Path, *args, **kwargs):
        opened.append(path)
        if path == files[0] and opened.count(path) == opening:
            raise OSError(trouble, os.strerror(trouble), str(path))
        return openly(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", troubled)
    with storing() as destination:
        receipts = {receipt.path: receipt for receipt in _send(destination, files)}
    assert [receipts[path].outcome for path in files] == ["failed", "sent", "sent"]
    assert receipts[files[0]].reason == f"it cannot be read: {os.strerror(trouble)}"


def test_a_file_that_is_away_with_its_folder_is_tried_again(files, tmp_path):
    (receipt,) = _send(_destination(104), [tmp_path / "not mounted" / "sr.dcm"])
    assert receipt.outcome == "failed"
    (receipt,) = _send(_destination(104), [tmp_path / "sr.dcm"])
    assert receipt.outcome == "refused"


def test_an_object_over_which_a_peer_aborts_costs_those_behind_it_nothing(files):
    def abort_over_the_first(event: evt.Event) -> int:
        if event.request.AffectedSOPInstanceUID == dcmread(files[0]).SOPInstanceUID:
            event.assoc.abort()
        return 0x0000

    with storing(abort_over_the_first) as destination:
        receipts = _send(destination, files)
    assert _outcomes(receipts) == ["failed", "sent", "sent"]
    assert "broke off" in receipts[0].reason


def test_a_peer_that_aborts_over_one_object_after_another_is_offered_no_more(files):
    with peer_that(_abort_mid_object, _abort_mid_object) as destination:
        receipts = _send(destination, files)
    assert _outcomes(receipts) == ["failed", "failed", "not offered"]
    assert "was lost before this object" in receipts[2].reason


def test_a_peer_that_is_gone_after_an_abort_was_not_offered_the_rest(files):
    def abort_and_leave(event: evt.Event) -> int:
        server.shutdown()
        event.assoc.abort()
        return 0x0000

    ae = AE("PACS")
    ae.add_supported_context("1.2.840.10008.5.1.4.1.1.2", ExplicitVRLittleEndian)
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, abort_and_leave)])
    receipts = _send(_destination(server.socket.getsockname()[1]), files)
    assert _outcomes(receipts) == ["failed", "not offered", "not offered"]
    assert not any(receipt.is_away for receipt in receipts)


def test_a_silent_peer_is_given_up_after_the_time_out(files):
    with peer_that(_fall_silent, seconds=4) as destination:
        receipts = _send(destination, files[:1])
    assert _outcomes(receipts) == ["failed"]
    assert "gave no answer within 4 s" in receipts[0].reason


@pytest.mark.parametrize("behaviour", [_answer_another_request, _speak_nonsense])
def test_an_answer_that_is_none_is_no_success(files, behaviour):
    with peer_that(behaviour) as destination:
        receipts = _send(destination, files[:1])
    assert _outcomes(receipts) == ["failed"]
    assert "broke off" in receipts[0].reason


def test_a_peer_that_releases_instead_of_answering_gets_the_object_later(files):
    def release(wire: Wire) -> None:
        wire.receive(1 << 20)
        wire.send(RELEASE_RQ, bytes(4))
        _drain(wire)

    with peer_that(release, release) as peer:
        assert _outcomes(_send(peer, files)) == ["failed", "failed", "not offered"]


def test_a_rejection_says_which_titles_to_look_at(files):
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def reject() -> None:
            connection, _ = listening.accept()
            with connection:
                wire = Wire(connection)
                wire.receive(1 << 20)
                wire.send(ASSOCIATE_RJ, bytes((0, 1, 1, 7)))

        thread = threading.Thread(target=reject)
        thread.start()
        receipts = _send(_destination(listening.getsockname()[1]), files[:1])
        thread.join(5)
    assert _outcomes(receipts) == ["failed"]
    assert "Called AE title not recognised" in receipts[0].reason
    assert "'OVERREAD' known there" in receipts[0].reason


def test_what_a_peer_refuses_is_told_in_words(files):
    with storing(lambda _: 0x0124) as destination:
        (receipt,) = _send(destination, files[:1])
    assert receipt.outcome == "refused"
    assert (
        "answered 0x0124 (Refused: Not Authorised); is 'OVERREAD' allowed to store there?" in receipt.reason
    )


def test_an_object_that_the_peer_has_already_is_there(files):
    with storing(lambda _: 0x0111) as destination:
        (receipt,) = _send(destination, files[:1])
    assert receipt.outcome == "sent"
    assert "has had an object of this UID before" in receipt.reason


def test_what_listens_without_speaking_dicom_is_said_so():
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def greet() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                connection.recv(1 << 16)

        thread = threading.Thread(target=greet)
        thread.start()
        with pytest.raises(DeliveryError, match="is a DICOM service listening there"):
            _destination(listening.getsockname()[1]).echo()
        thread.join(5)


def test_an_unknown_host_name_is_told_from_a_peer_that_is_away():
    peer = Peer(name="pacs", ae_title="PACS", host="no-such-host.invalid", port=104)
    with pytest.raises(DeliveryError, match="host name is not known"):
        DicomDestination(peer, "OVERREAD", timeout=5).echo()


def test_a_data_set_that_ends_early_is_never_answered_for():
    kind = ("1.2.840.10008.5.1.4.1.1.2", str(ExplicitVRLittleEndian))
    with peer_that(_drain) as destination:
        address = destination.peer.host, destination.peer.port
        association = request_association(*address, calling="A", called="B", kinds=[kind], seconds=5)
        with pytest.raises(BrokenDataError, match="ends early"):
            association.store(kind, "1.2.3", BytesIO(b"\0" * 10), 20)
        association.abort()
