"""A prior that cannot be read costs itself, and not the comparison with the others, nor the results."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from sqlalchemy import select

from inference.dates import as_day
from inference.findings import Change
from node import steps
from node.priors.find import PriorSeries
from node.reading import _read_priors
from node.reading_room import ReadingRoom
from node.steps.job import Job
from node.steps.pictures import beside_priors, evidence_of
from node.workflow import plain_step
from storage.database import Database
from storage.tables import Event
from tests.node.results.phantoms import phantom
from tests.node.steps.bright_spots import room_in, take_in
from tests.node.steps.test_withheld import withhold
from training.phantoms.dicom import Study

OLDEST, NEWER, CURRENT = "20230101", "20240101", "20250101"


@dataclass(frozen=True)
class Visit:
    """A study about to be read, and its two priors, in folders named by their dates."""

    room: ReadingRoom
    job: Job
    assignment: dict[str, Any]
    folder: Path

    def files(self, date: str) -> list[Path]:
        return sorted((self.folder / date).glob("*.dcm"))

    def withhold(self, image: Path, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
        """Have the disk answer with an error; under another date, since headers that were read are kept."""
        os.utime(image, (0, 0))
        withhold(image, code, monkeypatch)

    def left_out(self, date: str) -> list[str]:
        """The level of each line of the timeline that says that the prior of a date is not compared with."""
        said = Event.text.startswith(f"not compared with the study of {as_day(date)}: ")
        with self.room.database.snapshot() as session:
            return list(session.scalars(select(Event.level).where(said)))


@pytest.fixture
def visit(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Visit:
    for date in (OLDEST, NEWER, CURRENT):
        phantom(tmp_path / date, lesions=1, study=Study(date=date, accession_number=date))
    room = room_in(tmp_path, database, monkeypatch, priors=(tmp_path / OLDEST, tmp_path / NEWER))
    job = Job(take_in(room, tmp_path / CURRENT), 1)
    (assignment,) = steps.select_series(room, job)
    return Visit(room, job, assignment, tmp_path)


def test_a_prior_with_a_file_that_the_disk_does_not_give_out_costs_no_other(
    visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    visit.withhold(visit.files(NEWER)[3], errno.EIO, monkeypatch)
    found = steps.find_priors(visit.room, visit.job, visit.assignment)
    assert [prior["date"] for prior in found] == [OLDEST]
    assert visit.left_out(NEWER) == ["error"]


def test_a_search_that_meets_too_many_open_files_is_begun_again(
    visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    visit.withhold(visit.files(NEWER)[3], errno.EMFILE, monkeypatch)
    with pytest.raises(OSError, match="Too many open files"):
        steps.find_priors(visit.room, visit.job, visit.assignment)
    assert visit.left_out(NEWER) == []


def test_a_prior_that_was_cut_off_since_it_was_read_is_left_out_of_the_comparison(visit: Visit) -> None:
    found = _read_priors(visit.room, plain_step, visit.job, visit.assignment)
    steps.infer(visit.room, visit.job, visit.assignment)
    image = visit.files(NEWER)[0]
    image.write_bytes(image.read_bytes()[:-1000])
    visit.room.forget_volumes()
    identity = steps.compare_with_priors(visit.room, visit.job, visit.assignment, found)
    assert visit.left_out(NEWER) == ["warning"]
    assert identity != visit.assignment["identity"]
    assert identity == steps.compare_with_priors(visit.room, visit.job, visit.assignment, found[1:])


def test_a_priors_image_that_the_disk_does_not_give_out_is_left_out_of_the_results(
    visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    (newer, _) = steps.find_priors(visit.room, visit.job, visit.assignment)
    prior = PriorSeries(**newer)
    images = [str(dcmread(path).SOPInstanceUID) for path in visit.files(NEWER)[:2]]
    case = phantom(visit.folder / "again", lesions=2)
    change = Change(prior.study_uid, NEWER, 366, "stable", 0.0, None, False, 0.9)
    findings = tuple(
        finding.tracked_as(finding.tracking_uid, replace(change, prior_image_uid=image))
        for finding, image in zip(case.reading.findings, images, strict=True)
    )
    compared = replace(case.reading, findings=findings)
    visit.withhold(visit.files(NEWER)[0], errno.EIO, monkeypatch)
    assert evidence_of(visit.room, visit.job, compared, [prior]).uids == images[1:]
    shown = beside_priors(visit.room, visit.job, compared, case.volume, [prior], "ab" * 32)
    assert not shown.pictures  # what was read of the prior is not kept
    with visit.room.database.snapshot() as session:
        told = session.scalars(select(Event.text).where(Event.stage == "compare", Event.level == "error"))
        assert [text.split(":")[0] for text in told] == [
            "the results name no image of a prior that they rest on",
            f"the results show nothing of the study of {as_day(NEWER)}",
        ]
