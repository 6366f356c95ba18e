"""A status page over a real database, asked in the process or by a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from node.settings import Settings
from node.upkeep.probe import Probe
from node.web.app import create_app
from node.web.server import WebServer
from storage.database import Database

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
