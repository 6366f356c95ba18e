"""What is remembered of one study."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage.database import Database
from storage.dossier import Dossier, key_image_path, reading_bodies, study_dossier
from storage.events import log_event
from storage.readings import repeat_reading, stored
from tests.node.web import rows


def dossier(database: Database, uid: str) -> Dossier:
    with database.snapshot() as session:
        found = study_dossier(session, uid)
    assert found is not None
    return found


def test_a_study_that_never_came_in_has_no_dossier(database: Database) -> None:
    with database.snapshot() as session:
        assert study_dossier(session, "1.2.3") is None
        assert reading_bodies(session, "1.2.3") is None
        assert reading_bodies(session, "1.2.3", 1) is None


def test_each_series_says_whether_it_was_read_and_why(database: Database, tmp_path: Path) -> None:
    with database.session() as session:
        study = rows.add_study(session, images=12)
        rows.read_and_deliver(session, study, tmp_path)
    scout, thin = dossier(database, study.uid).series
    assert [c.reader for c in thin.choices] == ["lung-nodules"]
    assert [(c.read, c.reason) for c in scout.choices] == [(False, "a localizer")]
    assert [(c.read, c.reason) for c in thin.choices] == [(True, "the thinnest axial original")]
    assert (scout.image_count, thin.image_count, thin.bytes) == (1, 11, 11 * 525_000)


def test_a_series_that_was_read_says_so_even_without_a_line_in_the_timeline(
    database: Database, tmp_path: Path
) -> None:
    with database.session() as session:
        study = rows.add_study(session)
        rows.add_reading(session, study, rows.close(session, study), tmp_path)
    scout, thin = dossier(database, study.uid).series
    assert scout.choices == ()
    assert [(c.reader, c.read) for c in thin.choices] == [("lung-nodules", True)]


def test_findings_carry_their_measures_and_their_change(database: Database, tmp_path: Path) -> None:
    with database.session() as session:
        study = rows.add_study(session)
        rows.read_and_deliver(session, study, tmp_path, findings=2)
    (revision,) = dossier(database, study.uid).revisions
    first, second = revision.readings[0].findings
    assert (first.long_axis_mm, first.volume_mm3, first.mean_hu) == pytest.approx((13.1, 1240.0, 38.0))
    assert first.change is not None
    assert first.change["category"] == "increased"
    assert second.change is None


def test_a_class_of_an_earlier_version_says_what_follows_from_its_operating_points(
    database: Database, tmp_path: Path
) -> None:
    normal = {
        "label": "Normal",
        "code": {"scheme": "SCT", "value": "17621005", "meaning": "Normal"},
        "probability": 0.92,
        "present_from": None,
        "absent_below": None,
        "presence": "undetermined",
    }
    edema = {**normal, "label": "Edema", "present_from": 0.5, "presence": "present"}
    with database.session() as session:
        study = rows.add_study(session)
        rows.add_reading(session, study, rows.close(session, study), tmp_path, 0, classes=[normal, edema])
    (revision,) = dossier(database, study.uid).revisions
    shown = revision.readings[0].classes
    assert shown[0]["caveat"].startswith("Normal is a probability alone")
    assert shown[1]["caveat"] == ""


def test_events_stand_with_the_revision_they_belong_to(database: Database, tmp_path: Path) -> None:
    with database.session() as session:
        study = rows.add_study(session)
        rows.fail(session, study, "infer", "The lamp was out.")
        rows.read_and_deliver(session, study, tmp_path)
        log_event(session, "node", "of another study", study_uid="1.2.3")
    shown = dossier(database, study.uid)
    assert [revision.number for revision in shown.revisions] == [2, 1]
    assert [event.text for event in shown.revisions[1].events] == ["The lamp was out."]
    assert [event.text for event in shown.events] == ["Receiving from CT1."]


def test_only_a_waiting_delivery_has_a_next_try(database: Database, tmp_path: Path) -> None:
    with database.session() as session:
        study = rows.add_study(session)
        revision = rows.close(session, study)
        posted = rows.post(session, revision, rows.add_reading(session, study, revision, tmp_path))
        posted[0].state = "sent"
    (shown,) = dossier(database, study.uid).revisions
    assert [(d.state, d.next_at is None) for d in shown.deliveries] == [("sent", True), ("waiting", False)]


def test_a_revision_shows_the_deliveries_of_objects_that_an_earlier_one_posted(
    database: Database, tmp_path: Path
) -> None:
    with database.session() as session:
        study = rows.add_study(session)
        first = rows.close(session, study)
        reading = rows.add_reading(session, study, first, tmp_path, roles=("seg", "sr"))
        rows.post(session, first, reading)
        second = rows.close(session, study)
        repeat_reading(session, study.uid, second.number, stored(reading))
    later, earlier = dossier(database, study.uid).revisions
    assert [(d.kind, d.state) for d in later.deliveries] == [("seg", "waiting"), ("sr", "waiting")]
    assert later.deliveries == earlier.deliveries


def test_objects_of_one_kind_are_told_apart_by_what_they_hold(database: Database, tmp_path: Path) -> None:
    with database.session() as session:
        study = rows.add_study(session)
        revision = rows.close(session, study)
        reading = rows.add_reading(session, study, revision, tmp_path, roles=("sr", "sr-changes"))
        rows.post(session, revision, reading)
    (shown,) = dossier(database, study.uid).revisions
    assert [(made.kind, made.content) for made in shown.readings[0].objects] == [
        ("sr", "measurements"),
        ("sr", "changes"),
    ]
    assert [(d.kind, d.content, d.reader) for d in shown.deliveries] == [
        ("sr", "measurements", "lung-nodules"),
        ("sr", "changes", "lung-nodules"),
    ]


def test_the_readings_are_those_of_the_newest_revision(database: Database, tmp_path: Path) -> None:
    with database.session() as session:
        study = rows.add_study(session)
        rows.read_and_deliver(session, study, tmp_path, findings=1)
        rows.read_and_deliver(session, study, tmp_path, findings=2)
    with database.snapshot() as session:
        bodies = reading_bodies(session, study.uid)
    assert bodies is not None
    assert [len(body["findings"]) for body in bodies] == [2]


def test_the_readings_of_an_earlier_revision_are_there_and_none_of_one_that_never_was(
    database: Database, tmp_path: Path
) -> None:
    with database.session() as session:
        study = rows.add_study(session)
        assert reading_bodies(session, study.uid) == []
        rows.read_and_deliver(session, study, tmp_path, findings=1)
        rows.fail(session, study, "infer", "The lamp was out.")
    with database.snapshot() as session:
        first = reading_bodies(session, study.uid, 1)
        assert first is not None
        assert [len(body["findings"]) for body in first] == [1]
        assert reading_bodies(session, study.uid, 2) == reading_bodies(session, study.uid) == []
        with pytest.raises(LookupError, match=r"has no revision 3; its newest is 2\."):
            reading_bodies(session, study.uid, 3)


def test_a_key_image_is_found_only_through_its_own_study(database: Database, tmp_path: Path) -> None:
    with database.session() as session:
        study, other = rows.add_study(session), rows.add_study(session)
        rows.read_and_deliver(session, study, tmp_path, findings=1)
    finding = dossier(database, study.uid).revisions[0].readings[0].findings[0]
    with database.snapshot() as session:
        assert key_image_path(session, study.uid, finding.id) == f"results/{study.uid}/finding-1.png"
        assert key_image_path(session, other.uid, finding.id) is None
