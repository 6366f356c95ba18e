"""With ``confirm = true`` a destination has to say that it keeps what it was sent."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import ClassVar

import pytest
from pydicom import Dataset
from pynetdicom import AE, build_role, evt
from sqlalchemy import select
from sqlalchemy.orm import Session

from node.intake.receiver import Receiver
from node.peers import commitment
from node.peers.commitment import Report
from node.peers.outbox import Outbox
from node.peers.sending import AwayError, DicomDestination
from node.settings import DestinationSettings, DicomSettings
from storage import deliveries
from storage.archive import Archive
from storage.database import Database, now
from storage.readings import StoredObject
from storage.tables import Delivery, Event, Patient, Revision, Study
from tests.node.intake.senders import ct_series
from tests.orthanc import Orthanc
from tests.waiting import wait_for

STUDY = "1.2.3"
CT = "1.2.840.10008.5.1.4.1.1.2"
COMMITMENT = "1.2.840.10008.1.20.1"


class CommittingPacs:
    """Stores everything, and says of each transaction what it is told to say: ``answers`` by turns, each the
    number of objects it will not commit; None is silence. It answers to ``node_port``, or on the spot, after
    so many ``seconds``."""

    def __init__(
        self, answers: Sequence[int | None], node_port: int | None = None, seconds: float = 0.2
    ) -> None:
        self.stored: list[str] = []
        self.asked = 0
        self._answers = answers
        self._seconds = seconds
        self._node_port = node_port
        self._threads: list[threading.Thread] = []

    @contextmanager
    def listening(self, port: int = 0) -> Iterator[int]:
        ae = AE("PACS")
        ae.add_supported_context(CT, "1.2.840.10008.1.2.1")
        ae.add_supported_context("1.2.840.10008.1.1")
        ae.add_supported_context(COMMITMENT)
        handlers = [(evt.EVT_C_STORE, self._store), (evt.EVT_N_ACTION, self._act)]
        server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)
        try:
            yield server.socket.getsockname()[1]
        finally:
            server.shutdown()
            for thread in self._threads:
                thread.join(10)

    def _store(self, event: evt.Event) -> int:
        self.stored.append(str(event.request.AffectedSOPInstanceUID))
        return 0x0000

    def _act(self, event: evt.Event) -> tuple[int, None]:
        request = event.action_information
        refused = self._answers[min(self.asked, len(self._answers) - 1)]
        self.asked += 1
        if refused is not None:
            self._threads.append(threading.Thread(target=self._report, args=(event.assoc, request, refused)))
            self._threads[-1].start()
        return 0x0000, None

    def _report(self, association, request: Dataset, refused: int) -> None:
        report = Dataset()
        report.TransactionUID = request.TransactionUID
        items = list(request.ReferencedSOPSequence)
        for item in items[:refused]:
            item.FailureReason = 0x0112
        report.ReferencedSOPSequence = items[refused:]
        if refused:
            report.FailedSOPSequence = items[:refused]
        kind = 2 if refused else 1
        time.sleep(self._seconds)  # at the least, so that the answer to the request goes first
        if self._node_port is None:
            association.send_n_event_report(report, kind, COMMITMENT, COMMITMENT + ".1")
            return
        ae = AE("PACS")
        ae.add_requested_context(COMMITMENT)
        role = build_role(COMMITMENT, scp_role=True)
        own = ae.associate("127.0.0.1", self._node_port, ae_title="OVERREAD", ext_neg=[role])
        assert own.is_established
        own.send_n_event_report(report, kind, COMMITMENT, COMMITMENT + ".1")
        own.release()


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("ct")
    paths = []
    for image in ct_series(3):
        paths.append(folder / f"{image.SOPInstanceUID}.dcm")
        image.save_as(paths[-1], enforce_file_format=True)
    return paths


@pytest.fixture
def posted(database: Database, files: list[Path]) -> Database:
    with database.session() as session:
        study = Study(uid=STUDY, patient=Patient(patient_id="P"), first_image_at=now(), last_image_at=now())
        session.add(study)
        session.flush()
        session.add(Revision(study_pk=study.id, number=1, state="delivering", closed_at=now()))
        session.flush()
        objects = [StoredObject("seg", CT, path.stem, str(path)) for path in files]
        deliveries.post(session, STUDY, 1, "pacs", objects)
    return database


@pytest.fixture(params=["fast", "stock"])
def node_port(database: Database, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[int]:
    settings = DicomSettings(port=0, minimum_free_mb=0, transport=request.param)
    receiver = Receiver(settings, "OVERREAD", Archive(tmp_path / "data"), database)
    yield receiver.start()
    receiver.stop()


@contextmanager
def _delivering(
    database: Database,
    port: int,
    ae_title: str = "PACS",
    patience: float = 60,
    kind: type[DicomDestination] = DicomDestination,
) -> Iterator[None]:
    settings = DestinationSettings(
        name="pacs", ae_title=ae_title, host="127.0.0.1", port=port, retry_seconds=0.1, confirm=True
    )
    destination = kind(settings, "OVERREAD", timeout=15)
    outbox = Outbox(database, Path("/"), {"pacs": (settings, destination)}, timedelta(seconds=patience))
    outbox.start()
    try:
        yield
    finally:
        outbox.stop()


def _ended(database: Database) -> str:
    until = time.monotonic() + 150
    while (state := _one(database, Revision.state)) == "delivering":
        assert time.monotonic() < until, _texts(database)
        time.sleep(0.05)
    return state


def _one(database: Database, column):
    with database.snapshot() as session:
        return session.scalars(select(column)).one()


def _states(database: Database) -> list[str]:
    with database.snapshot() as session:
        return sorted(session.scalars(select(Delivery.state)))


def _texts(database: Database) -> list[str]:
    with database.snapshot() as session:
        return list(session.scalars(select(Event.text).order_by(Event.id)))


def _says(database: Database, *parts: str) -> bool:
    return any(all(part in text for part in parts) for text in _texts(database))


def test_what_is_committed_on_the_same_association_is_confirmed(posted):
    pacs = CommittingPacs([0])
    with pacs.listening() as port, _delivering(posted, port):
        assert _ended(posted) == "delivered"
    assert _states(posted) == ["confirmed"] * 3
    assert len(pacs.stored) == 3
    assert _says(posted, "pacs confirms that it keeps the SEG")


def test_what_is_committed_on_a_new_association_is_confirmed(posted, node_port):
    pacs = CommittingPacs([0], node_port)
    with pacs.listening() as port, _delivering(posted, port):
        assert _ended(posted) == "delivered"
    assert _states(posted) == ["confirmed"] * 3


def test_what_is_not_committed_is_sent_again_and_the_timeline_says_so(posted, node_port):
    pacs = CommittingPacs([1, 0], node_port)
    with pacs.listening() as port, _delivering(posted, port):
        assert _ended(posted) == "delivered"
    assert len(pacs.stored) == 4
    assert pacs.asked == 2
    assert _says(posted, "did not commit the SEG", "does not have it", "sent again")


def test_what_is_never_committed_is_sent_a_few_times_and_the_study_ends_failed(posted):
    pacs = CommittingPacs([3])
    with pacs.listening() as port, _delivering(posted, port):
        assert _ended(posted) == "failed"
    assert pacs.asked == deliveries.MOST_COMMIT_REQUESTS
    assert _states(posted) == ["unconfirmed"] * 3
    assert "3 of 3 objects were not confirmed" in _one(posted, Revision.reason)


def test_a_result_that_does_not_come_is_asked_for_again(posted, node_port):
    pacs = CommittingPacs([None, 0], node_port)
    with pacs.listening() as port, _delivering(posted, port, patience=0.5):
        assert _ended(posted) == "delivered"
    assert len(pacs.stored) == 3
    assert pacs.asked >= 2


def test_a_result_that_comes_after_another_was_asked_for_is_taken(posted, node_port):
    pacs = CommittingPacs([0], node_port, seconds=3.0)
    with pacs.listening() as port, _delivering(posted, port, patience=0.1):
        assert _ended(posted) == "delivered"
        assert 1 < pacs.asked < deliveries.MOST_COMMIT_REQUESTS
    assert _states(posted) == ["confirmed"] * 3


def test_a_result_that_comes_once_nobody_asks_any_more_mends_the_study(posted, files, node_port):
    asked = []

    class Silent(DicomDestination):
        def commit(self, transaction_uid: str, objects: Sequence[Path]) -> None:
            asked.append(transaction_uid)

    with CommittingPacs([]).listening() as port, _delivering(posted, port, patience=0.01, kind=Silent):
        assert _ended(posted) == "failed"
    assert _states(posted) == ["unconfirmed"] * 3
    assert len(asked) == deliveries.MOST_COMMIT_REQUESTS

    uids = [path.stem for path in files]
    assert commitment.record(posted, Report(asked[0], frozenset(uids[:2]), {}))
    assert (_one(posted, Revision.state), "1 of 3 objects" in _one(posted, Revision.reason)) == (
        "failed",
        True,
    )
    assert commitment.record(posted, Report(asked[2], frozenset(uids[2:]), {}))
    assert (_one(posted, Revision.state), _one(posted, Revision.reason)) == ("delivered", "")
    assert _states(posted) == ["confirmed"] * 3
    assert not commitment.record(posted, Report(asked[4], frozenset(), dict.fromkeys(uids, 0x0112)))


def test_a_destination_that_is_away_before_it_can_be_asked_is_asked_once_it_returns(posted, free_port):
    with posted.session() as session:
        for each in deliveries.due(session, "pacs"):
            deliveries.record_sent(session, each.id, confirm=True)
    with _delivering(posted, free_port, patience=0.01):
        time.sleep(2)  # in which it could be asked more often than may be in vain
        assert _one(posted, Revision.state) == "delivering"
        assert len(_texts(posted)) == 1
        with CommittingPacs([0]).listening(free_port):
            assert _ended(posted) == "delivered"
    assert _states(posted) == ["confirmed"] * 3


class Away(DicomDestination):
    """Takes no association; ``asked`` counts those that were tried for a commitment."""

    asked: ClassVar[list[str]] = []

    def commit(self, transaction_uid: str, objects: Sequence[Path]) -> None:
        self.asked.append(transaction_uid)
        raise AwayError("pacs cannot be reached")


def _sent_of_many_studies(session: Session, count: int) -> None:
    for number in range(count):
        study = Study(uid=f"1.9.{number}", patient=Patient(patient_id=f"P{number}"))
        study.first_image_at = study.last_image_at = now()
        session.add(study)
        session.flush()
        session.add(Revision(study_pk=study.id, number=1, state="delivering", closed_at=now()))
        session.flush()
        deliveries.post(session, study.uid, 1, "pacs", [StoredObject("seg", CT, f"1.8.{number}", "seg.dcm")])
    for each in deliveries.due(session, "pacs"):
        deliveries.record_sent(session, each.id, confirm=True)


def test_a_destination_that_is_away_is_asked_once_for_all_its_revisions_until_it_may_be_back(
    database: Database, free_port: int
) -> None:
    Away.asked.clear()
    with database.session() as session:
        _sent_of_many_studies(session, 5)
    settings = DestinationSettings(
        name="pacs", ae_title="PACS", host="127.0.0.1", port=free_port, retry_seconds=60, confirm=True
    )
    outbox = Outbox(database, Path("/"), {"pacs": (settings, Away(settings, "OVERREAD"))})
    outbox.start()
    wait_for(lambda: Away.asked)
    time.sleep(0.5)
    outbox.wake()
    time.sleep(0.5)
    outbox.stop()
    assert len(Away.asked) == 1
    with database.snapshot() as session:
        assert deliveries.to_be_confirmed(session, "pacs") == []
        upcoming = deliveries.next_due(session, "pacs")
        dues = session.scalars(select(Delivery.commit_due)).all()
    assert upcoming is not None and timedelta(0) < upcoming - now() <= timedelta(seconds=60)
    assert max(due for due in dues if due) - now() <= timedelta(seconds=60)


def test_a_node_that_stops_asks_for_no_further_commitment(database: Database, free_port: int) -> None:
    with database.session() as session:
        _sent_of_many_studies(session, 3)
    settings = DestinationSettings(
        name="pacs", ae_title="PACS", host="127.0.0.1", port=free_port, retry_seconds=60, confirm=True
    )
    asked: list[str] = []
    begun = threading.Event()

    class Slow(DicomDestination):
        def commit(self, transaction_uid: str, objects: Sequence[Path]) -> None:
            asked.append(transaction_uid)
            begun.set()
            wait_for(outbox._stopping.is_set, 20)

    outbox = Outbox(database, Path("/"), {"pacs": (settings, Slow(settings, "OVERREAD"))})
    outbox.start()
    assert begun.wait(20)
    outbox.stop()
    assert len(asked) == 1


def test_a_transaction_of_before_an_object_was_sent_again_says_nothing_of_it(posted, files):
    with posted.session() as session:
        for each in deliveries.due(session, "pacs"):
            deliveries.record_sent(session, each.id, confirm=True)
            deliveries.record_commit_requested(session, each.id, "1.9", now() + timedelta(minutes=5))
            deliveries.record_not_committed(session, each.id, "it does not have it")
            deliveries.record_sent(session, each.id, confirm=True)
    assert not commitment.record(posted, Report("1.9", frozenset(path.stem for path in files), {}))
    assert _states(posted) == ["sent"] * 3


def test_orthanc_confirms_what_it_stored(posted, node_port, orthanc: Orthanc):
    orthanc.introduce("OVERREAD", node_port)
    with _delivering(posted, orthanc.dicom_port, orthanc.ae_title):
        assert _ended(posted) == "delivered"
    assert _states(posted) == ["confirmed"] * 3


@pytest.mark.parametrize("uid", ["", "1.2\0.3", "\ud800", "9" * 99])
def test_a_transaction_that_cannot_have_been_ours_is_nobodys(database: Database, uid: str) -> None:
    with database.snapshot() as session:
        assert deliveries.in_transaction(session, uid) == []
