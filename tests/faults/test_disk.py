"""A disk that fills up refuses images in time, leaves nothing half, and is used again once there is room."""

import pytest

from tests.faults.disk import MARK_MB, run, small_disk
from tests.programs import absent


@pytest.mark.parametrize("mark_mb", [MARK_MB, 0], ids=["to-the-mark", "to-the-brim"])
def test_a_full_disk_refuses_and_recovers_by_itself(databases, tmp_path, mark_mb):
    try:
        with small_disk(tmp_path / "disk") as disk, databases.new(disk) as url:
            outcome = run(disk, url, mark_mb)
    except PermissionError as error:
        absent(f"a small file system cannot be mounted here: {error}")
    assert outcome.is_well, outcome
