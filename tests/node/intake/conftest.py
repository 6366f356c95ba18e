from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from node.intake.receiver import Receiver
from node.settings import DicomSettings
from storage.archive import Archive
from storage.database import Database
from storage.tables import Instance, Refusal


@dataclass
class Intake:
    """A receiver at work, and what it has taken in."""

    receiver: Receiver
    archive: Archive
    database: Database
    port: int

    def instances(self) -> list[Instance]:
        self.receiver.settle()
        with self.database.snapshot() as session:
            return list(session.scalars(select(Instance).order_by(Instance.id)))

    def refusals(self) -> list[Refusal]:
        self.receiver.settle()
        with self.database.snapshot() as session:
            return list(session.scalars(select(Refusal).order_by(Refusal.id)))

    def files(self, folder: Path) -> list[Path]:
        self.receiver.settle()
        return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def open_database(database_url: str) -> Iterator[Callable[[], Database]]:
    """Opens the test's database, and once more at each call."""
    opened: list[Database] = []

    def open_() -> Database:
        opened.append(Database(database_url))
        return opened[-1]

    yield open_
    for database in opened:
        database.close()


@pytest.fixture(params=["fast", "stock"])
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def start_intake(tmp_path: Path, open_database: Callable[[], Database]) -> Iterator[Callable[..., Intake]]:
    """``start_intake(transport, **dicom settings)``; stopped when the test ends."""
    receivers: list[Receiver] = []

    def start(transport: str, **settings: Any) -> Intake:
        chosen = DicomSettings(
            **{"port": 0, "transport": transport, "minimum_free_mb": 0, "durable": False, **settings}
        )
        archive = Archive(tmp_path / "data", durable=chosen.durable)
        database = open_database()
        receiver = Receiver(chosen, "OVERREAD", archive, database)
        port = receiver.start()
        receivers.append(receiver)
        return Intake(receiver, archive, database, port)

    yield start
    for receiver in receivers:
        receiver.stop()


@pytest.fixture
def intake(start_intake: Callable[..., Intake], transport: str) -> Intake:
    return start_intake(transport)
