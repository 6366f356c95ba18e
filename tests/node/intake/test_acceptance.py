"""What is known of objects on their way in."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydicom.uid import ExplicitVRLittleEndian

from node.intake.acceptance import Acceptance
from node.intake.belongings import Belongings
from node.intake.examination import OUT_OF_RESOURCES, Announcement
from node.intake.ledger import Ledger
from node.intake.notes import RefusalNotes
from storage.archive import Archive, IncomingFile
from storage.database import Database
from tests.node.intake.senders import ct_slice, encoded

IMAGE = ct_slice()
DATA = encoded(IMAGE)
ANNOUNCED = Announcement(IMAGE.SOPClassUID, IMAGE.SOPInstanceUID, ExplicitVRLittleEndian, "CT1", "127.0.0.1")


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    claimed = Archive(tmp_path / "data", durable=False).claim()
    yield claimed
    claimed.release()


@pytest.fixture
def acceptance(archive: Archive, open_database: Callable[[], Database]) -> Acceptance:
    ledger = Ledger(open_database(), archive)
    return Acceptance(archive, ledger, RefusalNotes(ledger), Belongings())


def fail(*_given: object) -> None:
    raise OSError("the disk is gone")


@pytest.mark.parametrize(("of", "step"), [(Archive, "receive"), (IncomingFile, "write")])
def test_nothing_is_remembered_of_an_object_that_could_not_be_begun(
    acceptance: Acceptance, monkeypatch: pytest.MonkeyPatch, of: type, step: str
) -> None:
    monkeypatch.setattr(of, step, fail)
    arrival = acceptance.begin(ANNOUNCED)
    assert arrival.finish().status == OUT_OF_RESOURCES
    remembered = weakref.ref(arrival)
    del arrival
    gc.collect()
    assert remembered() is None


def test_an_object_whose_file_cannot_be_removed_is_on_its_way_in_no_more(
    acceptance: Acceptance, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrival = acceptance.begin(ANNOUNCED)
    arrival.write(DATA[: len(DATA) // 2])
    assert acceptance.studies_arriving() == {IMAGE.StudyInstanceUID}
    monkeypatch.setattr(IncomingFile, "discard", fail)
    with pytest.raises(OSError, match="gone"):
        arrival.abandon()
    assert acceptance.studies_arriving() == frozenset()
