from __future__ import annotations

from collections.abc import Iterator

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect

from storage.database import Database
from storage.tables import Base


@pytest.fixture
def empty_database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
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
