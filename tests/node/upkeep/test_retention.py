"""The disk is kept as free as it should be, by what is delivered, and never by what is not."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from node.settings.upkeep import RetentionSettings
from node.upkeep.retention import Retention, check_set_aside
from node.upkeep.steady import SteadyClock
from storage.archive import Archive
from storage.database import Database, now
from storage.retention import IMAGES_AT_ONCE
from storage.tables import Event, Instance, Series, Study
from tests.node.web import rows

MARK_MB = 100


class SmallDisk(Archive):
    """Of which as much is free as is not taken by images, 60 MB each, and by what was refused."""

    def free_bytes(self) -> int:
        refused = sum(path.stat().st_size for path in self.quarantine.rglob("*.dcm")) >> 20
        return (190 - 60 * len(list(self.images.rglob("*.dcm"))) - refused) << 20


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return SmallDisk(tmp_path / "data", durable=False)


def study(database: Database, archive: Archive, days: int, *, delivered: bool = True) -> str:
    """A study of one image, as many days old."""
    with database.session() as session:
        made = rows.add_study(session, images=2)
        if delivered:
            rows.read_and_deliver(session, made, archive.root)
        made.last_image_at = now() - timedelta(days=days)
        made.is_open = not delivered
        images = session.scalars(select(Instance).join(Series).where(Series.study_pk == made.id)).all()
        for image in images[1:]:
            session.delete(image)
        images[0].path = archive.image_path(made.uid, images[0].uid)
        path = archive.path(images[0].path)
        path.parent.mkdir(parents=True)
        path.write_bytes(b"pixels")
        return made.uid


def with_images(database: Database) -> set[str]:
    with database.snapshot() as session:
        return set(session.scalars(select(Study.uid).where(Study.images_deleted_at.is_(None))))


def forget_nothing(_before: datetime) -> int:
    return 0


def test_ids_are_named_as_one_persons_only_where_they_are(archive: Archive) -> None:
    place = archive.set_aside / "2026-01-01" / "1.dcm"
    place.parent.mkdir()
    place.write_bytes(b"pixels")
    hint = check_set_aside(archive).hint
    assert "name both IDs in priors.merged only if they are one person's" in hint
    assert "have a study that was sent under somebody else's ID sent again, with new UIDs" in hint


def test_images_go_after_their_days(database: Database, archive: Archive) -> None:
    old, young = study(database, archive, 40), study(database, archive, 20)
    open_ = study(database, archive, 50, delivered=False)
    Retention(RetentionSettings(), database, archive, forget_nothing).delete_what_is_old()
    assert with_images(database) == {old, young, open_}
    Retention(RetentionSettings(images_days=30), database, archive, forget_nothing).delete_what_is_old()
    assert with_images(database) == {young, open_}
    assert len(list(archive.images.rglob("*.dcm"))) == 2


def test_a_clock_that_leaps_forwards_deletes_nothing_and_is_told_of(
    database: Database, archive: Archive
) -> None:
    fresh, leap = study(database, archive, 0), timedelta()
    steady = SteadyClock(lambda: now() + leap)
    asked: list[datetime] = []
    rules = RetentionSettings(images_days=30, images_below_free_mb=MARK_MB, quarantine_days=1)
    retention = Retention(rules, database, archive, forget_nothing, [asked.append], clock=steady)
    refused = archive.quarantine / "2026-01-01" / "1.dcm"
    refused.parent.mkdir()
    refused.write_bytes(b"refused")
    leap = timedelta(days=40)
    retention.prune_quarantine()
    retention.make_room()
    retention.delete_what_is_old()
    assert with_images(database) == {fresh}
    assert refused.exists()
    assert asked[0] < now() + timedelta(hours=1)
    assert "has leapt 960 hours forwards" in retention.probe().detail
    leap = timedelta()
    assert "leapt" not in retention.probe().detail


def test_a_machine_that_started_years_back_makes_room_once_its_clock_is_right(
    database: Database, archive: Archive
) -> None:
    _old, fresh = study(database, archive, 3), study(database, archive, 0)
    behind = timedelta(days=9497)
    steady = SteadyClock(lambda: now() - behind)
    rules = RetentionSettings(images_days=1, images_below_free_mb=MARK_MB)
    retention = Retention(rules, database, archive, forget_nothing, clock=steady)
    behind = timedelta()
    retention.delete_what_is_old()
    assert len(with_images(database)) == 2
    retention.make_room()
    assert with_images(database) == {fresh}


def test_at_the_mark_the_oldest_go_and_no_more_than_needed(database: Database, archive: Archive) -> None:
    _oldest, older = study(database, archive, 3), study(database, archive, 2)
    new = study(database, archive, 1, delivered=False)
    retention = Retention(RetentionSettings(images_below_free_mb=60), database, archive, forget_nothing)
    retention.make_room()
    assert with_images(database) == {older, new}
    assert retention.probe().ok
    assert retention.probe().detail.endswith("since the start: 1")


def test_what_came_just_now_is_not_deleted_to_make_room(database: Database, archive: Archive) -> None:
    kept = {study(database, archive, 0), study(database, archive, 0)}
    retention = Retention(RetentionSettings(images_below_free_mb=MARK_MB), database, archive, forget_nothing)
    retention.make_room()
    assert with_images(database) == kept
    assert "came within 24 hours" in retention.probe().detail
    anything = RetentionSettings(images_below_free_mb=MARK_MB, images_at_least_hours=0)
    Retention(anything, database, archive, forget_nothing).make_room()
    assert len(with_images(database)) == 1


def hold(path: Path) -> None:
    """From now on it cannot be unlinked."""
    path.unlink()
    path.mkdir()


def images_of(archive: Archive, uid: str) -> list[Path]:
    return sorted(archive.path(archive.image_path(uid, "1")).parent.iterdir())


@pytest.mark.parametrize(
    "rules", [{"images_days": 1}, {"images_below_free_mb": 140, "images_at_least_hours": 0}]
)
def test_images_that_cannot_be_deleted_keep_no_others_here_and_are_a_problem(
    database: Database, archive: Archive, rules: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.upkeep.retention.STUDIES_AT_ONCE", 2)
    held = {study(database, archive, days) for days in (5, 4, 3)}
    for uid in held:
        hold(images_of(archive, uid)[0])
    other = study(database, archive, 2)
    retention = Retention(RetentionSettings.model_validate(rules), database, archive, forget_nothing)
    with pytest.raises(IsADirectoryError):
        retention.look()
    assert with_images(database) == held != {other}


def test_of_a_study_that_is_deleted_in_part_no_row_says_that_a_file_is_there_that_is_gone(
    database: Database, archive: Archive
) -> None:
    uid = study(database, archive, 3)
    with database.session() as session:
        first = session.scalars(select(Instance)).one()
        folder = archive.path(first.path).parent
        names = [f"{first.uid}.{number}" for number in (1, 2)]
        for name in names:
            image = {"sop_class": "1.2", "transfer_syntax": "1.2", "size": 6, "received_at": now()}
            path = archive.image_path(uid, name)
            session.add(Instance(series_pk=first.series_pk, uid=name, path=path, **image))
            (folder / f"{name}.dcm").write_bytes(b"pixels")
    held = folder / f"{names[0]}.dcm"
    hold(held)
    retention = Retention(RetentionSettings(images_days=1), database, archive, forget_nothing)
    for _ in range(2):
        with pytest.raises(IsADirectoryError):
            retention.delete_what_is_old()
        assert list(folder.iterdir()) == [held]
        with database.snapshot() as session:
            assert session.scalars(select(Instance.uid)).all() == [names[0]]
            [told] = session.scalars(select(Event.text).where(Event.text.contains("were deleted")))
        assert told.startswith("Its 2 images")
    assert with_images(database) == set()
    held.rmdir()
    retention.delete_what_is_old()
    with database.snapshot() as session:
        assert session.scalars(select(Instance)).all() == []


def test_no_more_images_are_deleted_than_others_can_wait_for_before_it_is_their_turn(
    database: Database, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    uid = study(database, archive, 3)
    with database.session() as session:
        first = session.scalars(select(Instance)).one()
        for number in range(IMAGES_AT_ONCE):
            image = {"sop_class": "1.2", "transfer_syntax": "1.2", "size": 6, "received_at": now()}
            name = f"{first.uid}.{number}"
            path = archive.image_path(uid, name)
            session.add(Instance(series_pk=first.series_pk, uid=name, path=path, **image))
            archive.path(path).write_bytes(b"pixels")
    sizes: list[int] = []
    delete_images = archive.delete_images

    def note_how_many(paths: Sequence[str]) -> dict[str, OSError]:
        sizes.append(len(paths))
        return delete_images(paths)

    monkeypatch.setattr(archive, "delete_images", note_how_many)
    Retention(RetentionSettings(images_days=1), database, archive, forget_nothing).delete_what_is_old()
    assert sizes == [IMAGES_AT_ONCE, 1]
    assert not list(archive.images.rglob("*.dcm"))
    assert with_images(database) == set()


def test_a_refused_object_that_cannot_be_deleted_keeps_nothing_else_here(
    database: Database, archive: Archive
) -> None:
    study(database, archive, 3)
    folder = archive.quarantine / "2026-01-01"
    folder.mkdir()
    for name in ("0.dcm", "1.dcm"):
        (folder / name).write_bytes(b"refused")
    hold(folder / "0.dcm")
    for path, at in ((folder / "0.dcm", 1), (folder / "1.dcm", 2)):
        os.utime(path, (at, at))
    asked: list[datetime] = []
    rules = RetentionSettings(images_days=1, quarantine_days=1)
    retention = Retention(rules, database, archive, forget_nothing, [asked.append])
    with pytest.raises(IsADirectoryError):
        retention.look()
    assert [path.name for path in folder.iterdir()] == ["0.dcm"]
    assert with_images(database) == set()
    assert asked
    assert "refused objects: 1" in retention.probe().detail


def test_refused_objects_beyond_their_limit_go_before_any_patients_images(
    database: Database, archive: Archive
) -> None:
    kept = {study(database, archive, 3), study(database, archive, 2)}
    (archive.quarantine / "2026-01-01").mkdir()
    for number in range(3):
        (archive.quarantine / "2026-01-01" / f"{number}.dcm").write_bytes(bytes(8 << 20))
    rules = RetentionSettings(images_below_free_mb=60, quarantine_mb=9)
    retention = Retention(rules, database, archive, forget_nothing)
    retention.look()
    assert with_images(database) == kept
    assert len(list(archive.quarantine.rglob("*.dcm"))) == 1
    assert "refused objects: 1, 8 MB" in retention.probe().detail


def test_a_disk_full_of_what_is_not_delivered_is_a_problem_and_nothing_is_deleted(
    database: Database, archive: Archive
) -> None:
    kept = {study(database, archive, days, delivered=False) for days in (1, 2)}
    retention = Retention(RetentionSettings(images_below_free_mb=MARK_MB), database, archive, forget_nothing)
    retention.make_room()
    assert with_images(database) == kept
    probe = retention.probe()
    assert not probe.ok
    assert "not yet delivered" in probe.detail


def test_the_status_page_says_what_is_kept_and_what_refused_objects_take(
    database: Database, archive: Archive
) -> None:
    (archive.quarantine / "2026-01-01").mkdir()
    (archive.quarantine / "2026-01-01" / "a.dcm").write_bytes(bytes(2_000_000))
    retention = Retention(RetentionSettings(images_days=30), database, archive, forget_nothing)
    retention.look()
    assert retention.probe().detail == "images are kept 30 days; refused objects: 1, 2 MB"


def test_runs_of_the_queue_are_forgotten_until_none_is_left(database: Database, archive: Archive) -> None:
    left = [500, 500, 20, 0]
    asked: list[datetime] = []

    def forget(before: datetime) -> int:
        asked.append(before)
        return left.pop(0)

    Retention(RetentionSettings(records_days=10), database, archive, forget).delete_what_is_old()
    assert left == []
    assert all(now() - before >= timedelta(days=10) for before in asked)


def test_a_round_that_failed_is_made_again_at_the_next_look(database: Database, archive: Archive) -> None:
    troubles = [OSError("the disk is away")]
    forgotten_at: list[datetime] = []

    def forget(before: datetime) -> None:
        if troubles:
            raise troubles.pop()
        forgotten_at.append(before)

    retention = Retention(RetentionSettings(), database, archive, forget_nothing, also=[forget])
    with pytest.raises(OSError, match="away"):
        retention.look()
    retention.look()
    retention.look()
    assert len(forgotten_at) == 1
