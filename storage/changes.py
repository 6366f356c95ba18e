"""Tells that something was written, without asking what."""

from __future__ import annotations

import threading
import time

from storage.database import Database


class ChangeMark:
    """A mark that is another one as soon as anybody, in any process, has written to the database.

    Reading it costs one number: SQLite's count of commits by others, PostgreSQL's newest transactions.
    """

    def __init__(self, database: Database) -> None:
        self._connection = database.engine.connect().execution_options(snapshot=True)
        self._query = "PRAGMA data_version" if database.is_sqlite else "SELECT pg_current_snapshot()::text"
        self._lock = threading.Lock()
        self._origin = time.time_ns()  # so that no mark of an earlier run is taken for one of this

    def read(self) -> str:
        with self._lock:
            try:
                value = self._connection.exec_driver_sql(self._query).scalar()
            finally:
                self._connection.rollback()
        return f"{self._origin:x}-{value}"

    def close(self) -> None:
        with self._lock:
            self._connection.close()
