"""Keeps the database and the data folder together: each speaks of the other, and neither of a stranger's."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

from storage.archive import ArchiveError
from storage.database import Database
from storage.durable import sync_files
from storage.owner import is_used, own, owner_of

NODE_ID = "node-id"  # in the data folder; a container's host name, say, is another one after an upgrade


def check_owner(data_dir: Path, database: Database) -> None:
    """
    Raises:
        ArchiveError: the database is that of another data folder: a disk that is not mounted, or another
            node's. With it, every result that waits there would be given up as missing here.
    """
    kept = data_dir / NODE_ID
    here = _read(kept)
    with database.snapshot() as session:
        owner = owner_of(session)
        is_anothers = owner != here if owner else not here and is_used(session)
    if is_anothers:
        way_on = f"write {owner or 'any name'} into {kept}"
        raise ArchiveError(
            f"The database {database.named} is not that of {data_dir}. Is the disk of node.data_dir mounted, "
            "and does no other node use this database? Each node has one of its own. To go on with this "
            f"folder all the same, without the images and results of the other, {way_on}."
        )


def node_id_of(data_dir: Path, database: Database) -> str:
    """This node's id, made at its first start and kept in its data folder and in its database, whose owner
    was checked."""
    kept = data_dir / NODE_ID
    with database.session() as session:
        if (owner := owner_of(session)) is not None:
            return owner
        if not _read(kept):
            kept.write_text(uuid4().hex, encoding="ascii")
            sync_files([kept])
        node_id = _read(kept)
        own(session, node_id)
    return node_id


def _read(kept: Path) -> str:
    return kept.read_text(encoding="ascii", errors="replace").strip() if kept.exists() else ""
