"""What was written is there after a power cut, where the site wants that."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from storage.database import Database

NORMAL, FULL = 1, 2


def synchronous(session: Session) -> int:
    return int(session.connection().exec_driver_sql("PRAGMA synchronous").scalar_one())


@pytest.mark.parametrize(("durable", "expected"), [(True, FULL), (False, NORMAL)])
def test_a_durable_sqlite_syncs_at_each_commit(durable: bool, expected: int, tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'overread.db'}", durable=durable)
    with database.session() as session:
        assert synchronous(session) == expected
    with database.durable_session() as session:
        assert synchronous(session) == FULL
    with database.session() as session:
        assert synchronous(session) == expected
    database.close()
