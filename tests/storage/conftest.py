"""A database on each server that can be had here: SQLite always, PostgreSQL where its programs are."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.database import Database

POSTGRES_FOLDERS = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL server of our own, on a Unix socket alone."""
    found = shutil.which("pg_ctl") or next((str(f / "pg_ctl") for f in POSTGRES_FOLDERS), None)
    if found is None:
        pytest.skip("PostgreSQL's server programs are not installed")
    programs = Path(found).parent
    folder = tmp_path_factory.mktemp("postgres")
    as_user: list[str] = []
    if os.getuid() == 0:  # the server refuses to run as root
        for parent in (folder, *folder.parents[:2]):
            parent.chmod(0o755)
        shutil.chown(folder, "postgres")
        as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    data = folder / "data"
    quiet = {"check": True, "capture_output": True, "cwd": folder}
    subprocess.run(
        [*as_user, programs / "initdb", "-D", data, "-U", "overread", "--auth=trust", "--no-sync"], **quiet
    )
    options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
    start = [programs / "pg_ctl", "-D", data, "-w", "-l", folder / "log", "-o", options, "start"]
    subprocess.run([*as_user, *start], check=True, cwd=folder, stdout=subprocess.DEVNULL)
    yield f"postgresql+psycopg://overread@/postgres?host={folder}"
    subprocess.run([*as_user, programs / "pg_ctl", "-D", data, "-m", "immediate", "stop"], **quiet)


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database without tables."""
    if request.param == "sqlite":
        database = Database(f"sqlite:///{tmp_path / 'overread.db'}")
    else:
        database = Database(request.getfixturevalue("postgres_url"))
        with database.engine.begin() as connection:
            connection.exec_driver_sql("DROP SCHEMA public CASCADE")
            connection.exec_driver_sql("CREATE SCHEMA public")
    yield database
    database.close()


@pytest.fixture
def database(empty_database: Database) -> Database:
    empty_database.upgrade()
    return empty_database
