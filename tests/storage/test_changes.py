"""The mark that tells of a write."""

from __future__ import annotations

from storage.changes import ChangeMark
from storage.database import Database
from storage.overview import list_studies
from tests.node.web import rows


def test_the_mark_changes_with_every_write_and_with_no_read(database: Database) -> None:
    mark = ChangeMark(database)
    before = mark.read()
    with database.snapshot() as session:
        list_studies(session)
    assert mark.read() == before
    with database.session() as session:
        rows.add_study(session)
    after = mark.read()
    assert after != before
    assert mark.read() == after
    mark.close()
