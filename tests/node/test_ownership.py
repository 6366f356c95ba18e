"""A database and a data folder that belong together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from node.ownership import NODE_ID, node_id_of
from storage.archive import ArchiveError
from storage.database import Database


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
