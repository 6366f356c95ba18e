from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import ExplicitVRLittleEndian
from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError

from node.intake.acceptance import Acceptance
from node.intake.belongings import Belongings
from node.intake.examination import OUT_OF_RESOURCES, Announcement
from node.intake.ledger import ATTEMPTS, Entry, Ledger, LedgerFullError, LedgerStoppedError
from node.intake.notes import RefusalNotes
from node.upkeep.retention import check_set_aside
from node.web.metrics import metrics_registry
from storage.archive import Archive
from storage.audit import AuditEntry, AuditFilter, newest
from storage.database import Database, now
from storage.intake import Received, Recorded, record
from storage.quarantine import prune
from storage.refusals import Refused
from storage.retention import forget_records
from storage.tables import Instance, Refusal
from tests.node.intake.senders import ct_slice, encoded
from tests.waiting import wait_for


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path / "data", durable=False)


def entry(archive: Archive, number: int, size: int = 8) -> Entry:
    place = f"images/{number}.dcm"
    archive.path(place).write_bytes(b"an image")
    (archive.incoming / f"{number}.part").write_bytes(b"an image")
    received = Received(f"1.2.{number}", "1.3", "1.4", "1.1.1", "1.1", place, size, now())
    return Entry(received, f"{number}.part")


def test_what_the_database_can_never_take_is_set_aside_and_the_rest_is_written(
    archive: Archive, open_database: Callable[[], Database]
) -> None:
    database = open_database()
    ledger = Ledger(database, archive)
    for one in (entry(archive, 1), entry(archive, 2, size=1 << 70), entry(archive, 3)):
        ledger.enter(one)
    ledger.start()
    ledger.settle()
    with database.snapshot() as session:
        assert session.scalars(select(Instance.uid).order_by(Instance.uid)).all() == ["1.2.1", "1.2.3"]
        [refusal] = session.scalars(select(Refusal)).all()
    assert (refusal.uid, refusal.reason.partition("(")[0]) == (
        "1.2.2",
        "received, then set aside: the database does not take it ",
    )
    assert archive.path(refusal.path).read_bytes() == b"an image"
    assert list(archive.incoming.iterdir()) == []
    assert ledger.problem is None
    ledger.stop()


def test_what_monitoring_counts_does_not_go_down_when_rows_are_deleted(
    archive: Archive, open_database: Callable[[], Database]
) -> None:
    database = open_database()
    ledger = Ledger(database, archive)
    figures = metrics_registry(database, archive.root, lambda: ledger.entered)

    def shown() -> tuple[float | None, float | None]:
        names = "overread_images_received_total", "overread_refusals_total"
        images, refusals = (figures.get_sample_value(name) for name in names)
        return images, refusals

    assert shown() == (0, 0)
    first, misfit = entry(archive, 1), entry(archive, 3)
    ledger.enter(replace(first, received=replace(first.received, patient_id="A")))
    ledger.enter(Refused(now(), "CT1", "10.0.0.5", 0xC000, "its pixel data ends early"))
    ledger.start()
    ledger.settle()
    ledger.enter(entry(archive, 2, size=1 << 70))  # which no database takes
    ledger.enter(replace(misfit, received=replace(misfit.received, patient_id="B", received_at=now())))
    ledger.settle()
    assert shown() == (1, 3)
    with database.session() as session:
        session.execute(delete(Instance))
        assert forget_records(session, now() + timedelta(days=1)) >= 3
    ledger.enter(entry(archive, 4))
    ledger.settle()
    assert shown() == (2, 3)
    ledger.stop()


def test_an_image_that_was_acknowledged_and_does_not_fit_is_kept_for_good(
    archive: Archive, open_database: Callable[[], Database]
) -> None:
    database = open_database()
    ledger = Ledger(database, archive)
    first, late, again = entry(archive, 1), entry(archive, 2), entry(archive, 3)
    ledger.enter(replace(first, received=replace(first.received, patient_id="A")))
    for one in (late, again):  # sent twice: one file, two names in incoming
        ledger.enter(replace(one, received=replace(late.received, patient_id="B", received_at=now())))
    ledger.start()
    ledger.settle()
    ledger.stop()
    with database.snapshot() as session:
        assert session.scalars(select(Instance.uid)).all() == ["1.2.1"]
        paths = [refusal.path for refusal in session.scalars(select(Refusal).order_by(Refusal.id))]
    archive.path("images/3.dcm").unlink()
    assert [path.name for path in archive.images.rglob("*.dcm")] == ["1.dcm"]
    assert list(archive.incoming.iterdir()) == []
    assert len(paths) == 2
    assert "" in paths  # said twice, kept once
    prune(archive.quarantine, now() + timedelta(days=999), 0)
    assert archive.path("".join(paths)).read_bytes() == b"an image"
    probe = check_set_aside(archive)
    assert not probe.ok
    assert probe.detail.startswith("1 images")
    assert "overread set-aside" in probe.hint
    archive.path("".join(paths)).unlink()
    assert check_set_aside(archive).ok


def test_images_under_merged_ids_are_of_one_study(
    archive: Archive, open_database: Callable[[], Database]
) -> None:
    database = open_database()
    ledger = Ledger(database, archive, merged=[("OLD", "NEW")])
    ledger.start()
    for number, patient_id in enumerate(("OLD", "NEW", "EVE"), 1):
        one = entry(archive, number)
        ledger.enter(replace(one, received=replace(one.received, patient_id=patient_id)))
    ledger.settle()
    ledger.stop()
    with database.snapshot() as session:
        assert session.scalars(select(Instance.uid).order_by(Instance.uid)).all() == ["1.2.1", "1.2.2"]
        assert session.scalars(select(Refusal.uid)).all() == ["1.2.3"]


def test_who_waits_for_a_ledger_that_stops_is_told(
    archive: Archive, open_database: Callable[[], Database]
) -> None:
    database = open_database()
    ledger = Ledger(database, archive)
    ledger.start()
    with database.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE instances RENAME TO away")
    ledger.enter(entry(archive, 1))
    with ThreadPoolExecutor() as waiting:
        told = waiting.submit(ledger.settle)
        ledger.stop()
        assert isinstance(told.exception(timeout=20), LedgerStoppedError)
    with pytest.raises(LedgerStoppedError):
        ledger.settle()
    assert [path.name for path in archive.incoming.iterdir()] == ["1.part"]


def test_a_folder_that_takes_nothing_holds_up_only_what_is_to_be_moved_there(
    archive: Archive, open_database: Callable[[], Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.intake.ledger.SECONDS_BETWEEN_MOVES", 0.05)
    archive.set_aside.rmdir()
    archive.set_aside.touch()
    database = open_database()
    ledger = Ledger(database, archive)
    ledger.start()
    first, stranger, sound = (
        replace(one, received=replace(one.received, patient_id=patient_id))
        for one, patient_id in zip((entry(archive, n) for n in (1, 2, 3)), "ABA", strict=True)
    )
    for one in (first, stranger, sound, entry(archive, 4, size=1 << 70)):
        ledger.enter(one)
        ledger.settle()
    with database.snapshot() as session:
        assert session.scalars(select(Instance.uid).order_by(Instance.uid)).all() == ["1.2.1", "1.2.3"]
        assert session.scalars(select(Refusal)).all() == []
    assert sorted(path.name for path in archive.incoming.iterdir()) == ["2.part", "4.part"]
    assert archive.path(stranger.received.path).exists()
    told: list[str] = []
    withdraw = archive.withdraw

    def noting_what_is_told(*given: str) -> str:
        told.append(ledger.problem or "")
        return withdraw(*given)

    monkeypatch.setattr(archive, "withdraw", noting_what_is_told)
    wait_for(lambda: len(told) >= 4, 30)  # two rounds of two
    for problem in told[:4]:
        assert "2 received images cannot be moved" in problem
        assert str(archive.set_aside) in problem
        assert "database" not in problem
    archive.set_aside.unlink()
    archive.set_aside.mkdir(exist_ok=True)
    wait_for(lambda: ledger.problem is None, 30)
    ledger.stop()
    assert list(archive.incoming.iterdir()) == []
    with database.snapshot() as session:
        refusals = session.scalars(select(Refusal).order_by(Refusal.uid)).all()
    assert [one.uid for one in refusals] == ["1.2.2", "1.2.4"]
    assert all(archive.path(one.path).is_relative_to(archive.set_aside) for one in refusals)
    assert all(archive.path(one.path).read_bytes() == b"an image" for one in refusals)


def test_an_image_whose_name_in_incoming_cannot_be_removed_is_entered_once(
    archive: Archive, open_database: Callable[[], Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.intake.ledger.SECONDS_BETWEEN_MOVES", 0.05)
    database = open_database()
    ledger = Ledger(database, archive)
    held = entry(archive, 1)
    (archive.incoming / held.incoming_name).unlink()
    (archive.incoming / held.incoming_name).mkdir()
    for item in (held, AuditEntry(now(), "action", "anna", "10.0.0.9", "deleted an image")):
        ledger.enter(item)
    ledger.start()
    ledger.settle()
    assert ledger.problem is not None
    assert held.incoming_name in ledger.problem
    (archive.incoming / held.incoming_name).rmdir()
    wait_for(lambda: ledger.problem is None, 30)
    ledger.stop()
    with database.snapshot() as session:
        assert session.scalars(select(Instance.uid)).all() == ["1.2.1"]
        assert len(newest(session, AuditFilter())) == 1


def test_who_is_turned_away_for_what_waits_is_told_why(
    archive: Archive, open_database: Callable[[], Database]
) -> None:
    archive.set_aside.rmdir()
    archive.set_aside.touch()
    ledger = Ledger(open_database(), archive, capacity=1, patience=0.1)
    ledger.start()
    ledger.enter(entry(archive, 1, size=1 << 70))
    ledger.settle()
    with pytest.raises(LedgerFullError, match="set-aside"):
        ledger.await_room()
    ledger.stop()


def test_who_is_turned_away_for_what_waits_leaves_no_file(
    archive: Archive, open_database: Callable[[], Database]
) -> None:
    ledger = Ledger(open_database(), archive, capacity=0, patience=0)
    image = ct_slice()
    announced = Announcement(image.SOPClassUID, image.SOPInstanceUID, ExplicitVRLittleEndian, "CT1", "")
    for _ in ("first", "again"):
        arrival = Acceptance(archive, ledger, RefusalNotes(ledger), Belongings()).begin(announced)
        arrival.write(encoded(image))
        assert arrival.finish().status == OUT_OF_RESOURCES
    assert [path for path in archive.root.rglob("*") if path.is_file()] == []


CONSTRAINT = IntegrityError("INSERT", {}, Exception("FOREIGN KEY constraint failed"))


def fails(times: int, error: Exception = CONSTRAINT) -> Callable[..., Recorded]:
    """Enters images like ``record``, but for the first ``times``."""
    left = iter(range(times))

    def record_(*given: Any) -> Recorded:
        if next(left, None) is not None:
            raise error
        return record(*given)

    return record_


@pytest.mark.parametrize(("times", "error"), [(1, CONSTRAINT), (ATTEMPTS, MemoryError())])
def test_an_error_that_passes_sets_nothing_aside(
    archive: Archive,
    open_database: Callable[[], Database],
    monkeypatch: pytest.MonkeyPatch,
    times: int,
    error: Exception,
) -> None:
    monkeypatch.setattr("node.intake.ledger.record", fails(times, error))
    database = open_database()
    ledger = Ledger(database, archive)
    ledger.enter(entry(archive, 1))
    ledger.start()
    ledger.settle()
    ledger.stop()
    with database.snapshot() as session:
        assert session.scalars(select(Instance.uid)).all() == ["1.2.1"]
        assert session.scalars(select(Refusal)).all() == []


def test_an_image_that_has_its_row_stays_in_its_study_whatever_fails_when_it_comes_again(
    archive: Archive, open_database: Callable[[], Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    database = open_database()
    ledger = Ledger(database, archive)
    ledger.start()
    first = entry(archive, 1)
    ledger.enter(first)
    ledger.settle()
    monkeypatch.setattr("node.intake.ledger.record", fails(99))
    ledger.enter(entry(archive, 1))
    ledger.settle()
    ledger.stop()
    assert archive.path(first.received.path).exists()
    assert list(archive.incoming.iterdir()) == []
    assert list(archive.set_aside.iterdir()) == []


def test_what_nothing_else_holds_is_in_the_log_where_the_database_stays_away(
    archive: Archive, open_database: Callable[[], Database], caplog: pytest.LogCaptureFixture
) -> None:
    database = open_database()
    with database.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE instances RENAME TO away")
        connection.exec_driver_sql("ALTER TABLE audit RENAME TO away_too")
    ledger = Ledger(database, archive)
    ledger.enter(entry(archive, 1))
    ledger.enter(AuditEntry(now(), "action", "anna", "10.0.0.9", "deleted an image"))
    ledger.start()
    ledger.stop()
    [line] = [record.message for record in caplog.records if "here alone" in record.message]
    assert "anna at 10.0.0.9" in line
    assert "deleted an image" in line
    assert (archive.incoming / "1.part").exists()
