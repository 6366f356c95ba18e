"""What every test may ask for: real data, external programs, ports, databases, a PACS."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest
from sqlalchemy import URL

from storage.database import Database
from tests import postgres
from tests.databases import BOTH, KINDS, POSTGRESQL, Databases, PostgresqlDatabases, SqliteDatabases, kinds
from tests.databases import postgresql_databases as databases_of_server
from tests.orthanc import Orthanc
from tests.orthanc import free_port as any_free_port
from tests.programs import absent, is_present, require

hypothesis.settings.register_profile("suite", derandomize=True, deadline=None)
hypothesis.settings.load_profile("suite")  # the same examples each time, however long one takes

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--database",
        choices=(BOTH, *KINDS),
        default=BOTH,
        help="what tests that open a database run on; with both, slow ones run on SQLite alone",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "database_kind" in metafunc.fixturenames:
        on = kinds(metafunc.definition, metafunc.config.getoption("database"))
        metafunc.parametrize("database_kind", on, indirect=True, scope="module")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Workers that share the tests take a file at a time, in this order: those with slow tests first, then
    those with many, so that none is busy with a long one when the others have nothing left."""
    if hasattr(config, "workerinput"):
        tests = Counter(item.path for item in items)
        slow = {item.path for item in items if item.get_closest_marker("slow")}
        items.sort(key=lambda item: (item.path not in slow, -tests[item.path], item.path))


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("needs"):
        missing = [part for part in marker.args if not is_present(part)]
        if missing:
            absent(f"needs {', '.join(missing)}; `make test` installs what it may")


@pytest.fixture(scope="session", autouse=True)
def _no_settings_from_outside() -> None:
    """A node started by a test is set up by that test alone."""
    for variable in list(os.environ):
        if variable.startswith("OVERREAD_") and variable != "OVERREAD_SCREENSHOTS":
            del os.environ[variable]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images, which is kept outside the project."""
    if not SHARED_DATA.is_dir():
        pytest.skip("no real images: ../shared/data is absent")
    return SHARED_DATA


@pytest.fixture(scope="session")
def needs() -> Callable[[str], Path]:
    """``needs("storescu")``: the program's path; the test is skipped, or with CI=true fails, without it."""
    return require


@pytest.fixture
def free_port() -> int:
    """A TCP port of 127.0.0.1 on which nothing listens."""
    return any_free_port()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[URL]:
    with postgres.server() as url:
        yield url


@pytest.fixture(scope="session")
def sqlite_databases() -> SqliteDatabases:
    return SqliteDatabases()


@pytest.fixture(scope="session")
def postgresql_databases(postgres_server: URL) -> Iterator[PostgresqlDatabases]:
    with databases_of_server(postgres_server) as databases:
        yield databases


@pytest.fixture(scope="module")
def database_kind(request: pytest.FixtureRequest) -> str:
    """``sqlite`` or ``postgresql``: tests that open a database run on each, or as ``--database`` says."""
    return str(request.param)


@pytest.fixture(scope="module")
def databases(request: pytest.FixtureRequest, database_kind: str) -> Databases:
    """For fixtures that outlive a test, and for tests that want several."""
    databases: Databases = request.getfixturevalue(f"{database_kind}_databases")
    return databases


@pytest.fixture
def database_url(databases: Databases, tmp_path: Path) -> Iterator[str]:
    """The URL of a database with the current tables and nothing in them."""
    with databases.new(tmp_path) as url:
        yield url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A database with the current tables and nothing in them."""
    database = Database(database_url)
    yield database
    database.close()


@pytest.fixture(autouse=True)
def _no_database_but_the_one_asked_for(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[None]:
    """On PostgreSQL nothing a test starts may fall back on SQLite, which is the default."""
    yield
    case = getattr(request.node, "callspec", None)
    asked_for = request.config.getoption("database")
    kind = asked_for if case is None else case.params.get("database_kind", asked_for)
    if kind == POSTGRESQL and not request.node.get_closest_marker("only_on"):
        assert [*tmp_path.rglob("overread.db")] == []


@pytest.fixture
def configured_database(database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The same URL, which is also that of every command and node that the test starts."""
    monkeypatch.setenv("OVERREAD_DATABASE__URL", database_url)
    return database_url


@pytest.fixture
def orthanc(tmp_path: Path) -> Iterator[Orthanc]:
    """A PACS of the test's own, with DICOMweb."""
    pacs = Orthanc(tmp_path / "orthanc")
    pacs.start()
    yield pacs
    pacs.stop()
