"""What keeps a study from being compared keeps no result back, and what passes is waited for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError, OperationalError

from inference.catalogue import Catalogue
from inference.engine import EngineError
from inference.errors import UnreadableSeriesError
from node import steps
from node.priors.find import PriorSeries
from node.reading_room import ReadingRoom
from node.settings import Settings
from node.steps import compare, priors
from node.steps import read as reading_step
from node.steps.done_without import done_without
from node.steps.job import Assignment, Job
from storage.archive import Archive
from storage.database import Database
from storage.tables import Event, Instance
from tests.node.web import rows

OURS = "an error of Overread's own (TypeError: no such thing); report it with the node's log, and "
AGAIN = "once that is mended, press “Read again”"
AWAY = OperationalError("SELECT", {}, Exception("the server closed the connection"))
OVERTAKEN = IntegrityError("INSERT", {}, Exception("duplicate key"))


@pytest.fixture
def room(database: Database, tmp_path: Path) -> ReadingRoom:
    return ReadingRoom(Settings(), database, Archive(tmp_path / "data"), Catalogue(), engine=None)  # type: ignore[arg-type]


@pytest.fixture
def job(room: ReadingRoom) -> Job:
    """Of a study, and of a prior, whose images lie nowhere."""
    with room.database.session() as session:
        study = rows.add_study(session)
        rows.close(session, study)
        session.execute(update(Instance).values(revision=1))
        return Job(study.uid, 1)


@pytest.fixture
def assignment(job: Job) -> dict[str, Any]:
    return asdict(Assignment("lung-nodules", f"{job.study_uid}.2", "ab" * 32))


def told(room: ReadingRoom, job: Job) -> tuple[str, str]:
    """The last line of the timeline, and its level."""
    with room.database.snapshot() as session:
        of_study = select(Event.level, Event.text).where(Event.study_uid == job.study_uid)
        level, text = session.execute(of_study.order_by(Event.id.desc()).limit(1)).one()
        return level, text


def raising(error: Exception) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "level", "reason"),
    [
        (UnreadableSeriesError("a slice is missing."), "warning", "a slice is missing."),
        (EngineError("the forecaster does not run"), "error", f"the forecaster does not run; {AGAIN}"),
        (OSError(5, "Input/output error"), "error", f"[Errno 5] Input/output error; {AGAIN}"),
        (TypeError("no such thing"), "error", OURS + AGAIN),
    ],
)
def test_the_timeline_says_why_and_who_is_to_mend_it(
    error: Exception, level: str, reason: str, room: ReadingRoom, job: Job
) -> None:
    with done_without(room, job, "compare", "delivered without comparison"):
        raise error
    assert told(room, job) == (level, f"delivered without comparison: {reason}")


@pytest.mark.parametrize(("folder", "level"), [("images", "warning"), ("models", "error")])
def test_of_what_is_gone_only_images_are_nobodys_to_mend_here(
    folder: str, level: str, room: ReadingRoom, job: Job
) -> None:
    path = room.archive.root / folder / "1"
    with done_without(room, job, "compare", "delivered without comparison"):
        path.read_bytes()
    assert told(room, job)[0] == level
    assert told(room, job)[1].endswith(AGAIN) == (level == "error")


@pytest.mark.parametrize(
    "error", [AWAY, OVERTAKEN, OSError(28, "No space left on device"), OSError(24, "Too many open files")]
)
def test_what_passes_is_not_done_without(error: Exception, room: ReadingRoom, job: Job) -> None:
    before = told(room, job)
    with pytest.raises(type(error)), done_without(room, job, "compare", "delivered without comparison"):
        raise error
    assert told(room, job) == before


def test_a_comparison_that_cannot_be_made_leaves_the_reading_as_it_was(
    room: ReadingRoom, job: Job, assignment: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    prior = asdict(PriorSeries("1.2.3", "20220101", "1.2.3.1", "cd" * 32))
    assert steps.compare_with_priors(room, job, assignment, [prior]) == "ab" * 32
    level, text = told(room, job)
    assert level == "error"  # neither reading is kept any more, and nobody but the disk loses one
    assert text.startswith("delivered without comparison: ")
    monkeypatch.setattr(compare, "kept_reading", raising(AWAY))
    with pytest.raises(OperationalError):
        steps.compare_with_priors(room, job, assignment, [prior])


def test_a_prior_that_cannot_be_read_is_not_compared_with(
    room: ReadingRoom, job: Job, assignment: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    prior = asdict(PriorSeries("1.2.3", "20220101", "1.2.3.1", "cd" * 32))
    assert steps.read_prior(room, job, assignment, prior, []) is None
    said = "not compared with the study of 2022-01-01: There are no files to read."
    assert told(room, job) == ("warning", said)
    monkeypatch.setattr(priors, "recover", raising(TypeError("no such thing")))
    monkeypatch.setattr(ReadingRoom, "volume", lambda *_: None)
    assert steps.read_prior(room, job, assignment, prior, []) is None
    assert told(room, job) == ("error", f"not compared with the study of 2022-01-01: {OURS}{AGAIN}")


def test_a_search_for_priors_that_fails_leaves_the_study_without_any(
    room: ReadingRoom, job: Job, assignment: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(priors.search, "find_priors", raising(TypeError("no such thing")))
    assert steps.find_priors(room, job, assignment) == []
    assert told(room, job) == ("error", f"not compared with any earlier study: {OURS}{AGAIN}")
    monkeypatch.setattr(priors.search, "find_priors", raising(AWAY))
    with pytest.raises(OperationalError):
        steps.find_priors(room, job, assignment)


def test_results_in_the_pacs_that_make_no_sense_keep_no_study_from_being_read(
    room: ReadingRoom, job: Job, assignment: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ReadingRoom, "volume", lambda *_: None)
    monkeypatch.setattr(reading_step, "recover", raising(TypeError("no such thing")))
    assert reading_step._known(room, job, Assignment.of(assignment))[0] is None
    said = f"its lesions get new UIDs, not those of its results in the PACS: {OURS}{AGAIN}"
    assert told(room, job) == ("error", said)
