"""The steps of a reading. Each takes what was stored, stores what it made, and may be run again."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image
from sqlalchemy.orm import Session

from inference import reading_json
from inference.readers import READERS
from node import results
from node.reading_room import ReadingRoom
from node.results.identity import reading_identity, tracking_uid
from node.results.keyimages import key_image
from node.results.moment import acquired_at
from node.routing import Choice, describe, select
from storage import deliveries, readings
from storage.choices import SeriesChoice
from storage.events import Level, log_event
from storage.intake import instances_of
from storage.readings import StoredObject, StoredReading


@dataclass(frozen=True)
class Job:
    """One revision of a study to be read."""

    study_uid: str
    revision: int


@dataclass(frozen=True)
class Assignment:
    """One reader's series. ``identity`` hashes the images, the weights and the settings; ``unchanged``: an
    earlier reading has the same and still stands."""

    reader: str
    series_uid: str
    identity: str
    unchanged: bool


def select_series(room: ReadingRoom, job: Job) -> list[dict[str, Any]]:
    """Choose which series is read by whom; a study with nothing to read ends skipped."""
    with room.database.session() as session:
        if not readings.begin(session, job.study_uid, job.revision):
            return []
        readings.enter_stage(session, job.study_uid, job.revision, "select")
    series = _series(room, job)
    choices = select([describe(uid, paths) for uid, paths in series.items()], room.routes, room.readers)
    with room.database.session() as session:
        for choice in choices:
            _log(session, job, "select", _said(choice).text)
        assignments = [
            _assign(room, job, session, choice.reader, choice.series_uid, series[choice.series_uid])
            for choice in choices
            if choice.chosen and choice.reader
        ]
        if not assignments:
            reason = "nothing to read: " + "; ".join(dict.fromkeys(choice.reason for choice in choices))
            readings.finish(session, job.study_uid, job.revision, "skipped", stage="select", reason=reason)
    return [asdict(assignment) for assignment in assignments]


def infer(room: ReadingRoom, job: Job, assignment: Mapping[str, Any]) -> None:
    """Read the series, and keep the reading with its masks beside the results to come."""
    task = Assignment(**assignment)
    if task.unchanged:
        return
    with room.database.session() as session:
        readings.enter_stage(session, job.study_uid, job.revision, "infer")
    started = time.perf_counter()
    volume = room.volume(_series(room, job)[task.series_uid])
    decode = time.perf_counter() - started
    reading = READERS[task.reader].read(volume, room.engine, room.catalogue)
    reading = replace(
        reading,
        findings=tuple(f.tracked_as(tracking_uid(task.identity, f)) for f in reading.findings),
        seconds={"decode": decode, **reading.seconds},
    )
    reading_json.save(reading, _folder(room, job, task))
    with room.database.session() as session:
        for note in volume.notes:
            _log(session, job, "infer", note, "warning")
        took = time.perf_counter() - started
        _log(session, job, "infer", f"{task.reader} found {len(reading.findings)} in {took:.1f} s")


def write_results(room: ReadingRoom, job: Job, assignment: Mapping[str, Any]) -> None:
    """Turn the reading into DICOM objects and key images, and remember it."""
    task = Assignment(**assignment)
    with room.database.session() as session:
        readings.enter_stage(session, job.study_uid, job.revision, "results")
        earlier = readings.earlier_reading(session, job.study_uid, job.revision, task.reader)
        if task.unchanged and earlier:
            readings.repeat_reading(session, job.study_uid, job.revision, earlier)
            _log(session, job, "results", f"{task.reader}: nothing changed, the earlier results stand")
            return
    folder = _folder(room, job, task)
    reading = reading_json.load(folder)
    started = time.perf_counter()
    paths = _series(room, job)[task.series_uid]
    volume = room.volume(paths)
    written = results.write(
        reading,
        volume,
        paths,
        folder,
        kinds=room.kinds,
        when=acquired_at(paths[0]),
        identity=task.identity,
        predecessors=_predecessors(room, earlier),
    )
    pictures = [folder / f"key-{number}.png" for number, _ in enumerate(reading.findings, 1)]
    for finding, picture in zip(reading.findings, pictures, strict=True):
        Image.fromarray(key_image(finding, volume)).save(picture)
    reading = replace(reading, seconds={**reading.seconds, "results": time.perf_counter() - started})
    objects = [
        StoredObject(o.kind, o.sop_class, o.sop_instance_uid, room.archive.relative(o.path)) for o in written
    ]
    body = reading_json.to_json(reading) | {
        "objects": [{"sop_class": o.sop_class, "sop_instance_uid": o.uid, "path": o.path} for o in objects]
    }
    with room.database.session() as session:
        readings.save_reading(
            session,
            job.study_uid,
            job.revision,
            task.identity,
            body,
            reading.findings,
            [room.archive.relative(picture) for picture in pictures],
            objects,
        )
        _log(session, job, "results", f"{task.reader}: {', '.join(o.kind.upper() for o in objects)} written")


def deliver(room: ReadingRoom, job: Job, failures: Sequence[tuple[str, str]]) -> None:
    """Post every object to every destination that can show it; the outbox does the rest."""
    with room.database.session() as session:
        made = readings.readings_of(session, job.study_uid, job.revision)
        for stage, reason in failures:
            _log(session, job, stage, reason, "error")
        stage, reason = failures[0] if failures else ("deliver", "")
        readings.finish(session, job.study_uid, job.revision, "delivering", stage=stage, reason=reason)
        for destination in room.settings.destinations:
            wanted = [o for reading in made for o in reading.objects if o.kind in destination.objects]
            posted = deliveries.post(session, job.study_uid, job.revision, destination.name, wanted)
            _log(session, job, "deliver", f"{posted} objects posted to {destination.name}")
        if made and not room.settings.destinations:
            _log(session, job, "deliver", "no destination is set: the results stay here", "warning")
        deliveries.settle(session, job.study_uid, job.revision)


def fail(room: ReadingRoom, job: Job, stage: str, reason: str) -> None:
    """End the reading where a person can see why."""
    with room.database.session() as session:
        readings.finish(session, job.study_uid, job.revision, "failed", stage=stage, reason=reason)
        _log(session, job, stage, reason, "error")


def _series(room: ReadingRoom, job: Job) -> dict[str, tuple[Path, ...]]:
    with room.database.snapshot() as session:
        found = instances_of(session, job.study_uid, job.revision)
    return {uid: tuple(room.archive.path(path) for path in paths) for uid, paths in found.items()}


def _assign(
    room: ReadingRoom, job: Job, session: Session, reader: str, series_uid: str, paths: Sequence[Path]
) -> Assignment:
    models = [room.catalogue.find(name).identity for name in READERS[reader].models]
    identity = reading_identity(reader, series_uid, (path.stem for path in paths), models, {})
    earlier = readings.earlier_reading(session, job.study_uid, job.revision, reader)
    unchanged = earlier is not None and earlier.identity == identity
    return Assignment(reader, series_uid, identity, unchanged)


def _said(choice: Choice) -> SeriesChoice:
    return SeriesChoice(choice.series_uid, choice.reader or "", choice.chosen, choice.reason)


def _folder(room: ReadingRoom, job: Job, task: Assignment) -> Path:
    return room.archive.results_folder(job.study_uid, job.revision) / task.reader


def _predecessors(room: ReadingRoom, earlier: StoredReading | None) -> list[results.Predecessor]:
    """The objects of the reading that this one replaces, as far as they are still here."""
    objects = earlier.objects if earlier else ()
    paths = [room.archive.path(o.path) for o in objects]
    return [results.Predecessor.from_file(path) for path in paths if path.exists()]


def _log(session: Session, job: Job, stage: str, text: str, level: Level = "info") -> None:
    log_event(session, stage, text, study_uid=job.study_uid, revision=job.revision, level=level)
