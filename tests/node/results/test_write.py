"""Writing is repeatable to the byte, and refuses what it cannot do."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pydicom
import pytest

from node.results import ResultFile, UnusableSourceError, write
from storage.contents import Content
from tests.node.results.phantoms import WHEN, Case


def test_writing_twice_gives_the_same_bytes(results: dict[str, ResultFile], case: Case, out: Path) -> None:
    time.sleep(1.01)  # the clock has moved on
    again = case.write(out)
    assert again.keys() == results.keys()
    for name, file in again.items():
        assert file.path.read_bytes() == results[name].path.read_bytes(), name


def test_files_in_another_order_give_the_same_bytes(
    results: dict[str, ResultFile], case: Case, out: Path
) -> None:
    again = replace(case, paths=case.paths[::-1]).write(out)
    for name, file in again.items():
        assert file.path.read_bytes() == results[name].path.read_bytes(), name


def test_another_identity_gives_only_new_uids(results: dict[str, ResultFile], case: Case, out: Path) -> None:
    other = case.write(out, identity="e" * 64)
    before = {file.sop_instance_uid for file in results.values()}
    assert before.isdisjoint(file.sop_instance_uid for file in other.values())


def test_objects_that_refer_to_others_have_their_own_uids(
    results: dict[str, ResultFile], case: Case, out: Path
) -> None:
    """A report that names a segmentation is not the report that names none."""
    alone = case.write(out, "sr")
    assert alone["sr-outlines"].sop_instance_uid != results["sr-outlines"].sop_instance_uid


def test_what_is_said_of_a_file_is_what_is_in_it(results: dict[str, ResultFile]) -> None:
    for file in results.values():
        header = pydicom.dcmread(file.path, stop_before_pixels=True)
        assert (header.SOPClassUID, header.SOPInstanceUID) == (file.sop_class, file.sop_instance_uid)


def test_a_file_bears_the_name_of_what_it_holds(results: dict[str, ResultFile]) -> None:
    """A page tells objects apart by it, in the words of the series that a PACS shows."""
    for file in results.values():
        content = Content.of(f"results/1/{file.path.parent.name}/{file.path.name}").words
        described = pydicom.dcmread(file.path, stop_before_pixels=True).SeriesDescription
        assert re.sub(r" \d+$", "", content) == described.removeprefix("AI ").partition(",")[0]


def test_objects_are_dated_with_the_job(results: dict[str, ResultFile]) -> None:
    for file in results.values():
        header = pydicom.dcmread(file.path, stop_before_pixels=True)
        for keyword in ("InstanceCreation", "Series", "Content"):
            assert header[f"{keyword}Date"].value == "20240115", (file.path.name, keyword)
            assert header[f"{keyword}Time"].value == "123000", (file.path.name, keyword)


def test_a_later_moment_is_written_as_such(case: Case, out: Path) -> None:
    file = case.write(out, "sr", when=WHEN + timedelta(days=1))["sr-outlines"]
    assert pydicom.dcmread(file.path).ContentDate == "20240116"


def test_only_the_kinds_asked_for_are_written(case: Case, out: Path) -> None:
    assert {file.kind for file in case.write(out, "seg").values()} == {"seg"}


def test_an_unknown_kind_is_refused_by_name(case: Case, out: Path) -> None:
    with pytest.raises(ValueError, match="'pdf'"):
        case.write(out, "pdf")


def test_a_finding_that_was_never_linked_is_refused(case: Case, out: Path) -> None:
    loose = replace(case.reading.findings[0], tracking_uid="")
    with pytest.raises(ValueError, match="no tracking UID"):
        case.with_findings(loose).write(out)


def test_missing_source_files_are_counted(case: Case, out: Path) -> None:
    with pytest.raises(UnusableSourceError, match="15 of 16 images"):
        write(
            case.reading,
            case.volume,
            case.paths[:1],
            out,
            kinds=["seg"],
            when=WHEN,
            identity=case.identity,
        )


def test_nothing_but_result_files_is_left_behind(results: dict[str, ResultFile]) -> None:
    folder = results["sr-outlines"].path.parent
    assert sorted(folder.iterdir()) == sorted(file.path for file in results.values())
