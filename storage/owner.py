"""Whose the database is: that of the one node with the data folder that its rows speak of."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage.tables import Owner


def owner_of(session: Session) -> str | None:
    """The id of the node whose database this is; None while it is nobody's."""
    return session.scalar(select(Owner.node_id))


def own(session: Session, node_id: str) -> None:
    """Make a database that is nobody's this node's."""
    session.add(Owner(node_id=node_id))
