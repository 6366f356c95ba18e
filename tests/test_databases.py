"""Every test that opens a database has it from one place, and runs on both kinds."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import inspect, text
from sqlalchemy.exc import DBAPIError

from storage.database import Database
from storage.tables import Base
from tests.databases import BOTH, KINDS, POSTGRESQL, SQLITE, Databases, held, kinds

TESTS = Path(__file__).parent
NAME_A_FILE = {"databases.py", "test_databases.py", "test_log.py", "test_settings.py", "test_urls.py"}


def test_no_test_names_an_sqlite_file_of_its_own() -> None:
    sources = {path for path in TESTS.rglob("*.py") if "benchmarks" not in path.parts}
    naming = {
        path.name for path in sources if "sqlite:" in path.read_text() or "import sqlite3" in path.read_text()
    }
    assert naming <= NAME_A_FILE


@pytest.mark.parametrize(
    ("marks", "chosen", "expected"),
    [
        ([], BOTH, [*KINDS]),
        ([pytest.mark.slow], BOTH, [SQLITE]),
        ([pytest.mark.slow], POSTGRESQL, [POSTGRESQL]),
        ([], SQLITE, [SQLITE]),
        ([pytest.mark.only_on(POSTGRESQL, "it has row locks")], BOTH, [POSTGRESQL]),
        ([pytest.mark.only_on(SQLITE, "it is one file"), pytest.mark.slow], SQLITE, [SQLITE]),
    ],
)
def test_the_command_line_and_the_marks_of_a_test_say_what_it_runs_on(
    marks: list[pytest.MarkDecorator], chosen: str, expected: list[str], request: pytest.FixtureRequest
) -> None:
    assert [getattr(one, "values", (one,))[0] for one in kinds(marked(request, marks), chosen)] == expected


def test_what_is_about_the_other_kind_is_left_out_and_says_why(request: pytest.FixtureRequest) -> None:
    (left_out,) = kinds(marked(request, [pytest.mark.only_on(SQLITE, "it is one file")]), POSTGRESQL)
    (skip,) = left_out.marks  # type: ignore[union-attr]
    assert skip.kwargs["reason"] == "only on sqlite: it is one file"


def marked(request: pytest.FixtureRequest, marks: list[pytest.MarkDecorator]) -> pytest.Function:
    """A test with these marks."""
    made = pytest.Function.from_parent(request.node.parent, name="test", callobj=lambda: None)
    for mark in marks:
        made.add_marker(mark)
    return made


def test_a_new_database_is_of_the_kind_asked_for_with_the_current_tables(
    database: Database, database_kind: str
) -> None:
    assert database.url.get_backend_name() == database_kind
    assert set(inspect(database.engine).get_table_names()) >= set(Base.metadata.tables)


def test_two_databases_of_a_test_know_nothing_of_each_other(databases: Databases, tmp_path: Path) -> None:
    with databases.new(tmp_path / "one") as one, databases.new(tmp_path / "other") as other:
        first, second = Database(one), Database(other)
        with first.session() as session:
            session.execute(text("INSERT INTO patients VALUES (1, 'P', '', '')"))
        with second.snapshot() as session:
            assert session.execute(text("SELECT count(*) FROM patients")).scalar_one() == 0
        first.close()
        second.close()


def test_nobody_writes_to_a_database_that_is_held(database: Database, database_url: str) -> None:
    patience = "PRAGMA busy_timeout=100" if database.is_sqlite else "SET lock_timeout = 100"
    with database.engine.connect() as connection, held(database_url):
        connection.connection.cursor().execute(patience)
        with pytest.raises(DBAPIError, match="lock"):
            connection.execute(text("INSERT INTO patients VALUES (1, 'P', '', '')"))
