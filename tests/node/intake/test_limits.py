"""Peers that are too many, too slow, too large or gone: they are told so, and others notice nothing."""

from __future__ import annotations

import resource
import socket
import struct
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from node.intake.transport import FastListener
from node.peers.commitment import PUSH_MODEL
from node.wire.command import CANCEL_REQUEST, EVENT_REPORT_REQUEST, STORE_REQUEST
from tests.node.intake.conftest import Intake
from tests.node.intake.raw_sender import (
    ABORT,
    ASSOCIATE_AC,
    ASSOCIATE_RJ,
    P_DATA,
    RELEASE_RP,
    RawSender,
    association_request,
    command_element,
    padded,
    pdv,
    store_pdus,
)
from tests.node.intake.senders import ct_series, ct_slice, encoded, send
from tests.node.intake.transports import ANSWERS_WHAT_HAS_NO_UID, CLOSED, LAST_WORD, MOST_MEMORY
from tests.waiting import wait_for

StartIntake = Callable[..., Intake]


def test_more_senders_than_allowed_are_told_to_come_back_and_then_served(
    start_intake: StartIntake, transport: str
) -> None:
    intake = start_intake(transport, maximum_associations=3)
    with ExitStack() as stack:
        connected = [stack.enter_context(RawSender(intake.port)) for _ in range(3)]
        assert [sender.associate() for sender in connected] == [ASSOCIATE_AC] * 3
        with RawSender(intake.port) as fourth:
            assert fourth.associate() == ASSOCIATE_RJ
        assert connected[0].release() == RELEASE_RP
        assert until_admitted(intake.port)
    assert "as many associations are open" in intake.refusals()[0].reason


def test_one_address_does_not_take_every_place(start_intake: StartIntake, transport: str) -> None:
    intake = start_intake(
        transport, host="0.0.0.0", maximum_associations=10, maximum_associations_per_sender=2
    )
    with RawSender(intake.port) as first, RawSender(intake.port) as second, RawSender(intake.port) as third:
        assert [s.associate() for s in (first, second, third)] == [ASSOCIATE_AC, ASSOCIATE_AC, ASSOCIATE_RJ]
        with socket.create_connection(("127.0.0.1", intake.port), source_address=("127.0.0.2", 0)) as other:
            other.sendall(association_request([(CTImageStorage, "1.2.840.10008.1.2.1")]))
            assert other.recv(1) == bytes([ASSOCIATE_AC])


def test_silent_connections_do_not_hold_up_a_sender_and_are_closed(
    start_intake: StartIntake, transport: str
) -> None:
    intake = start_intake(transport, network_timeout=4, maximum_associations=60)
    with ExitStack() as stack:
        silent = [stack.enter_context(RawSender(intake.port)) for _ in range(40)]
        assert send(intake.port, ct_series(3)) == [0x0000] * 3
        assert [sender.receive()[0] for sender in silent] == [ABORT] * 40


@pytest.mark.parametrize("kind", [1, P_DATA])
def test_a_pdu_that_announces_four_gigabytes_is_aborted_at_once(intake: Intake, kind: int) -> None:
    with RawSender(intake.port) as sender:
        if kind == P_DATA:
            sender.associate()
        sender.socket.sendall(struct.pack(">BBI", kind, 0, 0xFFFFFFFF))
        assert sender.receive()[0] == ABORT


def test_a_peer_that_drips_is_cut_off_at_the_deadline(start_intake: StartIntake, transport: str) -> None:
    intake = start_intake(transport, network_timeout=4)
    image = ct_slice()
    with RawSender(intake.port) as sender:
        sender.associate()
        started = time.monotonic()
        for byte in store_pdus(encoded(image), image.SOPInstanceUID, CTImageStorage)[:2000]:
            try:
                sender.socket.sendall(bytes([byte]))
            except OSError:
                break
            time.sleep(0.05)
        assert sender.receive()[0] in (ABORT, CLOSED)
        assert time.monotonic() - started < 60  # dripping all of it would have taken longer
    assert intake.instances() == []
    assert intake.files(intake.archive.incoming) == []


def test_half_an_image_and_silence_leaves_nothing(start_intake: StartIntake, transport: str) -> None:
    intake = start_intake(transport, network_timeout=4)
    image = ct_slice(size=256)
    with RawSender(intake.port) as sender:
        sender.associate()
        sender.socket.sendall(store_pdus(encoded(image), image.SOPInstanceUID, CTImageStorage)[:70_000])
        assert sender.receive()[0] == ABORT
        assert intake.files(intake.archive.incoming) == intake.files(intake.archive.images) == []


def test_nonsense_within_a_pdu_ends_its_association_alone(intake: Intake, transport: str) -> None:
    for body in (
        b"\0\0",
        pdv(1, 0x02, b"data")[:-1],
        struct.pack(">IBB", 0, 1, 3),
        pdv(1, 0x02, b"data without a command"),
        pdv(99, 0x03, b"a command in a context nobody agreed on"),
        pdv(1, 0x03, b"no command at all"),
        pdv(1, 0x01, b"\0" * 70_000),
    ):
        with RawSender(intake.port) as sender:
            sender.associate()
            sender.send_pdu(P_DATA, body)
            assert sender.receive()[0] in LAST_WORD[transport], body[:40]
    assert send(intake.port, [ct_slice()]) == [0x0000]


def test_a_broken_association_request_is_aborted(intake: Intake) -> None:
    for request in (b"", b"\0" * 67, b"\0" * 68, b"\xff" * 500):
        with RawSender(intake.port) as sender:
            sender.send_pdu(1, request)
            assert sender.receive()[0] in (ABORT, CLOSED), request[:40]
    assert send(intake.port, [ct_slice()]) == [0x0000]


def test_fragments_of_any_size_make_the_same_object(intake: Intake) -> None:
    image = ct_slice()
    data = encoded(image)
    with RawSender(intake.port) as sender:
        sender.associate()
        for fragment in (2, 1000, 16_372, 200_000):
            assert sender.store(data, image.SOPInstanceUID, fragment=fragment) == 0x0000
        several = b"".join(
            pdv(1, 0x02 if start + 500 >= len(data) else 0, data[start : start + 500])
            for start in range(0, len(data), 500)
        )
        command = store_pdus(b"", image.SOPInstanceUID, CTImageStorage)
        sender.socket.sendall(command)
        sender.send_pdu(P_DATA, several)
        assert sender.status() == 0x0000
    [row] = intake.instances()
    assert intake.archive.path(row.path).read_bytes().endswith(data)
    assert intake.refusals() == []


def test_memory_stays_flat_however_large_an_object_is(intake: Intake, transport: str) -> None:
    image, rows, piece = ct_slice(size=8), 6144, bytes(250_000)
    image.Rows = image.Columns = rows
    whole = encoded(image)
    sent = whole[: whole.index(b"\xe0\x7f\x10\x00OW") + 8] + struct.pack("<I", 2 * rows * rows)
    left = 2 * rows * rows
    with RawSender(intake.port) as sender:
        sender.associate()
        sender.socket.sendall(store_pdus(b"", image.SOPInstanceUID, CTImageStorage))
        sender.send_pdu(P_DATA, pdv(1, 0x00, sent))
        tracemalloc.start()
        try:
            while left:
                data = piece[: min(left, len(piece))]
                left -= len(data)
                sender.send_pdu(P_DATA, pdv(1, 0x00 if left else 0x02, data))
            assert sender.status() == 0x0000
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    [row] = intake.instances()
    assert row.size > 70_000_000
    assert peak < MOST_MEMORY[transport]


def test_an_object_beyond_its_limit_takes_no_memory_and_is_refused_when_it_ends(
    start_intake: StartIntake, transport: str
) -> None:
    intake = start_intake(transport, maximum_object_mb=1)
    image, piece = ct_slice(), bytes(250_000)
    with RawSender(intake.port) as sender:
        sender.associate()
        sender.socket.sendall(store_pdus(b"", image.SOPInstanceUID, CTImageStorage))
        with most_memory() as peak:
            for left in reversed(range(200)):
                sender.send_pdu(P_DATA, pdv(1, 0x00 if left else 0x02, piece))
            assert sender.status() == 0xA700
        assert sender.store(encoded(image), image.SOPInstanceUID) == 0x0000
    assert peak() < MOST_MEMORY["fast"]
    assert [refusal.reason for refusal in intake.refusals()] == [
        "it is larger than the 1 MiB an object may have"
    ]


def test_objects_that_wait_for_no_answer_take_no_memory(intake: Intake) -> None:
    image = ct_slice(size=512)
    pdus = store_pdus(encoded(image), image.SOPInstanceUID, CTImageStorage, fragment=200_000)
    with RawSender(intake.port, timeout=60) as sender:
        sender.associate()
        with most_memory() as peak:
            for _ in range(60):
                sender.socket.sendall(pdus)
        assert [sender.status() for _ in range(60)] == [0x0000] * 60
    assert peak() < 8_000_000


def test_a_command_or_an_event_report_that_does_not_end_is_aborted(intake: Intake) -> None:
    report = command_of(EVENT_REPORT_REQUEST, PUSH_MODEL)
    for begun, control in ((b"", 0x01), (pdv(1, 0x03, report), 0x00)):
        with RawSender(intake.port) as sender:
            assert sender.associate([(PUSH_MODEL, ExplicitVRLittleEndian)]) == ASSOCIATE_AC
            sender.send_pdu(P_DATA, begun)
            with suppress(OSError):  # the node hangs up meanwhile
                for _ in range(100):
                    sender.send_pdu(P_DATA, pdv(1, control, bytes(200_000)))
            assert sender.receive()[0] in (ABORT, CLOSED)
    reasons = [refusal.reason for refusal in intake.refusals()]
    assert [reason.endswith("of unreasonable length") for reason in reasons] == [True, True]


def test_a_message_that_needs_no_answer_leaves_a_sender_idle(
    start_intake: StartIntake, transport: str
) -> None:
    intake = start_intake(transport, network_timeout=4)
    image = ct_slice()
    with RawSender(intake.port) as sender:
        sender.associate()
        sender.send_pdu(P_DATA, pdv(1, 0x03, command_of(CANCEL_REQUEST)))
        sender.send_pdu(P_DATA, pdv(1, 0x03, command_of(STORE_REQUEST, CTImageStorage)))
        assert sender.status() == 0xC000
        sender.send_pdu(P_DATA, pdv(1, 0x03, command_of(STORE_REQUEST, CTImageStorage, uid="")))
        if ANSWERS_WHAT_HAS_NO_UID[transport]:
            assert sender.status() == 0xC000
        assert sender.store(encoded(image), image.SOPInstanceUID) == 0x0000
        sender.send_pdu(P_DATA, pdv(1, 0x03, command_of(CANCEL_REQUEST)))
        assert sender.receive()[0] == ABORT
    assert not any("silent" in refusal.reason for refusal in intake.refusals())


def test_descriptors_beyond_1024_are_as_good_as_any(intake: Intake, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 1400:
        pytest.skip(f"only {hard} files may be open here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (1400, hard))
    try:
        with ExitStack() as stack:
            for _ in range(1100):
                stack.enter_context((tmp_path / "many").open("a"))
            with RawSender(intake.port) as sender:
                image = ct_slice()
                assert sender.associate() == ASSOCIATE_AC
                assert sender.store(encoded(image), image.SOPInstanceUID) == 0x0000
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(intake.instances()) == 1


def test_a_stop_lets_the_object_under_way_come_in(intake: Intake) -> None:
    image = ct_slice(size=256)
    pdus = store_pdus(encoded(image), image.SOPInstanceUID, CTImageStorage)
    with RawSender(intake.port) as sender, RawSender(intake.port) as idle:
        sender.associate()
        idle.associate()
        sender.socket.sendall(pdus[:60_000])
        wait_for(lambda: has_an_object_under_way(intake), 20)
        stopping = threading.Thread(target=intake.receiver.stop)
        stopping.start()
        assert idle.receive()[0] == ABORT
        sender.socket.sendall(pdus[60_000:])
        assert sender.status() == 0x0000
        stopping.join()
    with intake.database.snapshot() as session:
        assert session.connection().exec_driver_sql("SELECT count(*) FROM instances").scalar() == 1


def has_an_object_under_way(intake: Intake) -> bool:
    listener = intake.receiver._listener
    if isinstance(listener, FastListener):
        return any(association._request is not None for association in [*listener._associations])
    return any(connection.is_busy for connection in [*listener._connections.values()])


def command_of(field: int, sop_class: str = "", uid: str = "1.2.3.4") -> bytes:
    """A command for an object that is nowhere, without a data set but for an event report's."""
    elements = (
        command_element(0x0002, padded(sop_class)) if sop_class else b"",
        command_element(0x0100, struct.pack("<H", field)),
        command_element(0x0120 if field == CANCEL_REQUEST else 0x0110, struct.pack("<H", 7)),
        command_element(0x0700, struct.pack("<H", 0)) if field == STORE_REQUEST else b"",
        command_element(0x0800, struct.pack("<H", 1 if field == EVENT_REPORT_REQUEST else 0x0101)),
        command_element(0x1000, padded(uid)) if sop_class and uid else b"",
        command_element(0x1002, struct.pack("<H", 1)) if field == EVENT_REPORT_REQUEST else b"",
    )
    body = b"".join(elements)
    return command_element(0x0000, struct.pack("<I", len(body))) + body


@contextmanager
def most_memory() -> Iterator[Callable[[], int]]:
    """Bytes that were taken at the same time, beyond those at the beginning: asked for at the end."""
    seen: list[int] = []
    tracemalloc.start()
    try:
        yield lambda: seen[0]
    finally:
        seen.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()


def until_admitted(port: int) -> bool:
    """A place that was given up is free a moment later."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        with RawSender(port) as sender:
            if sender.associate() == ASSOCIATE_AC:
                return True
    return False
