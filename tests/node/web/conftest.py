"""A status page over a real database, asked in the process or by a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from fastapi import FastAPI
from fastapi.testclient import TestClient

from node.security import passwords
from node.settings import Settings
from node.upkeep.probe import Probe
from node.web.app import create_app
from node.web.server import WebServer
from node.web.waiting import WaitingRoom
from storage import accounts
from storage.database import Database
from tests.node.web.visitors import PASSWORD, Browse

WELL = [
    Probe("database", True, "SQLite, 1.2 MB, WAL"),
    Probe("disk", True, "212 GB of 500 GB free"),
    Probe("engine", True, "embedded, 2 threads"),
    Probe("receiver", True, "OVERREAD at 127.0.0.1:11112"),
]


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


@pytest.fixture
def probes() -> list[Probe]:
    """What the health check says; a test may change it."""
    return list(WELL)


@pytest.fixture
def app(database: Database, data_dir: Path, probes: list[Probe]) -> FastAPI:
    return create_app(Settings(), database, data_dir, lambda: tuple(probes))


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app, base_url="http://127.0.0.1:8080", follow_redirects=False) as client:
        yield client


@pytest.fixture
def address(app: FastAPI) -> Iterator[str]:
    """Of the page, served on a free port."""
    server = WebServer(app, "127.0.0.1", 0)
    server.start()
    yield server.url
    server.stop()


@pytest.fixture(scope="module", autouse=True)
def _passwords_cost_little() -> Iterator[None]:
    """argon2id with the least memory and time it takes; tests of passwords have what the node uses."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "_hasher", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        patch.setattr(passwords, "_NOBODYS", passwords._of_no_password())
        yield


def page_for_a_hospital(database: Database, data_dir: Path, waiting_room: WaitingRoom) -> FastAPI:
    settings = Settings.model_validate({"web": {"host": "0.0.0.0"}})
    return create_app(settings, database, data_dir, lambda: WELL, waiting_room=waiting_room)


@pytest.fixture
def guarded(database: Database, data_dir: Path) -> FastAPI:
    """The page as it listens to a hospital, with nobody who could log in."""
    return page_for_a_hospital(database, data_dir, WaitingRoom(seconds=0))


@pytest.fixture
def people(database: Database) -> None:
    """An admin, Anna, and a viewer, Berta."""
    kept = passwords.hashed("anna", PASSWORD)
    with database.session() as session:
        accounts.add(session, "anna", "admin", kept)
        accounts.add(session, "berta", "viewer", kept)


@pytest.fixture
def browse(guarded: FastAPI) -> Iterator[Browse]:
    """``browse(address, app)``: a browser of its own at an address."""
    with ExitStack() as stack:

        def open_(address: str = "10.0.0.1", app: FastAPI = guarded, scheme: str = "http") -> TestClient:
            return stack.enter_context(
                TestClient(
                    app,
                    base_url=f"{scheme}://127.0.0.1:8080",
                    headers={"origin": f"{scheme}://127.0.0.1:8080"},
                    follow_redirects=False,
                    client=(address, 50000),
                )
            )

        yield open_
