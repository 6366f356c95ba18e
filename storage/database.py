"""Opens the database, SQLite (WAL) or PostgreSQL, and brings its tables up to date."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, ColumnElement, ExceptionContext, create_engine, event, func, make_url, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session, sessionmaker

from storage.urls import without_secrets

MIGRATIONS = Path(__file__).parent / "migrations"
LEAST_FREE_BYTES = 64 << 20  # on the disk of SQLite's file: room to write down what was received
MIGRATING = 0x0BE22EAD  # our number for PostgreSQL's advisory lock
POSTGRESQL_SNAPSHOT = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
"""Of PostgreSQL's own default, READ COMMITTED, each statement has a look of its own."""
POSTGRESQL_DEADLINES = {
    "connect_timeout": "10",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
}
"""libpq's names; milliseconds for the last, else seconds. Its own are none for a connection that is made, and
two hours and more for one whose other end has vanished."""


class DatabaseError(RuntimeError):
    """The database cannot be opened or brought up to date; the message says what to do."""


class Database:
    """A connection pool and its sessions.

    ``with database.session() as s`` writes: it commits on leaving and rolls back on an error.
    ``with database.snapshot() as s`` only reads, all as it was at the first look, and waits for no writer.

    durable: what a session wrote is on the disk when it ends; SQLite else syncs now and then, and a power cut
    takes the last of it back. PostgreSQL goes by its own settings.
    """

    def __init__(self, url: str, durable: bool = False) -> None:
        self.url = make_url(url)
        self._synchronous = "FULL" if durable else "NORMAL"
        self.engine = create_engine(
            with_deadlines(self.url),
            pool_pre_ping=not self.is_sqlite,
            hide_parameters=True,  # errors are logged, and a patient's name is not
        )
        event.listen(self.engine, "handle_error", _without_detail)
        if self.is_sqlite:
            if self.url.database:
                Path(self.url.database).parent.mkdir(parents=True, exist_ok=True)
            event.listen(self.engine, "connect", self._sqlite_pragmas)
            event.listen(self.engine, "begin", _sqlite_begin)
        elif self.url.get_driver_name() == "psycopg":
            from storage import standstill  # its libraries take memory that SQLite needs not

            event.listen(self.engine, "do_connect", standstill.connecting())
        self._sessions = sessionmaker(self.engine, expire_on_commit=False)
        reading = {"snapshot": True} if self.is_sqlite else POSTGRESQL_SNAPSHOT
        self._snapshots = sessionmaker(self.engine.execution_options(**reading), expire_on_commit=False)

    @property
    def is_sqlite(self) -> bool:
        return self.url.get_backend_name() == "sqlite"

    @property
    def named(self) -> str:
        """The URL as people may read it."""
        return without_secrets(self.url.render_as_string(hide_password=True))

    @property
    def folder(self) -> Path | None:
        """Where SQLite's file lies, and its journal beside it, whatever links lead there; None for what is
        elsewhere or in memory."""
        lies_in_a_file = self.is_sqlite and self.url.database not in (None, "", ":memory:")
        return Path(str(self.url.database)).resolve().parent if lies_in_a_file else None

    @contextmanager
    def session(self) -> Iterator[Session]:
        with self._sessions() as session, session.begin():
            yield session

    @contextmanager
    def durable_session(self) -> Iterator[Session]:
        """Like the ``session`` of a database that is durable."""
        with self.engine.connect() as connection:
            raw = connection.connection.dbapi_connection
            if self.is_sqlite and raw is not None:
                raw.cursor().execute("PRAGMA synchronous=FULL")
            try:
                with Session(connection, expire_on_commit=False) as session, session.begin():
                    yield session
            finally:
                if self.is_sqlite and raw is not None:
                    raw.cursor().execute(f"PRAGMA synchronous={self._synchronous}")

    @contextmanager
    def snapshot(self) -> Iterator[Session]:
        with self._snapshots() as session:
            yield session

    def upgrade(self, to: str = "head") -> None:
        """Create the tables, or migrate them to this version, or to an earlier one. Of several that do so at
        the same time, each waits for the one before.

        Raises:
            DatabaseError: a newer Overread has made the tables.
        """
        self.check_version()
        with self.engine.begin() as connection:
            if not self.is_sqlite:
                connection.execute(select(func.pg_advisory_xact_lock(MIGRATING)))
            config = _migrations()
            config.attributes["connection"] = connection
            command.upgrade(config, to)

    def check_version(self) -> None:
        """
        Raises:
            DatabaseError: a newer Overread has made the tables.
        """
        known = {script.revision for script in ScriptDirectory.from_config(_migrations()).walk_revisions()}
        with self.engine.connect() as connection:
            version = MigrationContext.configure(connection).get_current_revision()
        if version is not None and version not in known:
            raise DatabaseError(
                f"The database {self.named} was written by a newer Overread (its tables are of version "
                f"{version}, this one knows them up to {max(known)}). Install that one again, or restore the "
                "backup from before the upgrade."
            )

    def close(self) -> None:
        self.engine.dispose()

    def _sqlite_pragmas(self, connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # we begin transactions, so that a writer waits instead of failing
        synchronous = f"synchronous={self._synchronous}"
        for pragma in ("journal_mode=WAL", synchronous, "foreign_keys=ON", "busy_timeout=30000"):
            connection.execute(f"PRAGMA {pragma}")


def _migrations() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config


def with_deadlines(url: URL) -> URL:
    """The same database, waited for no longer than ``POSTGRESQL_DEADLINES`` where its host does not answer;
    what the URL itself says stays."""
    if url.get_backend_name() != "postgresql":
        return url
    missing = {name: value for name, value in POSTGRESQL_DEADLINES.items() if name not in url.query}
    return url.update_query_dict(missing)


def now() -> datetime:
    return datetime.now(UTC)


def has_come(
    moment: InstrumentedAttribute[datetime] | InstrumentedAttribute[datetime | None],
    at: datetime,
    longest: timedelta,
) -> ColumnElement[bool]:
    """Whether a moment that was set at most ``longest`` ahead has come ``at`` a time. One that lies further
    ahead was set by a clock that has been put back since, and counts as come."""
    return or_(moment <= at, moment > at + longest)


def _without_detail(failure: ExceptionContext) -> None:
    """PostgreSQL shows the row that failed, a patient's name in it, below the first line of what it says."""
    for error in (failure.original_exception, failure.sqlalchemy_exception):
        if error is not None and error.args:
            error.args = (str(error.args[0]).partition("\n")[0], *error.args[1:])


def _sqlite_begin(connection: Any) -> None:
    snapshot = connection.get_execution_options().get("snapshot", False)
    connection.exec_driver_sql("BEGIN" if snapshot else "BEGIN IMMEDIATE")
