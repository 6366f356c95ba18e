"""Gives up a PostgreSQL that stands still: its host answers, and the server says nothing any more.

No deadline of TCP tells of that, for the host's kernel goes on taking what is sent; and deadlines of
statements are kept by the server itself. But a statement that takes long is silent too. So whoever has waited
for a while asks for another connection, which a server that is alive grants or refuses, and goes on waiting.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus
from sqlalchemy import URL, create_engine

SECONDS = 20.0  # of silence, until the server is asked whether it is alive

T = TypeVar("T")


class StandstillError(psycopg.OperationalError):
    """The server stands still; the connection is closed."""


class WatchedConnection(psycopg.Connection[Any]):
    """``knock`` makes another connection to the same server, at the address it was reached by, within a
    deadline: another one that the host's name stands for may answer, and tells nothing of this one."""

    patience: float
    knock: Callable[[], psycopg.Connection[Any]]

    def wait(self, gen: PQGen[T], *more: Any, **named: Any) -> T:
        """What ``gen``, which talks to the server, comes to.

        Raises:
            StandstillError: nobody answers.
        """
        try:
            return super().wait(self._watched(gen), *more, **named)
        except StandstillError:
            self.close()
            raise

    def _watched(self, gen: PQGen[T]) -> PQGen[T]:
        heard_at = time.monotonic()
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if ready or not self._is_answer_due():
                    heard_at = time.monotonic()
                elif time.monotonic() - heard_at > self.patience:
                    if not self._is_server_alive():
                        raise StandstillError("the server has stopped answering")
                    heard_at = time.monotonic()
                wanted = gen.send(ready)
        except StopIteration as end:
            result: T = end.value
            return result

    def _is_answer_due(self) -> bool:
        """Not where we only listen for what others notify of."""
        return self.pgconn.transaction_status == TransactionStatus.ACTIVE

    def _is_server_alive(self) -> bool:
        try:
            self.knock().close()
        except psycopg.errors.ConnectionTimeout:
            return False
        except psycopg.OperationalError:
            return True  # it says that it has no room, or that it is about to stop
        return True


def connecting(patience: float = SECONDS) -> Callable[..., WatchedConnection]:
    """What SQLAlchemy is to call at ``do_connect``."""

    def connect(_dialect: Any, _record: Any, args: list[Any], named: dict[str, Any]) -> WatchedConnection:
        connection = WatchedConnection.connect(*args, **named)
        connection.patience = patience
        here = {**named, **_address(connection.info)}
        connection.knock = lambda: psycopg.connect(*args, **here)
        return connection

    return connect


def connector(url: URL, patience: float = SECONDS) -> Callable[[], WatchedConnection]:
    """Connects to this database: the ``creator`` of an SQLAlchemy engine that another library makes."""
    dialect, connect = create_engine(url).dialect, connecting(patience)
    args, named = dialect.create_connect_args(url)
    return lambda: connect(dialect, None, args, named)


def _address(reached: psycopg.ConnectionInfo) -> dict[str, Any]:
    """In libpq's words; the name stays, since a certificate is made out to it. A socket is a file's path, and
    has no ``hostaddr``."""
    by_ip = {"hostaddr": reached.hostaddr} if reached.hostaddr else {}
    return {"host": reached.host, "port": reached.port, **by_ip}
