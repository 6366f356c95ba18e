"""The sums that monitoring asks for."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from storage.database import Database, now
from storage.figures import last_image_at, turnaround
from tests.node.web import rows


def test_turnaround_runs_from_the_last_image_to_the_last_delivery(database: Database, tmp_path: Path) -> None:
    moment = now()
    with database.session() as session:
        for seconds in (20, 45, 500):
            study = rows.add_study(session, at=moment)
            revision = rows.read_and_deliver(session, study, tmp_path, findings=0)
            revision.finished_at = moment + timedelta(seconds=seconds)
        rows.fail(session, rows.add_study(session, at=moment), "infer", "The lamp was out.")
    with database.snapshot() as session:
        taken = turnaround(session, (30, 60, 100))
    assert taken.at_most == (1, 2, 2)
    assert taken.count == 3
    assert taken.total == pytest.approx(565, abs=0.01)


def test_a_late_image_does_not_shorten_the_turnaround_before_it(database: Database, tmp_path: Path) -> None:
    moment = now()
    with database.session() as session:
        study = rows.add_study(session, at=moment)
        revision = rows.read_and_deliver(session, study, tmp_path, findings=0)
        revision.closed_at, revision.finished_at = moment, moment + timedelta(seconds=50)
        study.last_image_at = moment + timedelta(hours=1)
    with database.snapshot() as session:
        assert turnaround(session, ()).total == pytest.approx(50, abs=0.01)


def test_an_empty_node_has_figures_of_nothing(database: Database) -> None:
    with database.snapshot() as session:
        assert turnaround(session, (30,)).at_most == (0,)
        assert last_image_at(session) is None
