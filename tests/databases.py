"""Databases for tests: SQLite in a folder of the test's own, or PostgreSQL on a server of its own.

Tables are made once for each kind and copied from there, which is quicker than migrating each time.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Protocol

import pytest
from _pytest.mark import ParameterSet
from sqlalchemy import URL, text
from sqlalchemy.orm import Session

from storage.database import Database
from storage.tables import Base
from tests import postgres

SQLITE, POSTGRESQL, BOTH = "sqlite", "postgresql", "both"
KINDS = (SQLITE, POSTGRESQL)


def kinds(test: pytest.Function, chosen: str) -> list[str | ParameterSet]:
    """On which databases a test runs, ``chosen`` being what was asked for on the command line.

    Where both are asked for, a slow test runs on SQLite alone: what it does to a database, quick ones do on
    both. One that is about SQLite is left out where only PostgreSQL is asked for, and the reverse.
    """
    only = test.get_closest_marker("only_on")
    if only is None:
        if chosen != BOTH:
            return [chosen]
        return [SQLITE] if test.get_closest_marker("slow") else [*KINDS]
    kind, why = only.args
    left_out = pytest.mark.skip(reason=f"only on {kind}: {why}")
    return [pytest.param(kind, marks=[] if chosen in (BOTH, kind) else left_out)]


class Databases(Protocol):
    """Databases of one kind."""

    def new(self, folder: Path) -> AbstractContextManager[str]:
        """The URL of a database with the current tables, which is gone afterwards; ``folder`` is for what a
        kind keeps in files."""

    def empty(self, folder: Path) -> AbstractContextManager[str]:
        """The same without a table."""


class SqliteDatabases:
    """Each in a file ``overread.db``."""

    @cached_property
    def _tables(self) -> bytes:
        with tempfile.TemporaryDirectory(prefix="overread-tables-") as folder:
            path = Path(folder, "overread.db")
            migrate(f"sqlite:///{path}")
            return path.read_bytes()

    @contextmanager
    def new(self, folder: Path) -> Iterator[str]:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "overread.db").write_bytes(self._tables)
        yield f"sqlite:///{folder / 'overread.db'}"

    @contextmanager
    def empty(self, folder: Path) -> Iterator[str]:
        yield f"sqlite:///{folder / 'overread.db'}"


class PostgresqlDatabases:
    """On one server, ``template`` being a database there with the current tables."""

    def __init__(self, server: URL, template: str) -> None:
        self._server = server
        self._template = template

    @contextmanager
    def new(self, folder: Path) -> Iterator[str]:
        with postgres.new_database(self._server, self._template) as url:
            yield url.render_as_string(hide_password=False)

    @contextmanager
    def empty(self, folder: Path) -> Iterator[str]:
        with postgres.new_database(self._server) as url:
            yield url.render_as_string(hide_password=False)


@contextmanager
def postgresql_databases(server: URL) -> Iterator[PostgresqlDatabases]:
    with postgres.new_database(server) as template:
        migrate(template.render_as_string(hide_password=False))
        assert template.database is not None
        yield PostgresqlDatabases(server, template.database)


@contextmanager
def databases_of(kind: str) -> Iterator[Databases]:
    """For a program that is no test."""
    if kind == SQLITE:
        yield SqliteDatabases()
    else:
        with postgres.server() as server, postgresql_databases(server) as databases:
            yield databases


def add_choice_of_database(parser: argparse.ArgumentParser) -> None:
    """``--database``, for a program that is no test."""
    parser.add_argument("--database", choices=KINDS, default=SQLITE)


def migrate(url: str) -> None:
    database = Database(url)
    database.upgrade()
    database.close()


@contextmanager
def held(url: str) -> Iterator[Session]:
    """A session while which nobody else can write."""
    database = Database(url)
    with database.session() as session:
        session.connection()  # begins, and in SQLite takes the one lock there is
        if not database.is_sqlite:
            session.execute(text(f"LOCK TABLE {', '.join(Base.metadata.tables)} IN EXCLUSIVE MODE"))
        yield session
    database.close()
