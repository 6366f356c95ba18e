"""What is read is of one moment; what was written is there after a power cut, where the site wants that."""

from __future__ import annotations

import traceback

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from storage.database import Database
from storage.tables import Patient

NORMAL, FULL = 1, 2

NAME = "Doe^Jane"


def synchronous(session: Session) -> int:
    return int(session.connection().exec_driver_sql("PRAGMA synchronous").scalar_one())


@pytest.mark.only_on("sqlite", "PostgreSQL syncs as it is set up itself")
@pytest.mark.parametrize(("durable", "expected"), [(True, FULL), (False, NORMAL)])
def test_a_durable_sqlite_syncs_at_each_commit(durable: bool, expected: int, database_url: str) -> None:
    database = Database(database_url, durable=durable)
    with database.session() as session:
        assert synchronous(session) == expected
    with database.durable_session() as session:
        assert synchronous(session) == FULL
    with database.session() as session:
        assert synchronous(session) == expected
    database.close()


def patients(session: Session) -> int:
    return session.scalar(select(func.count()).select_from(Patient)) or 0


def test_a_snapshot_shows_one_moment_however_often_it_is_looked_at(database: Database) -> None:
    with database.snapshot() as snapshot:
        assert patients(snapshot) == 0
        with database.session() as writing:
            writing.add(Patient(patient_id="P"))
        assert patients(snapshot) == 0
    with database.snapshot() as later:
        assert patients(later) == 1


@pytest.mark.only_on("postgresql", "SQLite lets a reader that finds nobody writing become a writer")
def test_nothing_is_written_in_a_snapshot(database: Database) -> None:
    with database.snapshot() as session, pytest.raises(DBAPIError, match="read-only"):
        session.add(Patient(patient_id="P"))
        session.flush()
    with database.session() as session:
        session.add(Patient(patient_id="P"))


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("INSERT INTO nowhere (name) VALUES (:name)", "nowhere"),
        ("INSERT INTO patients (patient_id, issuer, name) VALUES (NULL, '', :name)", "patient_id"),
    ],
    ids=["no such table", "a row that is refused"],
)
def test_an_error_does_not_quote_what_was_to_be_written(
    database: Database, statement: str, told: str
) -> None:
    with pytest.raises(DBAPIError) as caught, database.session() as session:
        session.execute(text(statement), {"name": NAME})
    shown = "".join(traceback.format_exception(caught.value))
    assert told in shown
    assert NAME not in shown
