"""Results fetched back are whole, or not there."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from pydicom import dcmread

from node.peers.archive import FetchedObject
from node.priors.own_results import _into, kept_results

REPORT = FetchedObject("1.2.840.10008.5.1.4.1.1.88.34", "1.2.3", "1.2.840.10008.1.2", b"")


def test_a_result_that_was_fetched_is_a_file_of_its_own(tmp_path: Path) -> None:
    take = _into(tmp_path / "known")
    assert take(REPORT) == take(REPORT) == 0x0000
    (kept,) = kept_results(tmp_path / "known")
    assert dcmread(kept).file_meta.MediaStorageSOPInstanceUID == "1.2.3"


def test_a_disk_that_is_full_leaves_no_half_of_a_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_all = Path.write_bytes

    def write_half(path: Path, data: bytes) -> int:
        write_all(path, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", write_half)
    assert _into(tmp_path / "known")(REPORT) == 0xA700
    assert kept_results(tmp_path / "known") == []
