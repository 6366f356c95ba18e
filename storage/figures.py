"""What monitoring asks for: how many images came in, and how long results took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Float, case, func, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction

from storage.tables import Revision, Study


@dataclass(frozen=True)
class Entered:
    """How many rows a node has made since it started, whether or not they are still there."""

    images: int = 0
    refusals: int = 0


@dataclass(frozen=True)
class Turnaround:
    """Seconds from a revision's last image to the last of its deliveries.

    ``at_most[i]`` counts the revisions that took no longer than the i-th bound, ``count`` all of them;
    ``total`` is the sum of their seconds.
    """

    at_most: tuple[int, ...]
    count: int
    total: float


def turnaround(session: Session, bounds: Sequence[float]) -> Turnaround:
    """How long delivered revisions took. ``bounds`` in seconds, rising."""
    last_image = case(
        (Study.last_image_at < Revision.closed_at, Study.last_image_at), else_=Revision.closed_at
    )
    each = (
        select(_SecondsBetween(last_image, Revision.finished_at).label("seconds"))
        .join(Study, Study.id == Revision.study_pk)
        .where(Revision.state == "delivered", Revision.finished_at.is_not(None))
        .cte("turnarounds")
        .prefix_with("MATERIALIZED")  # so that the seconds are worked out once and not for each bound
    )
    within = [func.coalesce(func.sum(case((each.c.seconds <= bound, 1), else_=0)), 0) for bound in bounds]
    row = session.execute(
        select(func.count(), func.coalesce(func.sum(each.c.seconds), 0.0), *within).select_from(each)
    ).one()
    return Turnaround(tuple(int(n) for n in row[2:]), int(row[0]), float(row[1]))


def last_image_at(session: Session) -> datetime | None:
    return session.scalar(select(Study.last_image_at).order_by(Study.last_image_at.desc()).limit(1))


class _SecondsBetween(GenericFunction[float]):
    """``seconds_between(start, end)``: each server has its own arithmetic of moments."""

    name = "seconds_between"
    type = Float()
    inherit_cache = True


@compiles(_SecondsBetween, "sqlite")
def _sqlite_seconds(element: Any, compiler: SQLCompiler, **options: Any) -> str:
    start, end = (compiler.process(clause, **options) for clause in element.clauses)
    return f"((julianday({end}) - julianday({start})) * 86400.0)"


@compiles(_SecondsBetween, "postgresql")
def _postgresql_seconds(element: Any, compiler: SQLCompiler, **options: Any) -> str:
    start, end = (compiler.process(clause, **options) for clause in element.clauses)
    return f"EXTRACT(EPOCH FROM ({end} - {start}))"
