"""Which series is read by whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

from pydicom import Dataset

from inference.readers import READERS, search_alike
from node.reading_room import ReadingRoom
from node.routing.select import Choice, describe, select, urgency
from node.routing.series import SeriesDescription, header_of, tags_of
from node.steps.done_without import AGAIN
from node.steps.job import Assignment, Job, note, series_of
from storage import readings
from storage.choices import SeriesChoice, keep_choices
from storage.errors import said
from storage.files import may_be_of_one_file


def select_series(room: ReadingRoom, job: Job) -> list[dict[str, Any]]:
    """Choose which series is read by whom; a study with nothing to read ends skipped. A reader that leaves
    lesions to another comes after it, and so knows whether the other could report them."""
    with room.database.session() as session:
        if not readings.begin(session, job.study_uid, job.revision):
            return []
        readings.enter_stage(session, job.study_uid, job.revision, "select")
    series = series_of(room, job)
    described, choices = choose(room, series)
    assignments = assigned(room, choices, series)
    with room.database.session() as session:
        keep_choices(session, job.study_uid, job.revision, [_kept(choice) for choice in choices])
        for choice in choices:
            one = described[choice.series_uid]
            text = f"{one.name} {_said(choice)}"
            note(session, job, "select", text, "error" if one.is_withheld else "info")
        if not assignments:
            reason = _nothing_to_read(choices, described)
            readings.finish(session, job.study_uid, job.revision, "skipped", stage="select", reason=reason)
    return [asdict(assignment) for assignment in assignments]


def choose(
    room: ReadingRoom, series: Mapping[str, tuple[Path, ...]]
) -> tuple[dict[str, SeriesDescription], tuple[Choice, ...]]:
    """The series of a study by their UIDs: as they are described, and what is chosen of them and why. One of
    which the disk does not give out a file is left out.

    Raises:
        OSError: files cannot be read for now, and not just one; or without that one nothing is left to read.
    """
    described: dict[str, SeriesDescription] = {}
    withheld: OSError | None = None
    for uid, paths in series.items():
        try:
            described[uid] = describe(uid, paths)
        except OSError as error:
            if not may_be_of_one_file(error):
                raise
            problem, withheld = f"{said(error)}; {AGAIN}", error
            described[uid] = SeriesDescription(uid, {}, len(paths), problem=problem, is_withheld=True)
    choices = select(list(described.values()), room.routes, room.readers)
    if withheld is not None and not any(choice.chosen for choice in choices):
        raise withheld
    return described, choices


def assigned(
    room: ReadingRoom, choices: Sequence[Choice], series: Mapping[str, tuple[Path, ...]]
) -> list[Assignment]:
    """Who is to read what, in this order."""
    tasks = [
        _assigned(room, choice, series) for choice in sorted((c for c in choices if c.chosen), key=_yields)
    ]
    return [replace(task, beside=_beside(task, tasks[place:])) for place, task in enumerate(tasks, 1)]


def _assigned(room: ReadingRoom, choice: Choice, series: Mapping[str, tuple[Path, ...]]) -> Assignment:
    assert choice.reader is not None
    task = Assignment(choice.reader, choice.series_uid, "", choice.companion_uid)
    return replace(task, identity=room.identity(task.reader, task.series_uid, task.files_among(series)))


def _beside(task: Assignment, later: Sequence[Assignment]) -> tuple[str, ...]:
    files = task.series_uid, task.companion_uid
    return tuple(
        other.reader
        for other in later
        if (other.series_uid, other.companion_uid) == files and search_alike(task.reader, other.reader)
    )


def _yields(choice: Choice) -> bool:
    return choice.reader is not None and bool(READERS[choice.reader].yields_to)


def _kept(choice: Choice) -> SeriesChoice:
    return SeriesChoice(choice.series_uid, choice.reader or "", choice.chosen, choice.reason)


def urgency_of(room: ReadingRoom, job: Job) -> Literal["routine", "stat"]:
    """How soon a study is to be read, by the routes. Its images are opened only where a route is urgent."""
    if not any(route.priority == "stat" for route in room.routes):
        return "routine"
    headers = (
        next(filter(None, map(_header_for_now, paths)), None)
        for paths in series_of(room, job).values()
        if paths
    )
    return urgency((tags_of(header) for header in headers if header is not None), room.routes)


def _header_for_now(path: Path) -> Dataset | None:
    """None, too, where it cannot be read at the moment: that holds no study up, nor those behind it."""
    try:
        return header_of(path)
    except OSError:
        return None


def _nothing_to_read(choices: Sequence[Choice], described: Mapping[str, SeriesDescription]) -> str:
    """Each reason once, with the series that it is of."""
    titles: dict[str, dict[str, None]] = {}
    for choice in choices:
        titles.setdefault(choice.reason, {})[described[choice.series_uid].title] = None
    return "nothing to read: " + "; ".join(f"{why} ({', '.join(which)})" for why, which in titles.items())


def _said(choice: Choice) -> str:
    by = f" by {choice.reader}" if choice.reader else ""
    return f"{'read' if choice.chosen else 'not read'}{by}: {choice.reason}"
