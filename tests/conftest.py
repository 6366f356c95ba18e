"""What every test may ask for: real data, external programs, ports, databases, a PACS."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import URL

from storage.database import Database
from tests import postgres
from tests.orthanc import Orthanc
from tests.orthanc import free_port as any_free_port
from tests.programs import absent, is_present, require

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


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


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database, once SQLite and once PostgreSQL."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'overread.db'}"
    else:
        with postgres.new_database(request.getfixturevalue("postgres_server")) as url:
            yield url.render_as_string(hide_password=False)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A database with the current tables, once SQLite and once PostgreSQL."""
    database = Database(database_url)
    database.upgrade()
    yield database
    database.close()


@pytest.fixture
def orthanc(tmp_path: Path) -> Iterator[Orthanc]:
    """A PACS of the test's own, with DICOMweb."""
    pacs = Orthanc(tmp_path / "orthanc")
    pacs.start()
    yield pacs
    pacs.stop()
