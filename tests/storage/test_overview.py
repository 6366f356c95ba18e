"""The list of studies and the sums over it, on SQLite and PostgreSQL."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from storage.database import Database, now
from storage.overview import (
    Place,
    StudyFilter,
    StudyLine,
    count_by_state,
    list_refusals,
    list_sources,
    list_studies,
    one_study,
    waiting_deliveries,
)
from tests.node.web import rows


def listed(database: Database, wanted: StudyFilter | None = None) -> list[StudyLine]:
    with database.snapshot() as session:
        return list(list_studies(session, wanted).studies)


def line(database: Database, uid: str) -> StudyLine:
    with database.snapshot() as session:
        found = one_study(session, uid)
    assert found is not None
    return found


def test_a_study_is_in_the_state_of_its_newest_revision(database: Database, tmp_path: Path) -> None:
    with database.session() as session:
        studies = rows.one_in_every_state(session, tmp_path)
    for state, study in studies.items():
        assert line(database, study.uid).state == ("delivered" if state == "negative" else state)


def test_late_images_make_a_delivered_study_receive_again(database: Database, tmp_path: Path) -> None:
    with database.session() as session:
        study = rows.add_study(session)
        rows.read_and_deliver(session, study, tmp_path)
        study.is_open = True
    assert line(database, study.uid).state == "receiving"
    assert line(database, study.uid).reason == ""


def test_a_study_asked_to_be_read_again_is_queued_at_once(database: Database, tmp_path: Path) -> None:
    with database.session() as session:
        study = rows.add_study(session)
        rows.fail(session, study, "infer", "The lamp was out.")
        study.read_now = True
    assert line(database, study.uid).state == "queued"
    assert line(database, study.uid).reason == ""
    assert [s.uid for s in listed(database, StudyFilter(state="queued"))] == [study.uid]


def test_a_line_tells_what_came_and_what_was_found(database: Database, tmp_path: Path) -> None:
    with database.session() as session:
        read = rows.add_study(session, images=7, source="CT9")
        rows.read_and_deliver(session, read, tmp_path, findings=3)
        clear = rows.add_study(session)
        rows.read_and_deliver(session, clear, tmp_path, findings=0)
        unread = rows.add_study(session)
    shown = line(database, read.uid)
    assert (shown.image_count, shown.modalities, shown.source) == (7, ("CT",), "CT9")
    assert (shown.readers, shown.finding_count) == (("lung-nodules",), 3)
    assert line(database, clear.uid).finding_count == 0
    assert line(database, unread.uid).finding_count is None


def test_paging_shows_every_study_once_and_the_newest_first(database: Database) -> None:
    moment = now()
    with database.session() as session:
        for number in range(23):
            rows.add_study(session, at=moment - timedelta(seconds=number // 4))  # some at the same moment
    seen: list[str] = []
    older: Place | None = None
    while True:
        with database.snapshot() as session:
            page = list_studies(session, older_than=older, limit=5)
        seen += [study.uid for study in page.studies]
        older = page.older
        if older is None:
            break
    assert len(seen) == len(set(seen)) == 23
    ages = [line(database, uid).last_image_at for uid in seen]
    assert ages == sorted(ages, reverse=True)


def test_filtering_by_state_agrees_with_the_count(database: Database, tmp_path: Path) -> None:
    with database.session() as session:
        rows.one_in_every_state(session, tmp_path)
        again = rows.add_study(session)  # its first revision failed, its second was delivered
        rows.fail(session, again, "infer", "The lamp was out.")
        rows.read_and_deliver(session, again, tmp_path)
    with database.snapshot() as session:
        counted = count_by_state(session)
    assert [state for state, count in counted.items() if not count] == ["superseded"]
    for state, count in counted.items():
        assert [study.state for study in listed(database, StudyFilter(state=state))] == [state] * count


def test_text_is_found_in_patient_accession_description_source_and_uid(database: Database) -> None:
    with database.session() as session:
        wanted = rows.add_study(
            session,
            patient_id="JONES-7",
            accession_number="acc-99",
            description="CT Heart",
            source="CT_FAR",
            uid="2.25.4711",
        )
        rows.add_study(session)
    for text in ("jones-7", "ACC-99", "heart", "ct_far", "2.25.4711"):
        assert [study.uid for study in listed(database, StudyFilter(text=text))] == [wanted.uid], text


def test_a_percent_sign_is_looked_for_as_it_is(database: Database) -> None:
    with database.session() as session:
        rows.add_study(session, description="CT chest")
        wanted = rows.add_study(session, description="CT 50% dose")
    assert [study.uid for study in listed(database, StudyFilter(text="%"))] == [wanted.uid]


def test_days_bound_the_moment_of_the_last_image(database: Database) -> None:
    moment = now()
    with database.session() as session:
        rows.add_study(session, at=moment - timedelta(days=3))
        wanted = rows.add_study(session, at=moment - timedelta(days=2))
        rows.add_study(session, at=moment - timedelta(days=1))
    between = StudyFilter(
        received_from=moment - timedelta(days=2, hours=1), received_before=moment - timedelta(days=1, hours=1)
    )
    assert [study.uid for study in listed(database, between)] == [wanted.uid]


def test_the_oldest_waiting_delivery_is_named(database: Database, tmp_path: Path) -> None:
    with database.session() as session:
        for minutes, destination in ((5, "pacs"), (90, "archive")):
            study = rows.add_study(session, at=now() - timedelta(minutes=minutes))
            revision = rows.close(session, study)
            reading = rows.add_reading(session, study, revision, tmp_path, findings=0)
            reading.created_at = now() - timedelta(minutes=minutes)
            rows.post(session, revision, reading, destination)
    with database.snapshot() as session:
        waiting = waiting_deliveries(session)
    assert (waiting.count, waiting.destination) == (4, "archive")
    assert waiting.since is not None
    assert now() - waiting.since >= timedelta(minutes=90)


def test_nothing_waits_where_nothing_was_read(database: Database) -> None:
    with database.snapshot() as session:
        assert waiting_deliveries(session).count == 0


def test_sources_are_listed_with_their_last_image(database: Database) -> None:
    moment = now()
    with database.session() as session:
        rows.add_study(session, source="CT1", at=moment - timedelta(hours=2))
        rows.add_study(session, source="CT1", at=moment - timedelta(hours=5))
        rows.add_study(session, source="CT2", at=moment)
    with database.snapshot() as session:
        sources = list_sources(session)
    assert [(s.source, s.study_count) for s in sources] == [("CT2", 1), ("CT1", 2)]
    assert sources[1].last_image_at == moment - timedelta(hours=2)


def test_refusals_are_listed_the_newest_first(database: Database) -> None:
    with database.session() as session:
        rows.add_refusal(session, "old", at=now() - timedelta(hours=1))
        rows.add_refusal(session, "new")
    with database.snapshot() as session:
        assert [refusal.reason for refusal in list_refusals(session).refusals] == ["new", "old"]
