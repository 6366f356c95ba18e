"""Sends results to a PACS that is away for a day, and to one that is slow, refuses, and hangs up.

python -m tests.faults.pacs --objects 200 --seed 1
"""

from __future__ import annotations

import random
import socket
import sys
import threading
import time
from argparse import Namespace
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from unittest.mock import patch

from pydicom import dcmwrite
from pynetdicom import AE, evt

from node.peers.outbox import Outbox
from node.peers.sending import DicomDestination
from node.settings import DestinationSettings
from storage import deliveries
from storage.database import Database, now
from storage.overview import waiting_deliveries
from storage.readings import StoredObject
from storage.tables import Delivery, Patient, Revision, Study
from tests.databases import Databases
from tests.faults.program import main
from tests.node.intake.raw_sender import ASSOCIATE_RJ, pdu
from tests.node.intake.senders import ct_series
from tests.orthanc import free_port

COMPRESSION = 3600  # seconds of the outbox's clock in one of ours
PATIENCE = 300.0
MOODS = ("slow", "full", "rejects", "hangs up", "hangs up", "hangs up")
OBJECTS_IN_A_STUDY = 3
LONGEST_CONNECTION = 200_000  # bytes until a moody PACS hangs up; an object has a sixth of it


@dataclass(frozen=True)
class Outcome:
    """objects: to be delivered; arrived: different ones at the PACS; stored: times the PACS answered success;
    states: of the deliveries. attempts: the most for one object. cpu_seconds: while the PACS was away or
    moody. seen_waiting: the longest queue that the status page showed."""

    objects: int
    arrived: int
    stored: int
    states: dict[str, int]
    attempts: int
    cpu_seconds: float
    seen_waiting: int
    moods: dict[str, int]

    @property
    def is_well(self) -> bool:
        return self.arrived == self.objects and self.states == {"sent": self.objects}


class Pacs:
    """A storage SCP, and in front of it a door with moods: one for each connection."""

    def __init__(self, port: int, seed: int, moody: int) -> None:
        self.port = port
        self.arrived: set[str] = set()
        self.stored = 0
        self.moods: Counter[str] = Counter()
        self._chance = random.Random(seed)
        self._moody = moody
        self._is_full = threading.Event()

    @contextmanager
    def open(self) -> Iterator[None]:
        ae = AE("PACS")
        ae.add_supported_context("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1")
        ae.add_supported_context("1.2.840.10008.1.1")
        server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, self._store)])
        door = socket.create_server(("127.0.0.1", self.port), reuse_port=False)
        thread = threading.Thread(target=self._admit, args=(door, server.server_address[1]), daemon=True)
        thread.start()
        try:
            yield
        finally:
            door.shutdown(socket.SHUT_RDWR)
            door.close()
            thread.join(5)
            server.shutdown()

    def _store(self, event: evt.Event) -> int:
        if self._is_full.is_set():
            return 0xA700
        self.arrived.add(str(event.request.AffectedSOPInstanceUID))
        self.stored += 1
        return 0x0000

    def _admit(self, door: socket.socket, port: int) -> None:
        while True:
            try:
                connection, _ = door.accept()
            except OSError:
                return
            mood = self._chance.choice(MOODS) if self.moods.total() < self._moody else "well"
            self.moods[mood] += 1
            self._is_full.set() if mood == "full" else self._is_full.clear()
            if mood == "rejects":
                with connection:
                    connection.recv(1 << 16)
                    connection.sendall(pdu(ASSOCIATE_RJ, bytes((0, 2, 3, 2))))
                continue
            most = self._chance.randrange(200, LONGEST_CONNECTION) if mood in ("hangs up", "slow") else None
            inside = socket.create_connection(("127.0.0.1", port))
            pause = 0.02 if mood == "slow" else 0.0
            for one, other, limit in ((connection, inside, most), (inside, connection, None)):
                threading.Thread(target=_carry, args=(one, other, limit, pause), daemon=True).start()


def _carry(one: socket.socket, other: socket.socket, most: int | None, pause: float) -> None:
    """Bytes from one to the other, until either ends or ``most`` are carried."""
    carried = 0
    try:
        while (data := one.recv(1 << 14)) and (most is None or carried < most):
            other.sendall(data)
            carried += len(data)
            time.sleep(pause)
    except OSError:
        carried = 0  # the other way ended it
    for each in (one, other):
        with ExitStack() as closing:
            closing.callback(each.close)
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


def outage(objects: int, hours: float, folder: Path, url: str, seed: int = 1) -> Outcome:
    """The PACS is away for this long by the outbox's clock, which runs ``COMPRESSION`` times as fast."""
    pacs = Pacs(free_port(), seed, moody=0)
    with _compressed_time(), _outbox(pacs, objects, folder, url, retry_seconds=30) as (database, outbox):
        cpu = time.process_time()
        outbox.start()
        time.sleep(hours * 3600 / COMPRESSION)
        cpu = time.process_time() - cpu
        with database.snapshot() as session:
            seen = waiting_deliveries(session).count
        with pacs.open():
            _until_sent(database)
            return _outcome(database, pacs, objects, cpu, seen)


def moods(objects: int, moody: int, folder: Path, url: str, seed: int) -> Outcome:
    """The PACS has a mood of its own on each of its first ``moody`` connections."""
    pacs = Pacs(free_port(), seed, moody)
    with _outbox(pacs, objects, folder, url, retry_seconds=0.05) as (database, outbox), pacs.open():
        cpu = time.process_time()
        with (
            patch.object(deliveries, "LONGEST_PAUSE", timedelta(seconds=0.2)),
            patch("node.peers.outbox.LONGEST_WAIT", 0.05),
        ):
            outbox.start()
            seen = _until_sent(database)
        return _outcome(database, pacs, objects, time.process_time() - cpu, seen)


@contextmanager
def _compressed_time() -> Iterator[None]:
    began = now()

    def fast() -> datetime:
        return began + (now() - began) * COMPRESSION

    with (
        patch.object(deliveries, "now", fast),
        patch("node.peers.outbox.now", fast),
        patch("node.peers.outbox.LONGEST_WAIT", 0.05),
    ):
        yield


@contextmanager
def _outbox(
    pacs: Pacs, objects: int, folder: Path, url: str, retry_seconds: float
) -> Iterator[tuple[Database, Outbox]]:
    folder.mkdir(parents=True, exist_ok=True)
    database = Database(url)
    _post(database, objects, folder)
    peer = DestinationSettings(
        name="pacs", ae_title="PACS", host="127.0.0.1", port=pacs.port, retry_seconds=retry_seconds
    )
    outbox = Outbox(database, folder, {"pacs": (peer, DicomDestination(peer, "OVERREAD", timeout=5))})
    try:
        yield database, outbox
    finally:
        outbox.stop()
        database.close()


def _post(database: Database, objects: int, folder: Path) -> None:
    images = ct_series(objects, size=128)
    with database.session() as session:
        for start in range(0, objects, OBJECTS_IN_A_STUDY):
            patient = Patient(patient_id=f"P{start}")
            study = Study(uid=f"1.2.{start}", patient=patient, first_image_at=now(), last_image_at=now())
            study.is_open = False
            session.add(study)
            session.flush()
            session.add(Revision(study_pk=study.id, number=1, state="delivering", closed_at=now()))
            session.flush()
            stored = []
            for image in images[start : start + OBJECTS_IN_A_STUDY]:
                path = folder / f"{image.SOPInstanceUID}.dcm"
                dcmwrite(path, image, enforce_file_format=True)
                stored.append(StoredObject("seg", image.SOPClassUID, image.SOPInstanceUID, path.name))
            deliveries.post(session, study.uid, 1, "pacs", stored)


def _until_sent(database: Database) -> int:
    """Returns the longest queue seen."""
    longest, deadline = 0, time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with database.snapshot() as session:
            waiting = waiting_deliveries(session).count
        longest = max(longest, waiting)
        if not waiting:
            break
        time.sleep(0.1)
    return longest


def _outcome(database: Database, pacs: Pacs, objects: int, cpu: float, seen: int) -> Outcome:
    with database.snapshot() as session:
        rows = session.query(Delivery).all()
    return Outcome(
        objects=objects,
        arrived=len(pacs.arrived),
        stored=pacs.stored,
        states=dict(Counter(row.state for row in rows)),
        attempts=max(row.attempts for row in rows),
        cpu_seconds=round(cpu, 2),
        seen_waiting=seen,
        moods=dict(pacs.moods),
    )


def _fault(chosen: Namespace, scratch: Path, databases: Databases) -> Iterator[tuple[str, Outcome]]:
    folder = scratch / "away"
    with databases.new(folder) as url:
        outcome = outage(chosen.objects, 24, folder, url, chosen.seed)
    yield "away for 24 h", outcome
    folder = scratch / "moody"
    with databases.new(folder) as url:
        outcome = moods(chosen.objects, chosen.objects // 4, folder, url, chosen.seed)
    yield "slow, full, rejecting, hanging up", outcome


if __name__ == "__main__":
    sys.exit(main(__doc__, _fault, objects=200, seed=1))
