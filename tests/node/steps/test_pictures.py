"""What a comparison looks like."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from inference.findings import Change
from node.priors.find import PriorSeries
from node.steps.job import Job, keep_reading
from node.steps.pictures import beside_priors
from storage.database import Database
from tests.node.results.phantoms import phantom
from tests.node.steps.bright_spots import room_in
from training.phantoms.dicom import Study


def test_a_lesion_that_only_a_second_look_found_in_the_prior_is_shown_beside_it(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prior = phantom(tmp_path / "2024", lesions=1, study=Study(date="20240101", accession_number="1"))
    current = phantom(tmp_path / "2025", lesions=1, study=Study(date="20250101", accession_number="2"))
    (before,), (now,) = prior.reading.findings, current.reading.findings
    before = before.tracked_as(now.tracking_uid)
    room = room_in(tmp_path, database, monkeypatch, priors=(tmp_path / "2024",))
    (study_uid,) = room.named_priors or ()
    keep_reading(room, replace(prior.reading, findings=()), "a" * 64)
    change = Change(study_uid, "20240101", 366, "stable", 0.0, None, False, 0.9)
    change = replace(change, prior_image_uid=before.image_uid)
    compared = replace(current.reading, findings=(now.tracked_as(now.tracking_uid, change),))
    keep_reading(room, compared, "b" * 64, seen_again={study_uid: (before,)})
    series = PriorSeries(study_uid, "20240101", prior.reading.series_uid, "a" * 64)
    shown = beside_priors(room, Job("1.2", 1), compared, current.volume, [series], "b" * 64)
    assert set(shown.pictures) == set(shown.prior_images) == {now.tracking_uid}


def test_the_course_is_drawn_without_a_prior_that_cuts_the_lesion(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prior = phantom(tmp_path / "2023", lesions=1, study=Study(date="20230101", accession_number="1"))
    current = phantom(tmp_path / "2025", lesions=1, study=Study(date="20250101", accession_number="2"))
    (before,), (now,) = prior.reading.findings, current.reading.findings
    before = before.tracked_as(now.tracking_uid)
    room = room_in(tmp_path, database, monkeypatch, priors=(tmp_path / "2023",))
    (study_uid,) = room.named_priors or ()
    keep_reading(room, prior.with_findings(before).reading, "a" * 64)
    part = replace(before, volume_mm3=before.volume_mm3 / 3)
    keep_reading(room, prior.with_findings(replace(part, cut=True)).reading, "c" * 64)
    keep_reading(room, prior.with_findings(part).reading, "d" * 64)
    change = Change(study_uid, "20230101", 731, "stable", 0.0, None, False, 0.9)
    change = replace(change, prior_image_uid=before.image_uid)
    compared = replace(current.reading, findings=(now.tracked_as(now.tracking_uid, change),))
    whole = PriorSeries(study_uid, "20230101", prior.reading.series_uid, "a" * 64)

    def drawn(*newer: str) -> bytes:
        found = [*(PriorSeries("1.9", "20240101", "1.9.1", identity) for identity in newer), whole]
        shown = beside_priors(room, Job("1.2", 1), compared, current.volume, found, "b" * 64)
        return shown.pictures[now.tracking_uid].tobytes()

    assert drawn("c" * 64) == drawn() != drawn("d" * 64)
