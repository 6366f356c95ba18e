"""From voxels to findings."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from inference import reading_json
from inference.findings import Reading
from inference.growth.assess import assessed
from inference.readers import READERS, Search, search_lungs
from inference.volume import Volume
from node.ahead import Made
from node.priors.own_results import fetch_own_results, under_known_uids
from node.reading_room import ReadingRoom
from node.results.identity import tracking_uid
from node.results.recovery import recover
from node.steps.done_without import done_without
from node.steps.job import (
    Assignment,
    Job,
    enter,
    files_of,
    in_one_frame,
    keep_reading,
    note,
    own_results_folder,
)
from node.stopping import Stopping
from storage import readings

log = logging.getLogger(__name__)


def infer(room: ReadingRoom, job: Job, assignment: Mapping[str, Any]) -> None:
    """Read the series and keep the reading; one that was read before, by the same weights, is not again."""
    task = Assignment.of(assignment)
    enter(room, job, "infer")
    if room.archive.has_reading(task.identity):
        with room.database.session() as session:
            note(session, job, "infer", f"{task.reader} has read these very images before")
        return
    made = made_for(room, task, files_of(room, job, task))
    reading = made.reading
    known, whence = _known(room, job, task)
    if known is not None:
        reading = under_known_uids(reading, known)
    keep_reading(room, reading, task.identity)
    with room.database.session() as session:
        if known is not None:
            note(session, job, "infer", f"its lesions are known by {whence}, and keep their UIDs")
        for caveat in reading.caveats:
            note(session, job, "infer", caveat.statement, "warning")
        when = " while the study was awaited" if made.awaited else ""
        found = f"{task.reader} found {len(reading.findings)} in {made.seconds:.1f} s{when}"
        note(session, job, "infer", found)


def _known(room: ReadingRoom, job: Job, task: Assignment) -> tuple[Reading | None, str]:
    """The same study as it was read before, and who tells of it: this node, whose results went out under
    tracking UIDs that lesions must keep; or, for a node that remembers nothing, its results in the PACS."""
    with room.database.snapshot() as session:
        earlier = readings.earlier_reading(session, job.study_uid, job.revision, task.reader)
    if earlier is not None:
        before = reading_json.from_json(earlier.body)
        known = before if in_one_frame(room, job, before.series_uid, task.series_uid) else None
        return known, "its earlier reading"
    with done_without(room, job, "infer", "its lesions get new UIDs, not those of its results in the PACS"):
        found = fetch_own_results(room, job.study_uid, task.reader, own_results_folder(room, job, task))
        told = recover(found, room.volume(files_of(room, job, task)), task.reader, room.load_frames)
        return (told.reading if told is not None else None), "the results in the PACS"
    return None, ""


def made_for(room: ReadingRoom, task: Assignment, paths: tuple[Path, ...]) -> Made:
    """The reading of files that was made ahead of the task, or one made now; what is made with it is kept for
    its own turn."""
    ahead = room.ahead.take(task.identity)
    if ahead is not None:
        return ahead
    made = make_readings(room, task, paths)
    for identity in made.keys() - {task.identity}:
        room.ahead.keep(identity, made[identity])
    return made[task.identity]


def make_readings(room: ReadingRoom, task: Assignment, paths: tuple[Path, ...]) -> dict[str, Made]:
    """Read files by the task's reader and, with the search that it begins with, by those beside it that have
    not; each under its identity. Where one beside it fails, that is left to its own turn.

    Nothing is kept: what lies under an identity counts as final, and the tracking UIDs may not be.
    """
    started = time.perf_counter()
    volume = room.volume(paths)
    decode = time.perf_counter() - started
    beside = _to_be_read(room, task, paths)
    search = search_lungs(volume, room.engine, room.catalogue) if beside else None
    made = {task.identity: _made(room, task.reader, task.identity, volume, search, decode)}
    for identity, reader in beside.items():
        try:
            made[identity] = _made(room, reader, identity, volume, search)
        except (Exception, Stopping):  # whatever it is, its own turn meets it, and tells of it
            log.info(
                "series %s is not read by %s beside %s", task.series_uid, reader, task.reader, exc_info=True
            )
    return made


def _to_be_read(room: ReadingRoom, task: Assignment, paths: tuple[Path, ...]) -> dict[str, str]:
    """The readers beside it that have no reading of these files, by the identity that it would have."""
    beside = {room.identity(reader, task.series_uid, paths): reader for reader in task.beside}
    return {
        identity: reader
        for identity, reader in beside.items()
        if identity not in room.ahead and not room.archive.has_reading(identity)
    }


def _made(
    room: ReadingRoom,
    name: str,
    identity: str,
    volume: Volume,
    search: Search | None,
    decode: float = 0.0,
) -> Made:
    """Lesions under tracking UIDs of their own, and assessed as at first sight. decode: seconds of it."""
    reader = READERS[name]
    if search is None or reader.read_searched is None:
        reading = reader.read(volume, room.engine, room.catalogue)
    else:
        reading = reader.read_searched(volume, room.engine, room.catalogue, search)
    tracked = tuple(f.tracked_as(tracking_uid(identity, f)) for f in reading.findings)
    seconds = {"decode": decode, **reading.seconds}
    caveats = (*volume.caveats, *reading.caveats)
    reading = replace(reading, findings=tracked, caveats=caveats, seconds=seconds)
    return Made(assessed(reading, volume))
