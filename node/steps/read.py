"""From voxels to findings."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from inference.findings import Reading
from inference.readers import READERS
from node.priors.own_results import fetch_own_results, under_known_uids
from node.reading_room import ReadingRoom
from node.results.identity import tracking_uid
from node.results.recovery import recover
from node.steps.job import Assignment, Job, enter, keep_reading, note, own_results_folder, series_of
from storage import readings


def infer(room: ReadingRoom, job: Job, assignment: Mapping[str, Any]) -> None:
    """Read the series and keep the reading; one that was read before, by the same weights, is not again."""
    task = Assignment.of(assignment)
    enter(room, job, "infer")
    if room.archive.has_reading(task.identity):
        with room.database.session() as session:
            note(session, job, "infer", f"{task.reader} has read these very images before")
        return
    started = time.perf_counter()
    reading, notes = read_series(room, task.reader, task.identity, series_of(room, job)[task.series_uid])
    told = _known(room, job, task)
    if told is not None:
        reading = under_known_uids(reading, told)
        keep_reading(room, reading, task.identity)
    with room.database.session() as session:
        if told is not None:
            note(
                session, job, "infer", "its lesions are known by the results in the PACS, and keep their UIDs"
            )
        for correction in notes:
            note(session, job, "infer", correction, "warning")
        took = time.perf_counter() - started
        note(session, job, "infer", f"{task.reader} found {len(reading.findings)} in {took:.1f} s")


def _known(room: ReadingRoom, job: Job, task: Assignment) -> Reading | None:
    """What the study's own results in the archives tell, for a node that remembers none."""
    with room.database.snapshot() as session:
        if readings.earlier_reading(session, job.study_uid, job.revision, task.reader) is not None:
            return None
    found = fetch_own_results(room, job.study_uid, task.reader, own_results_folder(room, job, task))
    told = recover(found, room.volume(series_of(room, job)[task.series_uid]), task.reader)
    return told.reading if told is not None else None


def read_series(
    room: ReadingRoom, reader: str, identity: str, paths: tuple[Path, ...]
) -> tuple[Reading, tuple[str, ...]]:
    """Read files and keep the reading under ``identity``; also the notes on what was corrected in them."""
    started = time.perf_counter()
    volume = room.volume(paths)
    decode = time.perf_counter() - started
    reading = READERS[reader].read(volume, room.engine, room.catalogue)
    reading = replace(
        reading,
        findings=tuple(f.tracked_as(tracking_uid(identity, f)) for f in reading.findings),
        seconds={"decode": decode, **reading.seconds},
    )
    keep_reading(room, reading, identity)
    return reading, volume.notes
