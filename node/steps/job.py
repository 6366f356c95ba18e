"""What every step is told, and what several of them need."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydicom import dcmread
from sqlalchemy.orm import Session

from inference import reading_json
from inference.findings import Finding, Reading
from inference.growth.frames import FramesAligned
from node.priors.find import PriorSeries
from node.reading_room import ReadingRoom
from storage import readings
from storage.events import Level, log_event
from storage.intake import instances_of
from storage.priors import images_of

_SEEN_AGAIN = "seen-again"


@dataclass(frozen=True)
class Job:
    """One revision of a study to be read."""

    study_uid: str
    revision: int


@dataclass(frozen=True)
class Assignment:
    """One reader's series. ``identity`` hashes the images, the weights and the settings. ``companion_uid``:
    the series it is read with, such as the CT of a PET. ``beside``: readers that come to the same files after
    it, and begin with the same search."""

    reader: str
    series_uid: str
    identity: str
    companion_uid: str = ""
    beside: tuple[str, ...] = ()

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Self:
        companion_uid, beside = body.get("companion_uid", ""), tuple(body.get("beside", ()))
        return cls(body["reader"], body["series_uid"], body["identity"], companion_uid, beside)

    def files_among(self, series: Mapping[str, tuple[Path, ...]]) -> tuple[Path, ...]:
        """What is read of the files of each series: those of its own, and of the one beside it."""
        return (*series[self.series_uid], *series.get(self.companion_uid, ()))


def series_of(room: ReadingRoom, job: Job) -> dict[str, tuple[Path, ...]]:
    """The files of each series that this revision stands on."""
    with room.database.snapshot() as session:
        found = instances_of(session, job.study_uid, job.revision)
    return {uid: room.files(paths) for uid, paths in found.items()}


def in_one_frame(room: ReadingRoom, job: Job, one: str, other: str) -> bool:
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


def files_of(room: ReadingRoom, job: Job, task: Assignment) -> tuple[Path, ...]:
    """The files that are read: those of the series, and of the one beside it."""
    return task.files_among(series_of(room, job))


def prior_files(room: ReadingRoom, prior: PriorSeries) -> tuple[Path, ...]:
    """The files that the prior's reading is of; all, where none is known to be of its revision, as of images
    that were fetched, or came again after they had been deleted."""
    with room.database.snapshot() as session:
        read = instances_of(session, prior.study_uid, prior.revision)
        series = read if prior.series_uid in read else images_of(session, prior.study_uid)
    return room.files(series.get(prior.series_uid, ()))


def own_results_folder(room: ReadingRoom, job: Job, task: Assignment) -> Path:
    """Where results of the same study lie that were fetched back from an archive."""
    return room.archive.results_folder(job.study_uid, job.revision) / f"{task.reader}-known"


def enter(room: ReadingRoom, job: Job, stage: str) -> None:
    with room.database.session() as session:
        readings.enter_stage(session, job.study_uid, job.revision, stage)


def keep_reading(
    room: ReadingRoom,
    reading: Reading,
    identity: str,
    frames: FramesAligned | None = None,
    seen_again: Mapping[str, Sequence[Finding]] | None = None,
) -> None:
    """Keep a reading with its masks, how the prior's frame lies to its own, and what was only seen in priors
    by looking again, by their study UIDs, under its identity; whole or not at all."""
    folder = room.archive.reading_folder(identity)
    part = folder.with_name(f"{identity}.part")
    shutil.rmtree(part, ignore_errors=True)
    reading_json.save(reading, part)
    if frames is not None:
        frames.save(part)
    for study_uid, findings in (seen_again or {}).items():
        of_prior = part / _SEEN_AGAIN / study_uid
        reading_json.save(Reading(reading.reader, "", reading.models, tuple(findings)), of_prior)
        room.archive.make_durable(of_prior)
        room.archive.make_durable(of_prior.parent)
    room.archive.make_durable(part)
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)
    room.archive.make_durable(folder)


def kept_reading(room: ReadingRoom, identity: str) -> Reading:
    return reading_json.load(room.archive.reading_folder(identity))


def seen_again_in(room: ReadingRoom, identity: str, study_uid: str) -> tuple[Finding, ...]:
    """What only the comparison of this reading saw in a prior."""
    folder = room.archive.reading_folder(identity) / _SEEN_AGAIN / study_uid
    return reading_json.load(folder).findings if folder.exists() else ()


def kept_frames(room: ReadingRoom, identity: str) -> FramesAligned | None:
    return FramesAligned.load(room.archive.reading_folder(identity))


def note(session: Session, job: Job, stage: str, text: str, level: Level = "info") -> None:
    log_event(session, stage, text, study_uid=job.study_uid, revision=job.revision, level=level)
