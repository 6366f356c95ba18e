"""Results leave once, to every destination, however long one of them is away."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import JPEG2000Lossless
from pynetdicom import AE, evt
from sqlalchemy import select, update

from node.peers.outbox import Outbox
from node.peers.sending import DeliveryError, DicomDestination
from node.settings import DestinationSettings, Peer
from node.upkeep.health import check_tasks
from storage import deliveries
from storage.audit import AuditFilter, newest
from storage.database import Database, now
from storage.readings import StoredObject
from storage.tables import Delivery, Event, Patient, ReadingRow, ResultObject, Revision, Study
from training.phantoms.chest import chest_phantom
from training.phantoms.dicom import write_ct_series

STUDY = "1.2.3"
CT = "1.2.840.10008.5.1.4.1.1.2"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


class Pacs:
    """A storage SCP that remembers what it was sent and answers as told."""

    def __init__(self, statuses: Callable[[int], int] = lambda _: 0x0000) -> None:
        self.received: list[str] = []
        self._statuses = statuses

    def store(self, event: evt.Event) -> int:
        self.received.append(event.request.AffectedSOPInstanceUID)
        return self._statuses(len(self.received))

    @contextmanager
    def listening(
        self,
        port: int = 0,
        syntaxes: tuple[str, ...] = ("1.2.840.10008.1.2.1",),
        sop_classes: tuple[str, ...] = (CT,),
    ) -> Iterator[int]:
        ae = AE("PACS")
        for sop_class in sop_classes:
            ae.add_supported_context(sop_class, list(syntaxes))
        ae.add_supported_context("1.2.840.10008.1.1")
        server = ae.start_server(
            ("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, self.store)]
        )
        try:
            yield server.socket.getsockname()[1]
        finally:
            server.shutdown()


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> list[Path]:
    phantom = chest_phantom(1, shape=(3, 32, 32), spacing_mm=10.0)
    folder = tmp_path_factory.mktemp("ct")
    return write_ct_series(folder, phantom.voxels, phantom.affine)


@pytest.fixture
def posted(database: Database, files: list[Path]) -> Database:
    _post(database, [StoredObject("seg", CT, path.stem, str(path)) for path in files])
    return database


def _post(database: Database, objects: list[StoredObject]) -> None:
    with database.session() as session:
        study = Study(uid=STUDY, patient=Patient(patient_id="P"), first_image_at=now(), last_image_at=now())
        session.add(study)
        session.flush()
        session.add(Revision(study_pk=study.id, number=1, state="delivering", closed_at=now()))
        session.flush()
        assert deliveries.post(session, STUDY, 1, "pacs", objects) == len(objects)
        assert deliveries.post(session, STUDY, 1, "pacs", objects) == 0


def _destination(port: int, retry_seconds: float = 0.1) -> DestinationSettings:
    return DestinationSettings(
        name="pacs", ae_title="PACS", host="127.0.0.1", port=port, retry_seconds=retry_seconds
    )


@contextmanager
def _outbox(database: Database, settings: DestinationSettings) -> Iterator[Outbox]:
    outbox = Outbox(
        database, Path("/"), {settings.name: (settings, DicomDestination(settings, "OVERREAD", timeout=5))}
    )
    outbox.start()
    try:
        yield outbox
    finally:
        outbox.stop()


def _state(database: Database) -> str:
    with database.snapshot() as session:
        return session.scalars(select(Revision.state)).one()


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _texts(database: Database) -> list[str]:
    with database.snapshot() as session:
        return list(session.scalars(select(Event.text).order_by(Event.id)))


def test_every_object_arrives_once_and_the_study_ends_delivered(posted, files):
    pacs = Pacs()
    with pacs.listening() as port, _outbox(posted, _destination(port)):
        _wait_for(lambda: _state(posted) == "delivered")
    assert len(pacs.received) == len(set(pacs.received)) == len(files)
    with posted.snapshot() as session:
        (entry,) = newest(session, AuditFilter(kind="delivered"))
    assert (entry.who, entry.address, entry.study_uid) == ("pacs", "127.0.0.1", STUDY)
    assert entry.text == f"was sent {len(files)} result objects"


def test_the_timeline_tells_which_report_is_where(database: Database, files: list[Path], tmp_path: Path):
    reports = [tmp_path / "lung-nodules" / f"{role}.dcm" for role in ("sr", "sr-changes")]
    reports[0].parent.mkdir()
    for file, report in zip(files[:2], reports, strict=True):
        shutil.copyfile(file, report)
    _post(database, [StoredObject("sr", CT, path.stem, str(path)) for path in reports])
    with Pacs().listening() as port, _outbox(database, _destination(port)):
        _wait_for(lambda: _state(database) == "delivered")
    assert _texts(database) == [
        "SR (measurements of lung-nodules) is in pacs",
        "SR (changes of lung-nodules) is in pacs",
    ]


def test_a_destination_that_is_away_gets_everything_when_it_returns(posted, files, free_port):
    pacs = Pacs()
    with _outbox(posted, _destination(free_port)):
        _wait_for(lambda: any("cannot be reached" in text for text in _texts(posted)))
        assert _state(posted) == "delivering"
        with pacs.listening(free_port):
            _wait_for(lambda: _state(posted) == "delivered")
    assert sorted(pacs.received) == sorted(set(pacs.received))
    assert len(pacs.received) == len(files)


def test_a_destination_that_cannot_be_sent_to_for_a_fault_of_ours_is_a_problem_and_holds_up_no_other(posted):
    class Broken(DicomDestination):
        def send(self, paths):
            raise AttributeError("no such thing")

    pacs = Pacs()
    with pacs.listening() as port:
        well, ill = _destination(port), _destination(port).model_copy(update={"name": "vna"})
        with posted.session() as session:
            deliveries.post(session, STUDY, 1, "vna", [StoredObject("sr", CT, "1.2.3", "sr.dcm")])
        sent_to = {"pacs": (well, DicomDestination(well, "OVERREAD")), "vna": (ill, Broken(ill, "OVERREAD"))}
        outbox = Outbox(posted, Path("/"), sent_to)
        outbox.start()
        try:
            _wait_for(lambda: any("is in pacs" in text for text in _texts(posted)))
            _wait_for(lambda: not check_tasks(outbox.tasks).ok)
        finally:
            outbox.stop()
    assert check_tasks(outbox.tasks).detail == "results for vna cannot be sent (no such thing)"


def test_an_object_over_which_the_destination_hangs_up_costs_no_other_an_attempt(posted, files):
    uids = [dcmread(path).SOPInstanceUID for path in files]

    class HangsUp(Pacs):
        def store(self, event: evt.Event) -> int:
            status = super().store(event)
            if event.request.AffectedSOPInstanceUID == uids[0]:
                event.assoc.abort()
            return status

    with posted.session() as session:
        session.execute(update(Delivery).values(attempts=7))  # each further one would cost an hour
    pacs = HangsUp()
    with pacs.listening() as port, _outbox(posted, _destination(port, retry_seconds=60)):
        _wait_for(lambda: len(_texts(posted)) == 2)
    assert pacs.received == uids
    with posted.session() as session:
        rows = {row.object_uid: (row.state, row.attempts) for row in session.scalars(select(Delivery))}
        session.execute(update(Delivery).where(Delivery.state == "waiting").values(next_at=now()))
        deliveries.post(session, STUDY, 1, "pacs", [StoredObject("sr", CT, "1.2.9", "sr.dcm")])
        next_round = [each.object_uid for each in deliveries.due(session, "pacs")]
    assert [rows[path.stem] for path in files] == [("waiting", 8), ("sent", 8), ("sent", 8)]
    assert next_round == ["1.2.9", files[0].stem]


def test_what_was_not_offered_was_not_attempted_and_waits_a_short_while(posted, files):
    class HangsUp(Pacs):
        def store(self, event: evt.Event) -> int:
            event.assoc.abort()
            return 0x0000

    with posted.session() as session:
        session.execute(update(Delivery).values(attempts=7))
    with HangsUp().listening() as port, _outbox(posted, _destination(port, retry_seconds=60)):
        _wait_for(lambda: "was lost before this object" in (_deliveries(posted)[2].last_error or ""))
    rows = _deliveries(posted)
    assert [row.attempts for row in rows] == [8, 8, 7]
    assert rows[2].next_at - now() <= timedelta(seconds=60) < rows[0].next_at - now()


def test_a_destination_that_returns_after_long_is_sent_to_at_once(posted, files, free_port, monkeypatch):
    monkeypatch.setattr("node.peers.outbox.LONGEST_WAIT", 0.1)
    with posted.session() as session:
        session.execute(update(Delivery).values(attempts=12))
    pacs = Pacs()
    with _outbox(posted, _destination(free_port, retry_seconds=1)):
        _wait_for(lambda: _attempts(posted) == 39)
        with posted.snapshot() as session:
            assert all(
                row.next_at - now() > timedelta(minutes=50) for row in session.scalars(select(Delivery))
            )
        with pacs.listening(free_port):
            _wait_for(lambda: _state(posted) == "delivered")
    assert len(pacs.received) == len(files)


def test_what_a_restart_interrupted_is_sent_by_the_next_run(posted, files, free_port):
    with _outbox(posted, _destination(free_port)):
        _wait_for(lambda: len(_texts(posted)) > 0)
    pacs = Pacs()
    with pacs.listening(free_port), _outbox(posted, _destination(free_port)):
        _wait_for(lambda: _state(posted) == "delivered")
    assert len(pacs.received) == len(files)


def test_a_full_destination_is_tried_again_and_a_refusal_is_not(posted):
    pacs = Pacs(lambda count: {1: 0xA700, 2: 0xC123}.get(count, 0x0000))
    with pacs.listening() as port, _outbox(posted, _destination(port)):
        _wait_for(lambda: _state(posted) == "failed")
    assert len(pacs.received) == 4  # three objects, the first of them twice
    with posted.snapshot() as session:
        assert sorted(session.scalars(select(Delivery.state))) == ["refused", "sent", "sent"]
        revision = session.scalars(select(Revision)).one()
    assert revision.stage == "deliver"
    assert "1 of 3 objects" in revision.reason


def test_what_is_taken_back_while_it_is_sent_holds_nothing_up_and_the_audit_trail_tells_all_that_left(
    posted, files
):
    class TakesBack(Pacs):
        def store(self, event: evt.Event) -> int:
            status = super().store(event)
            if len(self.received) == 2:
                with posted.session() as session:
                    taken_back.append(deliveries.forget_unwanted(session, STUDY, 1, {}))
                    deliveries.settle(session, STUDY, 1)
            return status

    taken_back: list[int] = []
    pacs = TakesBack()
    with pacs.listening() as port, _outbox(posted, _destination(port)) as outbox:
        _wait_for(lambda: "was sent 3 result objects" in _audited(posted))
        assert check_tasks(outbox.tasks).ok
    assert len(pacs.received) == len(set(pacs.received)) == len(files) == 3
    assert taken_back == [2]
    assert [row.state for row in _deliveries(posted)] == ["sent"]
    assert _state(posted) == "delivered"


def test_a_long_outage_is_said_once_for_each_object_and_tried_less_and_less(posted, files, free_port):
    with _outbox(posted, _destination(free_port, retry_seconds=0.01)):
        _wait_for(lambda: _attempts(posted) >= 3 * len(files))
    assert len([text for text in _texts(posted) if "could not be sent" in text]) == len(files)
    with posted.snapshot() as session:
        pauses = [d.next_at - now() for d in session.scalars(select(Delivery)).all()]
    assert max(pauses) <= deliveries.LONGEST_PAUSE


def test_a_destination_taken_out_of_the_settings_holds_nothing_up(posted):
    with posted.session() as session:
        assert deliveries.retire(session, ["other"]) == 3
    assert _state(posted) == "failed"


def test_an_object_whose_syntax_is_not_accepted_is_refused_with_a_hint(files):
    with Pacs().listening(syntaxes=(JPEG2000Lossless,)) as port:
        receipts = list(_peer(port).send(files))
    assert {receipt.outcome for receipt in receipts} == {"refused"}
    assert "does not accept CT Image Storage" in receipts[0].reason


def test_a_peer_that_only_speaks_implicit_gets_the_object_in_implicit(files):
    pacs = Pacs()
    with pacs.listening(syntaxes=("1.2.840.10008.1.2",)) as port:
        receipts = list(_peer(port).send(files))
    assert {receipt.outcome for receipt in receipts} == {"sent"}
    assert len(pacs.received) == len(files)


def test_a_file_that_is_gone_or_no_dicom_is_named_and_the_rest_is_sent(files, tmp_path):
    text = tmp_path / "notes.dcm"
    text.write_text("not an image")
    with Pacs().listening() as port:
        receipts = {r.path: r.outcome for r in _peer(port).send([tmp_path / "gone.dcm", text, *files])}
    assert receipts[tmp_path / "gone.dcm"] == receipts[text] == "refused"
    assert [receipts[path] for path in files] == ["sent"] * len(files)


def test_an_echo_tells_what_to_look_at(free_port):
    with pytest.raises(DeliveryError, match="cannot be reached; is it running"):
        _peer(free_port).echo()
    with Pacs().listening() as port:
        _peer(port).echo()


def _deliveries(database: Database) -> list[Delivery]:
    with database.snapshot() as session:
        return [*session.scalars(select(Delivery).order_by(Delivery.id))]


def _audited(database: Database) -> list[str]:
    with database.snapshot() as session:
        return [entry.text for entry in newest(session, AuditFilter(kind="delivered"))]


def _attempts(database: Database) -> int:
    with database.snapshot() as session:
        return sum(session.scalars(select(Delivery.attempts)))


def _peer(port: int) -> DicomDestination:
    return DicomDestination(Peer(name="pacs", ae_title="PACS", host="127.0.0.1", port=port), "OVERREAD", 5)


@pytest.fixture
def two_kinds(database: Database, files: list[Path], tmp_path: Path) -> Database:
    """A reading with a CT as SEG and a secondary capture as SC; only the SEG is posted."""
    capture = dcmread(files[0])
    capture.SOPClassUID = capture.file_meta.MediaStorageSOPClassUID = SECONDARY_CAPTURE
    capture.SOPInstanceUID = capture.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    capture.save_as(tmp_path / "sc.dcm")
    with database.session() as session:
        study = Study(uid=STUDY, patient=Patient(patient_id="P"), first_image_at=now(), last_image_at=now())
        session.add(study)
        session.flush()
        revision = Revision(study_pk=study.id, number=1, state="delivering", closed_at=now())
        session.add(revision)
        session.flush()
        objects = [
            ResultObject(kind="seg", sop_class=CT, uid=files[0].stem, path=str(files[0])),
            ResultObject(
                kind="sc", sop_class=SECONDARY_CAPTURE, uid="1.2.3.4", path=str(tmp_path / "sc.dcm")
            ),
        ]
        reading = ReadingRow(
            revision_pk=revision.id,
            reader="lung-nodules",
            series_uid="1.2",
            identity="1",
            body={},
            created_at=now(),
            objects=objects,
        )
        session.add(reading)
        session.flush()
        posted = [StoredObject("seg", CT, files[0].stem, str(files[0]))]
        deliveries.post(session, STUDY, 1, "pacs", posted)
    return database


def test_a_destination_without_a_class_gets_the_pictures_instead_and_the_timeline_says_so(two_kinds):
    pacs = Pacs()
    with (
        pacs.listening(sop_classes=(SECONDARY_CAPTURE,)) as port,
        _outbox(two_kinds, _destination(port)),
    ):
        _wait_for(lambda: _state(two_kinds) == "delivered")
    assert pacs.received == ["1.2.3.4"]
    texts = _texts(two_kinds)
    assert any(text.startswith("SEG is replaced by SC: ") for text in texts)
    assert "pacs accepts nothing; not SEG" in texts
    with two_kinds.snapshot() as session:
        assert sorted(session.scalars(select(Delivery.state))) == ["replaced", "sent"]


def test_a_destination_that_accepts_a_class_and_supports_it_not_gets_the_pictures_too(two_kinds):
    pacs = Pacs(lambda count: 0x0122 if count == 1 else 0x0000)
    with (
        pacs.listening(sop_classes=(CT, SECONDARY_CAPTURE)) as port,
        _outbox(two_kinds, _destination(port)),
    ):
        _wait_for(lambda: _state(two_kinds) == "delivered")
    assert pacs.received[1:] == ["1.2.3.4"]
    with two_kinds.snapshot() as session:
        assert sorted(session.scalars(select(Delivery.state))) == ["replaced", "sent"]


def test_a_later_reading_with_the_same_objects_waits_for_them_and_ends_as_they_do(posted, files):
    """Nothing is posted for it, and yet it is not delivered before they are."""
    with posted.session() as session:
        study = session.scalars(select(Study)).one()
        later = Revision(study_pk=study.id, number=2, state="delivering", closed_at=now())
        session.add(later)
        session.flush()
        reading = ReadingRow(
            revision_pk=later.id, reader="r", series_uid="1", identity="i", body={}, created_at=now()
        )
        reading.objects = [
            ResultObject(kind="seg", sop_class=CT, uid=path.stem, path=str(path)) for path in files
        ]
        session.add(reading)
        session.flush()
        assert deliveries.settle(session, STUDY, 2) is None

    pacs = Pacs(lambda count: 0xC123 if count == 2 else 0x0000)
    with pacs.listening() as port, _outbox(posted, _destination(port)):
        _wait_for(lambda: "delivering" not in _states(posted))
    assert _states(posted) == ["failed", "failed"]


def _states(database: Database) -> list[str]:
    with database.snapshot() as session:
        return list(session.scalars(select(Revision.state).order_by(Revision.number)))
