"""No validator sees an error in any result of any reader."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance import RESULT_CLASSES
from tests.validators.matrix import PIXELMED, judged


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.needs(
    "dciodvfy",
    "dcm2json",
    "dsrdump",
    "dcmpschk",
    "segimage2itkimage",
    "tid1500reader",
    "java",
    "jpype",
    "pixelmed",
)
def test_no_validator_sees_an_error_in_any_result_of_any_reader(tmp_path: Path) -> None:
    """``python -m tests.validators`` prints the same as a table."""
    matrix = judged(tmp_path)
    assert matrix.errors == ()
    assert matrix.sop_classes <= {uid for uids in RESULT_CLASSES.values() for uid in uids}
    readers = {reader.split(",")[0] for reader, _ in matrix.rows}
    assert readers == {"lung-nodules", "ct-lesions", "pet-ct", "chest-xray", "polyps"}
    assert all(row.get(PIXELMED) == "0" for (_, name), row in matrix.rows.items() if name.startswith("sr"))
