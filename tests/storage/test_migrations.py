from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import event, inspect, select, text

from storage import deliveries
from storage.choices import SeriesChoice, choices_of
from storage.database import Database, DatabaseError
from storage.refusals import NO_STATUS
from storage.tables import Base, Instance, Refusal, Revision
from tests.databases import Databases
from tests.waiting import wait_for

OLD_STUDY = (
    "INSERT INTO studies (id, uid, patient_pk, study_date, study_time, accession_number, description, "
    "source, first_image_at, last_image_at, is_open, read_now) VALUES (1, '1.1', 1, '', '', '', '', '', "
    "'2024-01-15 10:00:00', '2024-01-15 10:00:00', false, false)",
    "INSERT INTO revisions (id, study_pk, number, state, stage, reason, image_count, closed_at) "
    "VALUES (1, 1, 1, 'delivered', '', '', 2, '2024-01-15 10:00:00')",
    "INSERT INTO events (id, at, study_uid, revision, stage, level, text) VALUES "
    "(1, '2024-01-15 10:00:00', '1.1', 1, 'select', 'info', 'series 1.2 not read: a localizer'), "
    "(2, '2024-01-15 10:00:00', '1.1', 1, 'select', 'info', 'series 1.3 read by lung-nodules: thin: 1 mm')",
)
OLD_IMAGE = (
    "INSERT INTO series (id, study_pk, uid, modality, description, body_part) "
    "VALUES (1, 1, '1.2', '', '', '')",
    "INSERT INTO instances (id, series_pk, uid, sop_class, transfer_syntax, path, size, sha256, received_at) "
    "VALUES (1, 1, '1.3', '', '', 'images/1.dcm', 526000, '', '2024-01-15 10:00:00')",
)


@pytest.fixture
def empty_database(databases: Databases, tmp_path: Path) -> Iterator[Database]:
    with databases.empty(tmp_path) as url:
        database = Database(url)
        yield database
        database.close()


def test_the_migrations_make_exactly_the_tables_of_the_metadata(empty_database: Database) -> None:
    empty_database.upgrade()
    with empty_database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_an_upgrade_of_an_up_to_date_database_changes_nothing(empty_database: Database) -> None:
    empty_database.upgrade()
    before = sorted(inspect(empty_database.engine).get_table_names())
    empty_database.upgrade()
    assert sorted(inspect(empty_database.engine).get_table_names()) == before
    assert set(before) >= set(Base.metadata.tables)


def test_tables_of_a_newer_version_are_left_alone(empty_database: Database) -> None:
    empty_database.check_version()
    empty_database.upgrade()
    empty_database.check_version()
    with empty_database.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(DatabaseError, match="by a newer Overread"):
        empty_database.upgrade()


def test_images_stay_when_the_digest_that_none_had_is_dropped(empty_database: Database) -> None:
    empty_database.upgrade("0015")
    with empty_database.engine.begin() as connection:
        connection.execute(text("INSERT INTO patients VALUES (1, 'P', '', '')"))
        for statement in (OLD_STUDY[0], *OLD_IMAGE):
            connection.execute(text(statement))
    empty_database.upgrade()
    with empty_database.snapshot() as session:
        (image,) = session.scalars(select(Instance))
        assert (image.uid, image.path, image.size) == ("1.3", "images/1.dcm", 526000)


def test_choices_told_in_the_timeline_are_kept_beside_their_revision(empty_database: Database) -> None:
    empty_database.upgrade("0004")
    with empty_database.engine.begin() as connection:
        connection.execute(text("INSERT INTO patients VALUES (1, 'P', '', '', '', '')"))
        for statement in OLD_STUDY:
            connection.execute(text(statement))
    empty_database.upgrade()
    with empty_database.snapshot() as session:
        (revision,) = session.scalars(select(Revision))
        assert choices_of(revision) == [
            SeriesChoice("1.2", "", False, "a localizer"),
            SeriesChoice("1.3", "lung-nodules", True, "thin: 1 mm"),
        ]


def test_what_was_refused_has_no_status_that_nobody_was_answered(empty_database: Database) -> None:
    before = (
        ("", 0x0124, "CT2@10.0.0.9 is not among dicom.allowed_callers"),
        ("", 0xA700, "CT1@10.0.0.9 was told to come back"),
        ("", 0x0110, "the association of CT1@10.0.0.9 was aborted"),
        ("1.2.3", 0xC001, "received, then set aside: its study belongs to another patient"),
        ("1.2.3", 0xC000, "it is cut short"),
        ("", 0xC000, "the command names no object"),
        ("1.2.3", 0xC001, "its study belongs to another patient"),
    )
    empty_database.upgrade("0009")
    with empty_database.engine.begin() as connection:
        for number, (uid, status, reason) in enumerate(before):
            values = f"{number}, '2024-01-15 10:00:00', '', '', '', '{uid}', '', {status}, '{reason}', ''"
            columns = "id, at, caller, address, study_uid, uid, sop_class, status, reason, path"
            connection.execute(text(f"INSERT INTO refusals ({columns}) VALUES ({values})"))
    empty_database.upgrade()
    with empty_database.snapshot() as session:
        assert session.scalars(select(Refusal.status).order_by(Refusal.id)).all() == [
            *(NO_STATUS, NO_STATUS, NO_STATUS, NO_STATUS),
            *(0xC000, 0xC000, 0xC001),
        ]


def test_a_storage_commitment_that_was_asked_for_before_is_still_waited_for(empty_database: Database) -> None:
    sent = "'1.2.9', 'pacs', 'sr', 'sr.dcm', 1, '2024-01-15 10:00:00', ''"
    empty_database.upgrade("0010")
    with empty_database.engine.begin() as connection:
        connection.execute(text("INSERT INTO patients VALUES (1, 'P', '', '', '', '')"))
        for statement in OLD_STUDY[:2]:
            connection.execute(text(statement))
        columns = "revision_pk, object_uid, destination, kind, path, attempts, next_at, last_error"
        for uid, state in (("1.7.1", "sent"), ("1.7.2", "confirmed"), ("", "sent")):
            values = f"1, {sent.replace('1.2.9', uid or '1.8')}, '{state}', '{uid}'"
            connection.execute(
                text(f"INSERT INTO deliveries ({columns}, state, transaction_uid) VALUES ({values})")
            )
    empty_database.upgrade()
    with empty_database.snapshot() as session:
        asked = {uid: deliveries.in_transaction(session, uid) for uid in ("1.7.1", "1.7.2", "")}
    assert {uid: [each.object_uid for each in of_it] for uid, of_it in asked.items()} == {
        "1.7.1": ["1.7.1"],
        "1.7.2": [],
        "": [],
    }


@pytest.mark.only_on("postgresql", "SQLite has one writer at a time")
def test_who_makes_the_tables_while_another_does_waits_for_that(empty_database: Database) -> None:
    url = empty_database.url.render_as_string(hide_password=False)
    code = "import sys; from tests.databases import migrate; migrate(sys.argv[1])"
    others: list[subprocess.Popen[bytes]] = []

    def at_the_same_time(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if "CREATE TABLE patients" in statement:
            others.append(subprocess.Popen([sys.executable, "-c", code, url]))
            with empty_database.snapshot() as session:
                waits = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
                wait_for(lambda: session.scalar(waits))

    event.listen(empty_database.engine, "after_cursor_execute", at_the_same_time)
    empty_database.upgrade()
    (other,) = others
    assert other.wait(60) == 0
