"""A receiver that is killed between a file and its row."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from pydicom.uid import ExplicitVRLittleEndian
from sqlalchemy import select

from node.intake.acceptance import SUCCESS, Acceptance
from node.intake.belongings import Belongings
from node.intake.examination import Announcement
from node.intake.ledger import Ledger
from node.intake.notes import RefusalNotes
from storage import fetching, priors
from storage.archive import Archive
from storage.database import Database, now
from storage.tables import Instance, Study
from tests.databases import held
from tests.node.intake.conftest import Intake
from tests.node.intake.senders import ct_series, ct_slice, encoded, send

SERVE = """
import sys, threading
from pathlib import Path
from node.intake.receiver import Receiver
from node.settings import DicomSettings
from storage.archive import Archive
from storage.database import Database

folder, url, transport = Path(sys.argv[1]), *sys.argv[2:]
database = Database(url)
settings = DicomSettings(port=0, minimum_free_mb=0, transport=transport)
print(Receiver(settings, "OVERREAD", Archive(folder / "data"), database).start(), flush=True)
threading.Event().wait()
"""

FETCH = """
import os, signal, sys
from datetime import timedelta
from pathlib import Path
from pydicom.uid import ExplicitVRLittleEndian
from node.intake.examination import Announcement
from node.intake.receiver import Receiver
from node.settings import DicomSettings
from storage import fetching, priors
from storage.archive import Archive
from storage.database import Database, now
from tests.databases import held
from tests.node.intake.senders import ct_series, encoded

folder, url = Path(sys.argv[1]), sys.argv[2]
database, images = Database(url), ct_series(5)
patient = priors.PatientIdentity(images[0].PatientID)
with database.session() as session:
    until = now() + timedelta(minutes=5)
    fetching.expect(session, images[0].StudyInstanceUID, patient, "20200101", "", "a prior", until)
receiver = Receiver(DicomSettings(port=0, minimum_free_mb=0), "OVERREAD", Archive(folder / "data"), database)
receiver.start()
with held(url):
    for image in images:
        uids = image.SOPClassUID, image.SOPInstanceUID
        asked_for = Announcement(*uids, ExplicitVRLittleEndian, "OVERREAD", "fetched")
        assert receiver.take(asked_for, encoded(image)) == 0x0000
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def served(tmp_path: Path, database_url: str, transport: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, tmp_path, database_url, transport],
        cwd=Path(__file__).parents[3],
        stdout=subprocess.PIPE,
        text=True,
    )
    yield process
    process.kill()
    process.wait()


def test_what_was_acknowledged_before_a_kill_is_found_by_the_next_start(
    served: subprocess.Popen[str], database_url: str, start_intake: Callable[..., Intake], transport: str
) -> None:
    assert served.stdout is not None
    port = int(served.stdout.readline())
    images = ct_series(12)
    with held(database_url) as holder:
        assert send(port, images) == [0x0000] * 12
        os.kill(served.pid, signal.SIGKILL)
        served.wait()
        assert holder.scalars(select(Instance)).all() == []

    intake = start_intake(transport)
    assert {row.uid for row in intake.instances()} == {str(image.SOPInstanceUID) for image in images}
    assert all(intake.archive.path(row.path).stat().st_size == row.size for row in intake.instances())
    assert intake.files(intake.archive.incoming) == []
    assert send(intake.port, images[:1]) == [0x0000]
    assert len(intake.instances()) == 12


def test_a_prior_that_was_being_fetched_at_a_kill_is_still_nobodys_study(
    tmp_path: Path, database_url: str, start_intake: Callable[..., Intake], transport: str
) -> None:
    Database(database_url).upgrade()
    fetching = [sys.executable, "-c", FETCH, tmp_path, database_url]
    killed = subprocess.run(fetching, cwd=Path(__file__).parents[3], check=False)
    assert killed.returncode == -signal.SIGKILL

    intake = start_intake(transport)
    assert len(intake.instances()) == 5
    with intake.database.snapshot() as session:
        study = session.scalars(select(Study)).one()
        assert not study.is_open
        assert study.fetched_until is not None


def test_a_prior_that_was_sent_before_a_kill_is_to_be_read(
    tmp_path: Path, open_database: Callable[[], Database], start_intake: Callable[..., Intake]
) -> None:
    database, image = open_database(), ct_slice()
    data, syntax = encoded(image), ExplicitVRLittleEndian
    fetched = Announcement(image.SOPClassUID, image.SOPInstanceUID, syntax, "OVERREAD", "fetched")
    with database.session() as session:
        patient, until = priors.PatientIdentity(image.PatientID), now() + timedelta(minutes=5)
        fetching.expect(session, image.StudyInstanceUID, patient, "20200101", "", "a prior", until)
    before = start_intake("fast")
    assert before.receiver.take(fetched, data) == SUCCESS
    before.receiver.stop()

    archive = Archive(tmp_path / "data", durable=False)
    ledger = Ledger(database, archive)  # which never comes to write
    arrival = Acceptance(archive, ledger, RefusalNotes(ledger), Belongings()).begin(
        replace(fetched, caller="CT1", address="127.0.0.1")
    )
    arrival.write(data)
    assert arrival.finish().status == SUCCESS

    after = start_intake("fast")
    assert len(after.instances()) == 1
    with database.snapshot() as session:
        study = session.scalars(select(Study)).one()
        assert (study.is_open, study.fetched_until, study.source) == (True, None, "CT1")
    assert after.files(after.archive.incoming) == []


def test_images_wait_while_the_database_is_held_and_are_entered_after(
    intake: Intake, database_url: str
) -> None:
    with held(database_url):
        assert send(intake.port, ct_series(3)) == [0x0000] * 3
    assert len(intake.instances()) == 3
