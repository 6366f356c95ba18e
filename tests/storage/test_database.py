"""What was written is there after a power cut, where the site wants that."""

from __future__ import annotations

import pytest
from sqlalchemy.orm import Session

from storage.database import Database

NORMAL, FULL = 1, 2


def synchronous(session: Session) -> int:
    return int(session.connection().exec_driver_sql("PRAGMA synchronous").scalar_one())


@pytest.mark.only_on("sqlite", "PostgreSQL syncs as it is set up itself")
@pytest.mark.parametrize(("durable", "expected"), [(True, FULL), (False, NORMAL)])
def test_a_durable_sqlite_syncs_at_each_commit(durable: bool, expected: int, database_url: str) -> None:
    database = Database(database_url, durable=durable)
    with database.session() as session:
        assert synchronous(session) == expected
    with database.durable_session() as session:
        assert synchronous(session) == FULL
    with database.session() as session:
        assert synchronous(session) == expected
    database.close()
