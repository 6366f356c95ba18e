"""Images go once they are delivered and old; findings stay, and what came of them can be compared again."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import event, func, select

from storage import fetching, priors, quarantine
from storage.actions import ActionRefusedError, read_again, read_now
from storage.archive import Archive
from storage.closing import ClosedStudy, close_quiet
from storage.database import Database, now
from storage.intake import Received, instances_of, record
from storage.part10 import encode_head
from storage.retention import forget_records, kept_by_failure, releasable, release
from storage.tables import Event, FindingRow, Instance, Refusal, Revision, Series, Study
from tests.node.web import rows

PAUSE = timedelta(minutes=1)


def may_go(database: Database) -> list[str]:
    with database.snapshot() as session:
        return releasable(session, now() + timedelta(days=1), 100)


def image(study: Study, series: str, number: int, fetched: bool = False) -> Received:
    uid = f"{series}.{number}"
    return Received(uid, "1.2", "1.2", series, study.uid, f"images/{uid}.dcm", 9, now(), fetched=fetched)


def test_only_what_is_done_with_may_go(database: Database, tmp_path: Path) -> None:
    with database.session() as session:
        studies = rows.one_in_every_state(session, tmp_path)
        uids = {state: study.uid for state, study in studies.items()}
    gone = {state for state, uid in uids.items() if uid in may_go(database)}
    assert {"delivered", "skipped", "stored"} <= gone
    assert not gone & {"receiving", "queued", "reading", "delivering", "failed"}
    with database.snapshot() as session:
        assert kept_by_failure(session) == 1


def test_what_an_archive_is_still_to_be_asked_for_is_kept(database: Database, tmp_path: Path) -> None:
    with database.session() as session:
        study = rows.add_study(session)
        rows.read_and_deliver(session, study, tmp_path)
        fetching.note_unanswered(session, study.uid, "pacs", "away", PAUSE)
    assert may_go(database) == []


def test_what_another_study_of_the_patient_may_be_compared_with_just_now_is_kept(
    database: Database, tmp_path: Path
) -> None:
    with database.session() as session:
        earlier, current = rows.add_study(session), rows.add_study(session)
        current.patient_pk = earlier.patient_pk
        rows.read_and_deliver(session, earlier, tmp_path)
        revision = rows.close(session, current)
        rows.begin_reading(session, current, revision)
    assert may_go(database) == []


def test_a_prior_under_a_merged_id_or_of_another_issuer_is_kept_too(
    database: Database, tmp_path: Path
) -> None:
    with database.session() as session:
        merged, issued, unrelated = (rows.add_study(session, patient_id=name) for name in ("A", "B", "C"))
        for earlier in (merged, issued, unrelated):
            rows.read_and_deliver(session, earlier, tmp_path)
        current = rows.add_study(session, patient_id="B2")
        session.flush()
        current.patient.patient_id, current.patient.issuer = "B", "HOSPITAL"
        rows.begin_reading(session, current, rows.close(session, current))
        kept_by = [("A", "B")]
    with database.session() as session:
        moment = now() + timedelta(days=1)
        assert releasable(session, moment, 10, kept_by) == [unrelated.uid]
        assert releasable(session, moment, 10) == [merged.uid, unrelated.uid]
        assert release(session, merged.uid, "old", kept_by) is None
        assert release(session, merged.uid, "old") is not None


@pytest.mark.only_on("postgresql", "SQLite has one writer at a time")
@pytest.mark.parametrize("merged", [(), (("A", "B"),)])
def test_a_prior_is_kept_for_a_study_that_was_queued_while_its_row_was_waited_for(
    merged: tuple[tuple[str, str], ...], database: Database, tmp_path: Path
) -> None:
    with database.session() as session:
        prior = rows.add_study(session, patient_id="A")
        rows.read_and_deliver(session, prior, tmp_path)
        current = rows.add_study(session, patient_id="B" if merged else "A")

    def queue(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if "FOR UPDATE" in statement:
            with database.session() as another:
                rows.close(another, another.merge(current))

    event.listen(database.engine, "before_cursor_execute", queue)
    with database.session() as session:
        assert release(session, prior.uid, "old", merged) is None


def test_a_released_study_keeps_its_findings_and_says_what_became_of_it(
    database: Database, tmp_path: Path
) -> None:
    with database.session() as session:
        study = rows.add_study(session, images=4)
        rows.read_and_deliver(session, study, tmp_path)
        before = session.scalar(select(func.count(FindingRow.id)))
    with database.session() as session:
        released = release(session, study.uid, "30 days have passed")
        assert released is not None
        assert len(released.paths) == 4
    with database.snapshot() as session:
        assert session.scalar(select(func.count(Instance.id))) == 0
        assert session.scalar(select(func.count(FindingRow.id))) == before
        texts = session.scalars(select(Event.text).where(Event.study_uid == study.uid)).all()
        assert priors.newest_reading(session, study.uid, "lung-nodules") is not None
        assert not priors.study_and_patient(session, study.uid)[0].has_images
    assert any("4 images" in text and "30 days have passed" in text for text in texts)
    assert may_go(database) == []
    with database.session() as session:
        assert release(session, study.uid, "again") is None
        assert not priors.compare_again(session, study.uid)
        with pytest.raises(ActionRefusedError, match="were deleted"):
            read_again(session, study.uid, "Ann")


def test_images_are_deleted_in_parts_and_those_left_are_kept_once_they_are_wanted(
    database: Database, tmp_path: Path
) -> None:
    unlinked: list[str] = []

    def unlink(paths: Sequence[str]) -> dict[str, OSError]:
        unlinked.extend(paths)
        return {}

    with database.session() as session:
        study = rows.add_study(session, images=5)
        rows.read_and_deliver(session, study, tmp_path)
    rest: int | None = 0
    for parts in (1, 2):
        with database.session() as session:
            released = release(session, study.uid, "old", unlink=unlink, after=rest or 0, at_once=2)
            assert released is not None
            rest = released.rest
        with database.snapshot() as session:
            assert len(unlinked) == 2 * parts
            left = set(session.scalars(select(Instance.path)))
            assert len(left) == 5 - 2 * parts
            assert not left & set(unlinked)
            assert rest is not None
    with database.session() as session:
        read_again(session, study.uid, "Ann")
    with database.session() as session:
        assert release(session, study.uid, "old", unlink=unlink, after=rest or 0, at_once=2) is None
    with database.snapshot() as session:
        assert session.scalar(select(func.count(Instance.id))) == 1
        texts = " ".join(session.scalars(select(Event.text).where(Event.study_uid == study.uid)))
    assert texts.count("Its 2 images") == 2
    assert "was asked for by Ann, without 3 images that were deleted." in texts  # of the series that was read


def test_a_study_that_came_back_by_a_fetch_opens_no_reading_and_one_sent_again_does(
    database: Database, tmp_path: Path
) -> None:
    with database.session() as session:
        study = rows.add_study(session)
        rows.read_and_deliver(session, study, tmp_path)
        release(session, study.uid, "old")
        read = session.scalar(select(Series.uid).where(Series.study_pk == study.id, Series.number == 2))
    fetched = [image(study, str(read), number, fetched=True) for number in range(2)]
    with database.session() as session:
        until = now() + timedelta(minutes=1)
        fetching.expect(session, study.uid, priors.PatientIdentity("P"), "", "", "", until)
        session.flush()
        record(session, fetched)
    with database.session() as session:
        row = session.scalars(select(Study).where(Study.uid == study.uid)).one()
        assert (row.is_open, row.images_deleted_at) == (False, None)
        record(session, [image(study, str(read), 2)])
        session.flush()
        assert row.is_open


def test_a_late_image_of_a_study_whose_images_were_deleted_is_not_read_as_the_whole_study(
    database: Database, tmp_path: Path
) -> None:
    with database.session() as session:
        study = rows.add_study(session, images=4)
        rows.read_and_deliver(session, study, tmp_path)
        release(session, study.uid, "30 days have passed")
    series = f"{study.uid}.2"
    with database.session() as session:
        record(session, [image(study, series, 99)])
        assert close_quiet(session, now(), lambda _: True) == []
    with database.snapshot() as session:
        row = session.scalars(select(Study).where(Study.uid == study.uid)).one()
        assert row.images_deleted_at is not None
        assert [revision.state for revision in row.revisions] == ["delivered", "skipped"]
        assert "3 images" in row.revisions[-1].reason
        assert "after an earlier reading, which still stands" in row.revisions[-1].reason
        assert "send the whole study again, or press “Read again”" in row.revisions[-1].reason
        said = session.scalars(select(Event).where(Event.level == "warning")).one()
        assert (said.revision, said.text) == (2, row.revisions[-1].reason)
    assert may_go(database) == [study.uid]

    whole = [image(study, series, number) for number in range(3)]
    with database.session() as session:
        record(session, whole[:2])
        assert close_quiet(session, now(), lambda _: True) == []
        record(session, whole[2:])
        assert close_quiet(session, now(), lambda _: True) == [ClosedStudy(study.uid, 4)]
        row = session.scalars(select(Study).where(Study.uid == study.uid)).one()
        assert row.images_deleted_at is None
        assert len(instances_of(session, study.uid, 4)[series]) == 4


@pytest.mark.parametrize("while_coming_in", [False, True])
def test_what_is_here_of_a_study_whose_images_were_deleted_is_read_when_a_person_asks_for_it(
    while_coming_in: bool, database: Database, tmp_path: Path
) -> None:
    """The archive may have lost the others, or the series may have come anew under other UIDs."""
    with database.session() as session:
        study = rows.add_study(session, images=4)
        rows.read_and_deliver(session, study, tmp_path)
        release(session, study.uid, "30 days have passed")
        record(session, [image(study, f"{study.uid}.3", number) for number in range(3)])
        if while_coming_in:
            assert read_now(session, study.uid, "Ann") == 3
        else:
            assert close_quiet(session, now(), lambda _: True) == []
            assert read_again(session, study.uid, "Ann") == 3
    with database.session() as session:
        (closed,) = close_quiet(session, now(), lambda _: False)
        assert set(instances_of(session, study.uid, closed.revision_number)) == {f"{study.uid}.3"}
        texts = session.scalars(select(Event.text).where(Event.study_uid == study.uid)).all()
        asked = "Reading now" if while_coming_in else "Reading again"
        assert f"{asked} was asked for by Ann, without 3 images that were deleted." in texts
        session.scalars(select(Revision).order_by(Revision.number.desc())).all()[0].state = "delivered"
        record(session, [image(study, f"{study.uid}.3", 3)])
        assert len(close_quiet(session, now(), lambda _: True)) == 1


def test_no_earlier_reading_is_told_of_where_none_was(database: Database) -> None:
    with database.session() as session:
        study = rows.add_study(session)
        rows.close(session, study, state="skipped")
        release(session, study.uid, "old")
        record(session, [image(study, f"{study.uid}.2", 9)])
        assert close_quiet(session, now(), lambda _: True) == []
        reason = session.scalars(select(Revision.reason).order_by(Revision.number.desc())).first()
    assert reason is not None
    assert reason.startswith("Not read: 3 images that belong to it were deleted. To have it read, send")


def test_a_late_image_is_no_whole_study_either_where_images_were_deleted_before_their_names_were_kept(
    database: Database, tmp_path: Path
) -> None:
    with database.session() as session:
        study = rows.add_study(session, images=3)
        rows.read_and_deliver(session, study, tmp_path)
        release(session, study.uid, "old")
        for series in session.scalars(select(Series).where(Series.study_pk == study.id)):
            series.deleted_uids = []
    with database.session() as session:
        record(session, [image(study, f"{study.uid}.2", 0)])
        assert close_quiet(session, now(), lambda _: True) == []
    with database.session() as session:
        record(session, [image(study, f"{study.uid}.1", 0), image(study, f"{study.uid}.2", 1)])
        assert close_quiet(session, now(), lambda _: True) == [ClosedStudy(study.uid, 3)]


def test_images_that_came_too_late_are_deleted_in_their_turn_and_none_is_forgotten(
    database: Database, tmp_path: Path
) -> None:
    with database.session() as session:
        study = rows.add_study(session, images=3)
        rows.read_and_deliver(session, study, tmp_path)
        release(session, study.uid, "old")
        record(session, [image(study, f"{study.uid}.2", 0)])
        close_quiet(session, now(), lambda _: True)
        released = release(session, study.uid, "old")
        assert released is not None
        assert len(released.paths) == 1
        record(session, [image(study, f"{study.uid}.2", 1)])
        assert close_quiet(session, now(), lambda _: True) == []


def test_old_records_are_forgotten_a_part_at_a_time(database: Database) -> None:
    old = now() - timedelta(days=400)
    with database.session() as session:
        session.add_all(Event(at=old, stage="node", text=str(number)) for number in range(5))
        session.add_all(Refusal(at=old, status=1, reason=str(number)) for number in range(5))
        session.add(Event(at=now(), stage="node", text="new"))
    before = now() - timedelta(days=365)
    counts = []
    for _ in range(4):
        with database.session() as session:
            counts.append(forget_records(session, before, at_once=2))
    assert counts == [4, 4, 2, 0]
    with database.snapshot() as session:
        assert session.scalars(select(Event.text)).all() == ["new"]


def refused(archive: Archive, day: str, name: str, size: int, days_old: int) -> Path:
    path = archive.quarantine / day / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x" * size)
    at = (now() - timedelta(days=days_old)).timestamp()
    os.utime(path, (at, at))
    return path


def test_quarantine_keeps_neither_what_is_old_nor_more_than_it_may(tmp_path: Path) -> None:
    archive = Archive(tmp_path, durable=False)
    old = refused(archive, "2026-01-01", "old.dcm", 10, 40)
    files = [refused(archive, "2026-02-01", f"{n}.dcm", 10_000, 10 - n) for n in range(5)]
    pruned = quarantine.prune(archive.quarantine, now() - timedelta(days=30), 25_000)
    assert (pruned.objects, pruned.left, pruned.left_bytes) == (4, 2, 20_000)
    assert not old.parent.exists()
    assert [path.exists() for path in files] == [False, False, False, True, True]
    assert quarantine.prune(archive.quarantine, None, None).objects == 0


def test_what_else_lies_in_quarantine_is_in_nobodys_way(tmp_path: Path) -> None:
    archive = Archive(tmp_path, durable=False)
    old = refused(archive, "2026-01-01", "old.dcm", 10, 40)
    (archive.quarantine / ".DS_Store").write_bytes(b"a note")
    (archive.quarantine / "2026-01-01" / "gone.dcm").symlink_to("nowhere")
    assert quarantine.prune(archive.quarantine, now() - timedelta(days=30), None).objects == 1
    assert not old.exists()


def test_quarantine_keeps_no_more_objects_than_can_be_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = Archive(tmp_path, durable=False)
    files = [refused(archive, "2026-02-01", f"{n}.dcm", 10, 10 - n) for n in range(5)]
    monkeypatch.setattr(quarantine, "MOST_OBJECTS", 2)
    assert quarantine.prune(archive.quarantine, None, None).objects == 0
    assert quarantine.prune(archive.quarantine, None, 1 << 30).left == 2
    assert [path.exists() for path in files] == [False, False, False, True, True]


def test_an_image_deleted_while_it_was_sent_again_is_put_back(tmp_path: Path) -> None:
    """It was answered with success on the strength of the first; its second copy takes that one's place."""
    archive = Archive(tmp_path, durable=False)
    path = archive.image_path("1.2", "1.2.3")
    for _ in ("first", "second"):
        incoming = archive.receive()
        incoming.write(encode_head("1.2", "1.2.3", "1.2.840.10008.1.2.1", "CT1") + b"the same bytes")
        kept = archive.keep(incoming, "1.2", "1.2.3")
        if kept.is_new:
            archive.recorded(kept.incoming_name, path)
    archive.delete_images([path])
    assert not archive.path(path).exists()
    assert not archive.path(path).parent.exists()
    archive.recorded(kept.incoming_name, path)
    assert archive.path(path).read_bytes().endswith(b"the same bytes")
    assert list(archive.incoming.iterdir()) == []


def test_an_image_withdrawn_before_its_row_was_committed_is_not_put_back(tmp_path: Path) -> None:
    archive = Archive(tmp_path, durable=False)
    incoming = archive.receive()
    incoming.write(b"in the way" + bytes(200))
    path = archive.keep(incoming, "1.2", "1.2.3").path
    archive.withdraw(path, incoming.name)
    archive.recorded(incoming.name, path)
    assert not archive.path(path).exists()


def test_nothing_outside_the_images_is_deleted_as_one(tmp_path: Path) -> None:
    archive = Archive(tmp_path, durable=False)
    with pytest.raises(ValueError, match="no image"):
        archive.delete_images(["results/1/seg.dcm"])
