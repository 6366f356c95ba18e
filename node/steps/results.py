"""Findings become DICOM objects and pictures."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image
from sqlalchemy.orm import Session

from inference import reading_json
from inference.findings import Reading
from inference.growth.assess import by_guidelines
from inference.readers import left_to
from node import results
from node.priors.find import PriorSeries
from node.priors.own_results import kept_results
from node.reading_room import ReadingRoom
from node.results.edition import REPORTS
from node.results.identity import edition_identity, lesser_identity, result_uid
from node.results.keyimages import key_image
from node.results.moment import acquired_at
from node.steps.job import (
    Assignment,
    Job,
    enter,
    files_of,
    in_one_frame,
    kept_frames,
    kept_reading,
    note,
    own_results_folder,
)
from node.steps.pictures import beside_priors, evidence_of
from storage import readings
from storage.contents import Content
from storage.readings import StoredObject, StoredReading


def write_results(
    room: ReadingRoom,
    job: Job,
    assignment: Mapping[str, Any],
    found: Sequence[Mapping[str, Any]],
    identity: str,
) -> None:
    """Turn the reading with this identity into DICOM objects and key images, and remember it; where the very
    same would be written as was before, those objects stand. What another reader has reported of this
    revision is left to it, where both tell places in one frame of reference."""
    task = Assignment.of(assignment)
    enter(room, job, "results")
    whole = kept_reading(room, identity)
    told = by_guidelines(whole, room.settings.results.guidelines)
    with room.database.snapshot() as session:
        others = _reported(session, job)
        earlier = readings.earlier_reading(
            session, job.study_uid, job.revision, task.reader, with_objects=True
        )
    in_frame = [one for one in others if in_one_frame(room, job, one.series_uid, task.series_uid)]
    reading = left_to(in_frame, told)
    series = [PriorSeries(**prior) for prior in found]
    evidence = evidence_of(room, job, reading, series)
    udi = room.settings.results.udi
    reported = identity if told is whole else lesser_identity(identity, room.settings.results.guidelines)
    reported = reported if reading is told else lesser_identity(reported, _tracked(reading))
    edition = edition_identity(reported, room.kinds, udi=udi, evidence=evidence.uids)
    if earlier is not None and earlier.edition == edition:
        with room.database.session() as session:
            readings.repeat_reading(session, job.study_uid, job.revision, earlier)
            note(session, job, "results", f"{task.reader}: nothing changed, the earlier results stand")
        return
    started = time.perf_counter()
    folder = room.archive.results_folder(job.study_uid, job.revision) / task.reader
    paths = files_of(room, job, task)
    volume = room.volume(paths)
    compared = beside_priors(room, job, reading, volume, series, identity)
    written = results.write(
        reading,
        volume,
        paths,
        folder,
        kinds=room.kinds,
        when=acquired_at(paths[0]),
        identity=reported,
        predecessors=_predecessors(room, job, task, edition, earlier),
        prior_images=compared.prior_images,
        courses=compared.pictures,
        evidence=evidence,
        frames=kept_frames(room, identity),
        udi=udi,
    )
    folder.mkdir(parents=True, exist_ok=True)
    pictures = [folder / f"key-{number}.png" for number, _ in enumerate(reading.findings, 1)]
    for finding, picture in zip(reading.findings, pictures, strict=True):
        drawn = compared.pictures.get(finding.tracking_uid)
        Image.fromarray(key_image(finding, volume) if drawn is None else drawn).save(
            picture, compress_level=1
        )
    room.archive.make_durable(folder)
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
            identity,
            body,
            reading.findings,
            [room.archive.relative(picture) for picture in pictures],
            objects,
            edition,
        )
        contents = ", ".join(Content.of(o.path).words for o in objects)
        note(session, job, "results", f"{task.reader}: {contents} written")


def _reported(session: Session, job: Job) -> list[Reading]:
    """The readings of this revision whose results are written."""
    made = readings.readings_of(session, job.study_uid, job.revision)
    return [reading_json.from_json(one.body) for one in made]


def _tracked(reading: Reading) -> list[str]:
    return sorted(finding.tracking_uid for finding in (*reading.findings, *reading.resolved))


def _predecessors(
    room: ReadingRoom, job: Job, task: Assignment, edition: str, earlier: StoredReading | None
) -> list[results.Predecessor]:
    """The objects of the reading that this one replaces, as far as they are still here. Objects fetched back
    from an archive are replaced too, unless they are the very ones that are about to be made."""
    if earlier is not None:
        paths: list[Path] = [room.archive.path(o.path) for o in earlier.objects]
        return [results.Predecessor.from_file(path) for path in paths if path.exists()]
    known = kept_results(own_results_folder(room, job, task))
    found = [results.Predecessor.from_file(path) for path in known]
    again = {result_uid(role, edition) for role in REPORTS}
    return [] if again & {one.sop_instance_uid for one in found} else found
