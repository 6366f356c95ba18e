"""A database and a data folder that belong together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text

from node.app import Node
from node.ownership import NODE_ID, check_owner
from node.ownership import node_id_of as kept_id_of
from node.settings import Settings
from storage.archive import ArchiveError
from storage.database import Database
from tests.databases import Databases
from tests.node.web import rows


def node_id_of(data_dir: Path, database: Database) -> str:
    """As a start asks for it."""
    check_owner(data_dir, database)
    return kept_id_of(data_dir, database)


@pytest.fixture
def folder(tmp_path: Path) -> Callable[[str], Path]:
    def make(name: str) -> Path:
        (tmp_path / name).mkdir()
        return tmp_path / name

    return make


def test_a_node_keeps_its_id(folder: Callable[[str], Path], database: Database) -> None:
    data = folder("data")
    first = node_id_of(data, database)
    assert first
    assert node_id_of(data, database) == first


def test_the_id_of_an_earlier_version_is_kept(folder: Callable[[str], Path], database: Database) -> None:
    data = folder("data")
    (data / NODE_ID).write_text("earlier")
    assert node_id_of(data, database) == "earlier"


@pytest.mark.parametrize("has_been_used", [True, False])
def test_a_folder_that_is_not_the_databases_is_refused_until_it_is_said_to_be_meant(
    has_been_used: bool, folder: Callable[[str], Path], database: Database
) -> None:
    own = node_id_of(folder("data"), database)
    other = folder("not-mounted")
    if has_been_used:
        (other / NODE_ID).write_text("another node's")
    before = sorted(other.iterdir())
    with pytest.raises(ArchiveError, match="Is the disk of node") as refused:
        node_id_of(other, database)
    assert sorted(other.iterdir()) == before

    assert f"write {own} into {other / NODE_ID}" in str(refused.value)
    (other / NODE_ID).write_text(f"{own}\n")
    assert node_id_of(other, database) == own


def test_an_earlier_versions_database_is_not_taken_for_an_empty_folders(
    folder: Callable[[str], Path], database: Database
) -> None:
    with database.session() as session:
        rows.add_study(session)
    unmounted = folder("not-mounted")
    with pytest.raises(ArchiveError, match="mounted"):
        node_id_of(unmounted, database)
    (unmounted / NODE_ID).write_text("meant")
    assert node_id_of(unmounted, database) == "meant"


def test_a_strangers_database_is_refused_before_its_tables_are_changed(
    folder: Callable[[str], Path], databases: Databases, tmp_path: Path
) -> None:
    with databases.empty(tmp_path) as url:
        database = Database(url)
        database.upgrade("0011")
        with database.engine.begin() as connection:
            connection.execute(text("INSERT INTO owner VALUES ('a neighbour')"))
        settings = {"node": {"data_dir": folder("data")}, "database": {"url": url}}
        with pytest.raises(ArchiveError):
            Node(Settings.model_validate(settings)).start()
        with database.engine.connect() as connection:
            assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == "0011"
        database.close()
