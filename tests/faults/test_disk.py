"""A disk that fills up refuses images in time, leaves nothing half, and is used again once there is room."""

import shutil
import time

import pytest

from node.intake.acceptance import SECONDS_BETWEEN_LOOKS_AT_THE_DISK
from node.intake.receiver import Receiver
from node.settings import DicomSettings
from node.upkeep.health import check_database
from storage.archive import Archive
from storage.database import Database
from storage.tables import Instance, Refusal
from tests.faults.disk import MARK_MB, run, small_disk
from tests.node.intake.senders import ct_series, send
from tests.programs import absent


@pytest.mark.parametrize("mark_mb", [MARK_MB, 0], ids=["to-the-mark", "to-the-brim"])
def test_a_full_disk_refuses_and_recovers_by_itself(databases, tmp_path, mark_mb):
    try:
        with small_disk(tmp_path / "disk") as disk, databases.new(disk) as url:
            outcome = run(disk, url, mark_mb)
    except PermissionError as error:
        absent(f"a small file system cannot be mounted here: {error}")
    assert outcome.is_well, outcome


@pytest.mark.only_on("sqlite", "PostgreSQL's disk is another machine's")
@pytest.mark.parametrize("mark_mb", [MARK_MB, 0], ids=["to-the-mark", "to-the-brim"])
def test_a_database_whose_disk_is_full_costs_no_acknowledged_image(databases, tmp_path, mark_mb):
    """The images lie elsewhere. At its mark they are refused, beyond it they wait."""
    images = ct_series(4)
    try:
        with small_disk(tmp_path / "disk") as disk, databases.new(disk) as url:
            database, archive = Database(url), Archive(tmp_path / "data")
            receiver = Receiver(DicomSettings(port=0, minimum_free_mb=mark_mb), "OVERREAD", archive, database)
            port = receiver.start()
            try:
                assert send(port, images[:1]) == [0x0000]
                receiver.settle()
                fill(disk, (MARK_MB - 1) << 20 if mark_mb else 0)
                time.sleep(2 * SECONDS_BETWEEN_LOOKS_AT_THE_DISK)
                assert send(port, images[1:]) == [0xA700 if mark_mb else 0x0000] * 3
                if mark_mb:
                    assert not check_database(database).ok
                else:
                    assert not receiver.settle(3)
                    assert "full" in receiver.problem
                (disk / "ballast").unlink()
                time.sleep(2 * SECONDS_BETWEEN_LOOKS_AT_THE_DISK)
                assert send(port, images[1:]) == [0x0000] * 3
                receiver.settle()
                assert receiver.problem is None
                with database.snapshot() as session:
                    assert {row.uid for row in session.query(Instance)} == {
                        image.SOPInstanceUID for image in images
                    }
                    told = {row.reason for row in session.query(Refusal)}
                assert all("the database's disk is nearly full" in reason for reason in told)
                assert bool(told) == bool(mark_mb)
            finally:
                receiver.stop()
                database.close()
    except PermissionError as error:
        absent(f"a small file system cannot be mounted here: {error}")


def fill(disk, left):
    """But for so many bytes."""
    with (disk / "ballast").open("wb", buffering=0) as file:
        while (free := shutil.disk_usage(disk).free - left) > 0:
            try:
                file.write(bytes(min(free, 1 << 20)))
            except OSError:
                break
