"""Whose the database is: that of the one node with the data folder that its rows speak of."""

from __future__ import annotations

from sqlalchemy import inspect, select
from sqlalchemy.orm import Session

from storage.tables import Owner, Study


def owner_of(session: Session) -> str | None:
    """The id of the node whose database this is; None while it is nobody's, with or without its tables."""
    return session.scalar(select(Owner.node_id)) if _has(session, Owner.__tablename__) else None


def is_used(session: Session) -> bool:
    """Whether a study was entered, in whatever version of the tables."""
    return _has(session, Study.__tablename__) and session.scalar(select(Study.id).limit(1)) is not None


def own(session: Session, node_id: str) -> None:
    """Make a database that is nobody's this node's."""
    session.add(Owner(node_id=node_id))


def _has(session: Session, table: str) -> bool:
    return inspect(session.connection()).has_table(table)
