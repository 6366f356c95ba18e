"""A file that the disk does not give out costs its series, not the study, and somebody is told."""

from __future__ import annotations

import builtins
import errno
import io
import os
from collections.abc import Iterator
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

from inference.catalogue import Catalogue
from inference.engine import open_engine
from node.intake.files import received_file
from node.reading_room import ReadingRoom
from node.settings import Settings
from node.steps import select_series
from node.steps.done_without import AGAIN
from node.steps.job import Job
from node.workflow import may_pass
from storage import readings
from storage.archive import Archive
from storage.closing import close_quiet
from storage.database import Database, now
from storage.intake import record
from storage.tables import Event, Study
from tests.inference.series import affine_of
from training.phantoms.dicom import Series, write_ct_series


@pytest.fixture
def room(database: Database, tmp_path: Path) -> Iterator[ReadingRoom]:
    settings, catalogue = Settings(), Catalogue()
    engine = open_engine(settings.engine, catalogue)
    yield ReadingRoom(settings, database, Archive(tmp_path, durable=False), catalogue, engine)
    engine.close()


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    """Two series of a chest, of 20 slices each."""
    voxels, affine = np.zeros((20, 64, 64), np.int16), affine_of((2.0, 0.8, 0.6))
    return [
        path
        for number in (1, 2)
        for path in write_ct_series(tmp_path / str(number), voxels, affine, series=Series(number=number))
    ]


def taken_in(room: ReadingRoom, paths: list[Path]) -> Job:
    with room.database.session() as session:
        record(session, [received_file(path, now()) for path in paths])
        study = session.scalars(select(Study)).one()
        study.read_now = True
        close_quiet(session, now(), lambda study: True)
        return Job(study.uid, 1)


def withhold(path: Path, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    openly = open

    def troubled(file: object, *args: Any, **kwargs: Any) -> Any:
        if str(file) == str(path):
            raise OSError(code, os.strerror(code), str(file))
        return openly(file, *args, **kwargs)  # type: ignore[call-overload]

    for module in (builtins, io):
        monkeypatch.setattr(module, "open", troubled)


@pytest.mark.parametrize("number", [0, 3])
@pytest.mark.parametrize("code", [errno.EIO, errno.EACCES])
def test_the_other_series_of_the_study_is_read_and_the_timeline_says_why_not_both(
    code: int, number: int, room: ReadingRoom, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = taken_in(room, paths)
    withhold(paths[number], code, monkeypatch)
    assert len(select_series(room, job)) == 1
    with room.database.snapshot() as session:
        (told,) = session.scalars(select(Event.text).where(Event.stage == "select", Event.level == "error"))
        assert readings.find_revision(session, *astuple(job)[:2]).state == "reading"
    assert os.strerror(code) in told and str(paths[number]) in told and told.endswith(AGAIN)


def test_a_study_of_which_nothing_else_is_read_is_not_skipped_for_it(
    room: ReadingRoom, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = taken_in(room, paths[:20])
    withhold(paths[3], errno.EIO, monkeypatch)
    with pytest.raises(OSError, match="Input/output error") as caught:
        select_series(room, job)
    assert may_pass(caught.value)  # so the step is begun again, and the study seen to have failed in the end
    with room.database.snapshot() as session:
        assert readings.find_revision(session, *astuple(job)[:2]).state != "skipped"


def test_a_machine_in_trouble_costs_no_series(
    room: ReadingRoom, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = taken_in(room, paths)
    withhold(paths[3], errno.EMFILE, monkeypatch)
    with pytest.raises(OSError, match="Too many open files"):
        select_series(room, job)
