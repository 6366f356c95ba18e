"""Who is let in, how many at once, and how little strangers can have written down."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import pytest
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from sqlalchemy import select

from node.intake import stock, tally
from node.intake import transport as fast
from node.intake.callers import Caller
from node.intake.door import MOST_TROUBLES, PLACES_TO_WAIT, Door
from node.intake.notes import RefusalNotes
from node.settings import AllowedCaller, DicomSettings
from node.wire.negotiation import CALLER_NOT_RECOGNISED
from storage.audit import AuditFilter, newest
from storage.closing import close_quiet
from storage.database import now
from storage.refusals import NO_STATUS
from storage.tables import Event, Revision
from tests.node.intake.conftest import Intake
from tests.node.intake.raw_sender import (
    ABORT,
    ASSOCIATE_AC,
    ASSOCIATE_RJ,
    RawSender,
    association_request,
    store_pdus,
)
from tests.node.intake.senders import ct_series, ct_slice, encoded, send

StartIntake = Callable[..., Intake]


def test_a_crowd_that_says_nothing_takes_nobodys_place(start_intake: StartIntake, transport: str) -> None:
    intake = start_intake(transport, maximum_associations=2)
    with ExitStack() as stack:
        crowd = [stack.enter_context(RawSender(intake.port)) for _ in range(PLACES_TO_WAIT + 20)]
        assert send(intake.port, ct_series(2)) == [0x0000] * 2
        for one in crowd[:20]:
            assert one.receive()[0] in (0, 7)
        assert crowd[-1].associate() == ASSOCIATE_AC
    (refusal,) = intake.refusals()
    assert "kept silent" in refusal.reason


@dataclass(eq=False)
class Connection:
    address: str = "10.0.0.1"
    is_cut: bool = False

    def cut(self) -> None:
        self.is_cut = True


def test_who_was_rejected_and_is_cut_for_a_crowd_is_not_said_to_have_kept_silent(
    intake: Intake,
) -> None:
    door = Door(
        DicomSettings(allowed_callers=(AllowedCaller(ae_title="CT1"),)), RefusalNotes(intake.receiver._ledger)
    )
    rejected, silent = Connection(), Connection()
    door.knock(rejected)
    door.knock(silent)
    assert door.admit(rejected, Caller("STRANGER", rejected.address)) == CALLER_NOT_RECOGNISED
    for _ in range(PLACES_TO_WAIT - 1):
        door.knock(Connection())
    assert (rejected.is_cut, silent.is_cut) == (True, False)
    (refusal,) = intake.refusals()
    assert "STRANGER@10.0.0.1 is not among dicom.allowed_callers" in refusal.reason
    door.knock(Connection())
    assert silent.is_cut
    assert "kept silent" in intake.refusals()[-1].reason


def test_who_is_turned_away_is_noted_with_what_to_do_and_without_a_status_that_nobody_was_answered(
    start_intake: StartIntake, transport: str
) -> None:
    intake = start_intake(transport, allowed_callers=("CT1",), maximum_associations=1)
    with RawSender(intake.port) as stranger:
        assert stranger.associate(caller="CT2") == ASSOCIATE_RJ
    with RawSender(intake.port) as first, RawSender(intake.port) as second:
        assert [first.associate(caller="CT1"), second.associate(caller="CT1")] == [ASSOCIATE_AC, ASSOCIATE_RJ]
    not_allowed, too_many = intake.refusals()
    assert not_allowed.reason == (
        "CT2@127.0.0.1 is not among dicom.allowed_callers, so its association was rejected. If it may send, "
        'add "CT2@127.0.0.1" there and restart the node'
    )
    assert "told to come back: dicom.maximum_associations is 1" in too_many.reason
    assert (not_allowed.status, too_many.status) == (NO_STATUS, NO_STATUS)


def test_a_stranger_under_many_names_fills_nothing(start_intake: StartIntake, transport: str) -> None:
    intake = start_intake(transport, allowed_callers=("CT1",))
    for number in range(2 * MOST_TROUBLES):
        with RawSender(intake.port) as stranger:
            assert stranger.associate(caller=f"NAME{number}") == ASSOCIATE_RJ
    assert len(intake.refusals()) == MOST_TROUBLES + 1
    with intake.database.snapshot() as session:
        assert len(newest(session, AuditFilter(kind="turned-away"))) == MOST_TROUBLES + 1


def test_who_is_turned_away_gets_to_read_why_whatever_they_go_on_sending(
    start_intake: StartIntake, transport: str
) -> None:
    intake = start_intake(transport, allowed_callers=("CT1",))
    for _ in range(10):
        with RawSender(intake.port) as stranger:
            request = association_request(((CTImageStorage, ExplicitVRLittleEndian),), "STRANGER")
            stranger.socket.sendall(request + bytes(100_000))
            assert stranger.receive()[0] == ASSOCIATE_RJ
            assert stranger.socket.recv(1) == b""  # an end, and no reset


def test_an_association_that_is_left_idle_ends_without_being_a_refusal(
    start_intake: StartIntake, transport: str
) -> None:
    intake = start_intake(transport, network_timeout=4)
    with RawSender(intake.port) as idle, RawSender(intake.port) as broken:
        assert [one.associate() for one in (idle, broken)] == [ASSOCIATE_AC] * 2
        broken.socket.sendall(store_pdus(bytes(9000), "1.2.3", CTImageStorage)[:5000])
        assert [one.receive()[0] for one in (idle, broken)] == [ABORT] * 2
    (refusal,) = intake.refusals()
    assert "the association of RAW@127.0.0.1 was aborted" in refusal.reason


def test_the_audit_trail_tells_of_an_association_that_does_not_end(
    intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(tally, "Tally", partial(tally.Tally, clock=lambda: clock[0]))
    for module in (fast, stock):
        monkeypatch.setattr(module, "Tally", tally.Tally)
    images = ct_series(5)

    def told() -> list[str]:
        intake.receiver.settle()
        with intake.database.snapshot() as session:
            return [entry.text for entry in newest(session, AuditFilter(kind="received"))]

    with RawSender(intake.port) as sender:
        sender.associate(caller="CT7")
        for number, image in enumerate(images):
            clock[0] += tally.SECONDS_BETWEEN_LINES if number == 3 else 1
            assert sender.store(encoded(image), image.SOPInstanceUID) == 0x0000
            assert told() == (["sent 4 objects"] if number >= 3 else [])
        sender.release()
        hung_up(sender)
    assert told() == ["sent 1 object", "sent 4 objects"]


def test_the_audit_trail_tells_who_sent_how_much_of_which_study(intake: Intake) -> None:
    images = [*ct_series(3), *ct_series(1)]
    damaged = ct_slice()
    with RawSender(intake.port) as sender:
        sender.associate(caller="CT7")
        for image in images:
            assert sender.store(encoded(image), image.SOPInstanceUID) == 0x0000
        assert sender.store(b"nonsense", damaged.SOPInstanceUID) != 0x0000
        sender.release()
        hung_up(sender)
    with intake.database.snapshot() as session:
        intake.receiver.settle()
        entries = newest(session, AuditFilter(kind="received"))
    assert {(entry.who, entry.address, entry.study_uid, entry.text) for entry in entries} == {
        ("CT7", "127.0.0.1", images[0].StudyInstanceUID, "sent 3 objects"),
        ("CT7", "127.0.0.1", images[3].StudyInstanceUID, "sent 1 object"),
        ("CT7", "127.0.0.1", "", "sent 1 object that could not be accepted"),
    }


def test_a_study_that_comes_again_leaves_one_line_on_its_timeline_and_opens_nothing(intake: Intake) -> None:
    images = ct_series(3)
    for _ in range(2):
        with RawSender(intake.port) as sender:
            sender.associate(caller="CT7")
            for image in images:
                assert sender.store(encoded(image), image.SOPInstanceUID) == 0x0000
            sender.release()
            hung_up(sender)
        intake.receiver.settle()
        with intake.database.session() as session:
            close_quiet(session, now(), lambda study: True)
    with intake.database.snapshot() as session:
        events = session.scalars(select(Event.text).order_by(Event.id)).all()
        assert [revision.number for revision in session.scalars(select(Revision))] == [1]
    assert events == [
        "Receiving from CT7.",
        "Closed after its quiet period: 3 images in 1 series, 3 of them new.",
        "3 images came again from CT7 and were already here.",
    ]


def hung_up(sender: RawSender) -> None:
    """Wait until the receiver has hung up and, on the stock path a moment later, told of what came."""
    while sender.receive()[0]:
        pass
    for thread in threading.enumerate():
        if "process_request" in thread.name:
            thread.join(20)
