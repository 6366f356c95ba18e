"""From voxels to findings."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydicom import dcmread

from inference import reading_json
from inference.findings import Reading
from inference.growth.assess import assessed
from inference.readers import READERS
from node.ahead import Made
from node.priors.own_results import fetch_own_results, under_known_uids
from node.reading_room import ReadingRoom
from node.results.identity import tracking_uid
from node.results.recovery import recover
from node.steps.done_without import done_without
from node.steps.job import Assignment, Job, enter, files_of, keep_reading, note, own_results_folder, series_of
from storage import readings


def infer(room: ReadingRoom, job: Job, assignment: Mapping[str, Any]) -> None:
    """Read the series and keep the reading; one that was read before, by the same weights, is not again."""
    task = Assignment.of(assignment)
    enter(room, job, "infer")
    if room.archive.has_reading(task.identity):
        with room.database.session() as session:
            note(session, job, "infer", f"{task.reader} has read these very images before")
        return
    ahead = room.ahead.take(task.identity)
    made = ahead or make_reading(room, task.reader, task.identity, files_of(room, job, task))
    reading = made.reading
    known, whence = _known(room, job, task)
    if known is not None:
        reading = under_known_uids(reading, known)
    keep_reading(room, reading, task.identity)
    with room.database.session() as session:
        if known is not None:
            note(session, job, "infer", f"its lesions are known by {whence}, and keep their UIDs")
        for correction in made.notes:
            note(session, job, "infer", correction, "warning")
        when = " while the study was awaited" if ahead else ""
        found = f"{task.reader} found {len(reading.findings)} in {made.seconds:.1f} s{when}"
        note(session, job, "infer", found)


def _known(room: ReadingRoom, job: Job, task: Assignment) -> tuple[Reading | None, str]:
    """The same study as it was read before, and who tells of it: this node, whose results went out under
    tracking UIDs that lesions must keep; or, for a node that remembers nothing, its results in the PACS."""
    with room.database.snapshot() as session:
        earlier = readings.earlier_reading(session, job.study_uid, job.revision, task.reader)
    if earlier is not None:
        before = reading_json.from_json(earlier.body)
        known = before if _in_one_frame(room, job, before.series_uid, task.series_uid) else None
        return known, "its earlier reading"
    with done_without(room, job, "infer", "its lesions get new UIDs, not those of its results in the PACS"):
        found = fetch_own_results(room, job.study_uid, task.reader, own_results_folder(room, job, task))
        told = recover(found, room.volume(files_of(room, job, task)), task.reader, room.load_frames)
        return (told.reading if told is not None else None), "the results in the PACS"
    return None, ""


def _in_one_frame(room: ReadingRoom, job: Job, one: str, other: str) -> bool:
    """Whether places in two series of the study can be compared: they are one, or share a frame of reference
    (PS3.3 C.7.4.1)."""
    series = series_of(room, job)
    if one == other:
        return True
    if not series.get(one) or not series.get(other):
        return False
    frames = {
        str(dcmread(series[uid][0], specific_tags=["FrameOfReferenceUID"]).get("FrameOfReferenceUID", ""))
        for uid in (one, other)
    }
    return len(frames) == 1 and "" not in frames


def make_reading(room: ReadingRoom, reader: str, identity: str, paths: tuple[Path, ...]) -> Made:
    """Read files, lesions under tracking UIDs of their own and assessed as at first sight. Nothing is kept:
    what lies under ``identity`` counts as final, and the UIDs may not be."""
    started = time.perf_counter()
    volume = room.volume(paths)
    decode = time.perf_counter() - started
    reading = READERS[reader].read(volume, room.engine, room.catalogue)
    reading = replace(
        reading,
        findings=tuple(f.tracked_as(tracking_uid(identity, f)) for f in reading.findings),
        seconds={"decode": decode, **reading.seconds},
    )
    return Made(assessed(reading, volume), volume.notes, time.perf_counter() - started)
