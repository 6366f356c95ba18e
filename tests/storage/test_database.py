"""What is read is of one moment; what was written is there after a power cut, where the site wants that."""

from __future__ import annotations

import os
import socket
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import URL, func, make_url, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from storage.database import Database, with_deadlines
from storage.tables import Patient
from tests import postgres
from tests.databases import SqliteDatabases

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


def test_the_folder_of_a_linked_sqlite_is_where_its_journal_grows(
    sqlite_databases: SqliteDatabases, tmp_path: Path
) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "overread.db").symlink_to(tmp_path / "disk" / "overread.db")
    with sqlite_databases.empty(tmp_path / "data") as url:
        database = Database(url)
        with database.session() as session:
            session.execute(text("CREATE TABLE entry (n INTEGER)"))
            assert database.folder == tmp_path / "disk"
            assert (database.folder / "overread.db-wal").exists()
        database.close()


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
        ("INSERT INTO patients (patient_id, birth_date) VALUES (NULL, :name)", "patient_id"),
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


@pytest.fixture(params=["accepts and says nothing", "takes no connection and refuses none"])
def dead_port(request: pytest.FixtureRequest) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        port: int = listener.getsockname()[1]
        waiting = []
        if request.param.startswith("takes no"):  # a full queue drops what else comes, as a dead host does
            for _ in range(3):
                waiting.append(socket.socket())
                waiting[-1].setblocking(False)
                waiting[-1].connect_ex(("127.0.0.1", port))
        yield port
        for connection in waiting:
            connection.close()


def test_a_postgresql_that_does_not_answer_is_given_up(dead_port: int) -> None:
    database = Database(f"postgresql+psycopg://overread@127.0.0.1:{dead_port}/overread?connect_timeout=2")
    with pytest.raises(DBAPIError, match="timeout"), database.session() as session:
        patients(session)
    database.close()


def test_what_the_url_says_of_deadlines_stays_and_the_others_are_set() -> None:
    url = make_url("postgresql+psycopg://overread@db/overread?keepalives_idle=600&sslmode=require")
    query = with_deadlines(url).query
    assert (query["keepalives_idle"], query["sslmode"]) == ("600", "require")
    assert {"connect_timeout", "keepalives_interval", "keepalives_count", "tcp_user_timeout"} < set(query)
    file = URL.create("sqlite", database="overread.db")
    assert with_deadlines(file) == file


def test_the_system_gives_up_a_connection_whose_host_has_vanished(free_port: int) -> None:
    with postgres.private_server(port=free_port) as url:
        database = Database(
            url.set(host="127.0.0.1", port=free_port, query={}).render_as_string(hide_password=False)
        )
        with database.engine.connect() as connection:
            driven = connection.connection.driver_connection
            assert driven is not None
            with socket.socket(fileno=os.dup(driven.fileno())) as wire:
                assert wire.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
                idle = wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
                unanswered = wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
        database.close()
    assert (idle, unanswered) == (30, 60_000)
