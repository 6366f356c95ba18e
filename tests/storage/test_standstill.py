"""A PostgreSQL that stands still is told from one that is busy."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import URL, Engine, create_engine, event, text
from sqlalchemy.exc import OperationalError

from storage.database import Database
from storage.standstill import WatchedConnection, connecting, connector
from tests import orthanc, postgres

SOON = 0.3  # seconds


@pytest.fixture(scope="module")
def server() -> Iterator[URL]:
    """At a socket, and at the same port of 127.0.0.1."""
    port = orthanc.free_port()
    with postgres.private_server(port=port) as url:
        yield url.update_query_dict({"port": str(port)})


@pytest.fixture
def engine(server: URL) -> Iterator[Engine]:
    engine = create_engine(server.update_query_dict({"connect_timeout": "4"}))
    event.listen(engine, "do_connect", connecting(SOON))
    yield engine
    engine.dispose()


def test_a_server_that_stands_still_is_given_up_and_serves_again_once_it_goes_on(
    server: URL, engine: Engine
) -> None:
    with engine.connect() as connection:
        backend = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
        with postgres.standing_still(server):
            with pytest.raises(OperationalError, match="stopped answering"):
                connection.execute(text("SELECT 1"))
            assert connection.invalidated
            with pytest.raises(OperationalError, match="timeout"), engine.connect():
                pass
    with engine.connect() as connection:
        assert connection.execute(text("SELECT pg_backend_pid()")).scalar_one() != backend


def test_another_server_of_the_same_name_does_not_speak_for_one_that_stands_still(
    server: URL, free_port: int
) -> None:
    two = {"host": "127.0.0.1,127.0.0.1", "port": f"{server.query['port']},{free_port}"}
    engine = create_engine(server.update_query_dict({**two, "connect_timeout": "4"}))
    event.listen(engine, "do_connect", connecting(SOON))
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
        with postgres.standing_still(server), pytest.raises(OperationalError, match="stopped answering"):
            connection.execute(text("SELECT 1"))
    engine.dispose()


def test_a_statement_that_takes_long_is_waited_for(engine: Engine) -> None:
    with engine.connect() as connection:
        taken = connection.execute(text("SELECT count(*) FROM (SELECT pg_sleep(:s)) AS nap"), {"s": 5 * SOON})
        assert taken.scalar_one() == 1


def test_who_only_listens_waits_for_no_answer(server: URL) -> None:
    listening = connector(server.update_query_dict({"connect_timeout": "4"}), SOON)()
    listening.autocommit = True
    listening.execute("LISTEN news")
    with postgres.standing_still(server):
        assert not [*listening.notifies(timeout=3 * SOON)]
    listening.execute("NOTIFY news, 'here'")
    assert [notice.payload for notice in listening.notifies(timeout=20, stop_after=1)] == ["here"]
    listening.close()


def test_a_busy_server_without_room_for_another_is_waited_for(server: URL, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("CREATE ROLE guest LOGIN CONNECTION LIMIT 1"))
    guest = create_engine(server.set(username="guest"))
    event.listen(guest, "do_connect", connecting(SOON))
    with guest.connect() as connection:
        taken = connection.execute(text("SELECT count(*) FROM (SELECT pg_sleep(:s)) AS nap"), {"s": 3 * SOON})
        assert taken.scalar_one() == 1
    guest.dispose()


def test_the_nodes_database_is_watched(server: URL) -> None:
    database = Database(server.render_as_string(hide_password=False))
    with database.engine.connect() as connection:
        assert isinstance(connection.connection.driver_connection, WatchedConnection)
    database.close()
