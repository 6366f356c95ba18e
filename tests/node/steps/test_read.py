"""A study is read again: lesions keep their tracking UIDs, and nothing provisional outlives a crash."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from sqlalchemy import Select, select

from inference.findings import Reading
from inference.growth.changes import Prior
from inference.growth.compare import Comparison, compare
from inference.growth.frames import FramesAligned
from node.intake.files import received_file
from node.priors.find import find_priors
from node.settings import Settings
from node.settings.results import ResultsSettings
from node.steps import compare as compare_step
from node.steps import read as step
from node.steps.job import kept_frames, prior_files, seen_again_in
from storage.database import Database, now
from storage.dossier import study_dossier
from storage.intake import record
from storage.priors import images_of
from storage.readings import readings_of
from storage.tables import Event
from tests.node.results.phantoms import phantom
from tests.node.steps.bright_spots import READER, once_more, read, room_in, take_in, tracking_uids
from training.phantoms.dicom import Study

SHAPE = (24, 40, 48)


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    """24 slices through two lesions."""
    return sorted(phantom(tmp_path / "series", shape=SHAPE).paths)


def given(folder: Path, images: list[Path]) -> Path:
    folder.mkdir()
    for image in images:
        shutil.copy(image, folder)
    return folder


def outermost(images: list[Path]) -> Path:
    return max(images, key=lambda path: dcmread(path).ImagePositionPatient[2])


def test_late_images_leave_lesions_their_tracking_uids(
    images: list[Path], database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = outermost(images)
    room = room_in(tmp_path, database, monkeypatch)
    study = take_in(room, given(tmp_path / "first", [path for path in images if path != late]))
    first = read(room, study, 1)
    assert take_in(room, given(tmp_path / "late", [late])) == study
    second = read(room, study, 2)
    assert second.identity != first.identity
    assert len(tracking_uids(first)) == 2
    assert tracking_uids(second) == tracking_uids(first)


def test_a_first_ct_is_assessed_by_what_is_seen_on_it(
    images: list[Path], database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = room_in(tmp_path, database, monkeypatch)
    first = read(room, take_in(room, given(tmp_path / "first", images)), 1).body
    told = [
        {each["guideline"]: each["result"] for each in found["assessments"]} for found in first["findings"]
    ]
    assert [each["Lung-RADS 2022"] for each in told] == ["4A", "4A"]
    assert all(each.keys() == {"Fleischner 2017", "Lung-RADS 2022", "BTS 2015", "NELSON"} for each in told)
    assert [(each["guideline"], each["result"]) for each in first["assessments"]] == [
        ("Lung-RADS 2022", "4A")
    ]


def test_a_study_of_which_a_part_was_not_read_is_incomplete_wherever_it_is_told(
    images: list[Path], database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    along = sorted(images, key=lambda path: float(dcmread(path).ImagePositionPatient[2]))
    gapped = [*along[:19], along[23]]  # a gap of four, wider than what is interpolated
    room = room_in(tmp_path, database, monkeypatch)
    study = take_in(room, given(tmp_path / "gapped", gapped))
    made = read(room, study, 1)
    (caveat,) = made.body["caveats"]
    assert (caveat["kind"], caveat["images"]) == ("unread", 1)
    assert [each["result"] for each in made.body["assessments"]] != ["1"]
    with database.snapshot() as session:
        dossier = study_dossier(session, study)
    assert dossier is not None
    (reading,) = dossier.revisions[0].readings
    assert reading.is_incomplete
    told = [event.text for event in dossier.revisions[0].events if event.level == "warning"]
    assert caveat["statement"] in told
    (report,) = (room.archive.path(o.path) for o in made.objects if o.path.endswith("/sr.dcm"))
    assert dcmread(report).CompletionFlag == "PARTIAL"


def test_results_tell_what_the_guidelines_of_the_settings_make_of_nodules_and_are_others_for_it(
    images: list[Path], database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = room_in(tmp_path, database, monkeypatch)
    study = take_in(room, given(tmp_path / "first", images))
    by_all = read(room, study, 1)
    incidental = replace(room, settings=Settings(results=ResultsSettings(guidelines=("fleischner",))))
    once_more(room, study)
    told = read(incidental, study, 2)
    (finding, _) = told.body["findings"]
    assert [each["guideline"] for each in finding["assessments"]] == ["Fleischner 2017"]
    assert told.body["assessments"] == []
    assert told.identity == by_all.identity
    assert not {each.uid for each in told.objects} & {each.uid for each in by_all.objects}


def test_a_reading_cut_short_before_its_lesions_are_known_is_not_taken_for_a_finished_one(
    images: list[Path], database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = outermost(images)
    room = room_in(tmp_path, database, monkeypatch)
    study = take_in(room, given(tmp_path / "first", [path for path in images if path != late]))
    first = read(room, study, 1)
    take_in(room, given(tmp_path / "late", [late]))
    with monkeypatch.context() as crashing:
        crashing.setattr(step, "_known", _power_cut)
        with pytest.raises(KeyboardInterrupt):
            read(room, study, 2)
    assert tracking_uids(read(room, study, 2)) == tracking_uids(first)


def test_a_prior_cut_short_before_it_is_compared_takes_over_the_older_tracking_uids_when_resumed(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dates = ("20230101", "20240101", "20250101")
    folders = [tmp_path / date for date in dates]
    for folder, date in zip(folders, dates, strict=True):
        phantom(folder, shape=SHAPE, study=Study(date=date, accession_number=date))
    oldest, newer, current = folders
    room = room_in(tmp_path, database, monkeypatch, priors=(oldest, newer))
    study = take_in(room, current)
    with monkeypatch.context() as crashing:
        crashing.setattr(compare_step, "compare", _power_cut)
        with pytest.raises(KeyboardInterrupt):
            read(room, study, 1)
    compared: list[str] = []

    def watched(reading: Reading, *rest: Any, date: str = "") -> Comparison:
        compared.append(date)
        return compare(reading, *rest, date=date)

    monkeypatch.setattr(compare_step, "compare", watched)
    read(room, study, 1)
    assert compared == [*dates[1:]]


def test_a_prior_compared_for_a_later_study_has_what_its_own_comparison_needs(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = FramesAligned("1.2", "1.3", np.eye(4), np.zeros((1, 1, 1, 3), np.float32), np.eye(4))

    def aligned(reading: Reading, _: object, priors: Sequence[Prior], *__: Any, date: str) -> Comparison:
        return Comparison(reading, seen_again={priors[0].study_uid: reading.findings}, frames=frames)

    monkeypatch.setattr(compare_step, "compare", aligned)
    dates = ("20230101", "20240101", "20250101")
    for date in dates:
        phantom(tmp_path / date, lesions=1, study=Study(date=date, accession_number=date))
    room = room_in(tmp_path, database, monkeypatch, priors=(tmp_path / dates[0], tmp_path / dates[1]))
    oldest, newer = room.named_priors or ()
    current = take_in(room, tmp_path / dates[2])
    read(room, current, 1)
    read(replace(room, named_priors=(oldest,)), newer, 1)
    with database.snapshot() as session:
        (of_newer,) = readings_of(session, newer, 1)
        said = [session.scalar(_said_by_comparing(study)) for study in (current, newer)]
    assert kept_frames(room, of_newer.identity) is not None
    assert len(seen_again_in(room, of_newer.identity, oldest)) == 1
    assert said[0]
    assert said[1] == said[0]


def test_late_images_of_a_prior_that_are_not_read_yet_are_not_laid_under_its_masks(
    images: list[Path], database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = outermost(images)
    room = room_in(tmp_path, database, monkeypatch)
    prior = take_in(room, given(tmp_path / "first", [path for path in images if path != late]))
    read(room, prior, 1)
    phantom(tmp_path / "current", study=Study(date="20250101", accession_number="2"))
    current = take_in(room, tmp_path / "current")
    with database.session() as session:
        (series_uid,) = images_of(session, current)
        record(session, [received_file(late, now())])
    (found,) = find_priors(replace(room, named_priors=(prior,)), current, READER, series_uid).found
    assert set(prior_files(room, found)) == set((tmp_path / "first").iterdir())
    assert len(prior_files(room, replace(found, revision=0))) == len(images)


def _said_by_comparing(study: str) -> Select[str]:
    return select(Event.text).where(Event.study_uid == study, Event.stage == "compare")


def _power_cut(*_: object, **__: object) -> None:
    raise KeyboardInterrupt
