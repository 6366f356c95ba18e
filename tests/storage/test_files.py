"""What is for good is told from what may pass, or a result would be lost, or be tried for ever."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from storage.archive import Archive
from storage.files import is_of_file, may_be_of_one_file


def met(path: Path) -> OSError:
    with pytest.raises(OSError) as caught:
        path.read_bytes()
    return caught.value


def answered(code: int) -> OSError:
    return OSError(code, os.strerror(code))


def test_a_file_that_is_gone_is_gone_for_good_with_its_folder_too(tmp_path: Path) -> None:
    gone = Archive(tmp_path / "data").results / "ab" / "cd" / "1.2" / "1" / "sr.dcm"
    assert is_of_file(gone, met(gone))
    gone.parent.mkdir(parents=True)
    assert is_of_file(gone, met(gone))


@pytest.mark.parametrize("is_empty", [True, False])
def test_a_root_that_is_not_mounted_may_come_back(is_empty: bool, tmp_path: Path) -> None:
    if is_empty:
        (tmp_path / "data").mkdir()
    away = tmp_path / "data" / "results" / "ab" / "cd" / "1.2" / "1" / "sr.dcm"
    assert not is_of_file(away, met(away))


def test_outside_an_archive_the_files_own_folder_tells(tmp_path: Path) -> None:
    here, away = tmp_path / "1.dcm", tmp_path / "disc" / "1.dcm"
    assert is_of_file(here, met(here)) and not is_of_file(away, met(away))


def test_what_is_no_file_or_makes_no_sense_is_for_good(tmp_path: Path) -> None:
    file = tmp_path / "1.dcm"
    file.touch()
    assert is_of_file(tmp_path, met(tmp_path))
    assert is_of_file(file / "2.dcm", met(file / "2.dcm"))
    with file.open("rb", buffering=0) as opened, pytest.raises(OSError) as caught:
        opened.seek(-3)
    assert caught.value.errno == errno.EINVAL and is_of_file(file, caught.value)
    assert is_of_file(file, ValueError("no such element"))
    assert is_of_file(file, OSError("not DICOM"))


@pytest.mark.parametrize("name", ["EIO", "ESTALE", "EACCES", "EMFILE", "ENFILE", "ENOMEM", "ETIMEDOUT"])
def test_a_machine_in_trouble_says_nothing_of_the_file(name: str, tmp_path: Path) -> None:
    error = answered(getattr(errno, name))
    assert not is_of_file(tmp_path / "1.dcm", error)
    assert may_be_of_one_file(error) == (name in ("EIO", "EACCES"))
