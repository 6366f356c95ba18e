"""The priors of a study: found, fetched, and read where they have not been."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from inference import reading_json
from inference.dates import as_day
from inference.findings import Reading
from inference.growth.compare import Comparison
from node.peers.archive import ArchiveAnswerError
from node.priors import find as search
from node.priors.find import PriorSeries, identity_with
from node.reading_room import ReadingRoom
from node.results.recovery import recover
from node.steps.compare import set_against
from node.steps.done_without import done_without
from node.steps.job import Assignment, Job, enter, keep_reading, note, prior_files
from node.steps.read import made_for
from storage import fetching, priors


def find_priors(room: ReadingRoom, job: Job, assignment: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Find the priors of a series, the newest first, and fetch what is not here. An archive that does not
    answer is noted; the study is compared again when it does."""
    task = Assignment.of(assignment)
    enter(room, job, "priors")
    with done_without(room, job, "priors", "not compared with any earlier study"):
        return _found(room, job, task)
    return []


def _found(room: ReadingRoom, job: Job, task: Assignment) -> list[dict[str, Any]]:
    outcome = search.find_priors(room, job.study_uid, task.reader, task.series_uid)
    pause = timedelta(seconds=room.settings.priors.retry_seconds)
    for date, reason in outcome.unreadable:
        with done_without(room, job, "priors", _not_compared_with(date)):
            raise reason
    with room.database.session() as session:
        for said in outcome.notes:
            note(session, job, "priors", said)
        for name in set(outcome.answered) - outcome.unanswered.keys():
            fetching.note_answered(session, job.study_uid, name)
        for name, error in outcome.unanswered.items():
            longest = fetching.LONGEST_PAUSE if _is_away(error) else fetching.LONGEST_PAUSE_AFTER_AN_ERROR
            fetching.note_unanswered(session, job.study_uid, name, str(error), pause, longest)
            text = f"earlier studies in {name} are not compared with, and will be when it answers: {error}"
            note(session, job, "priors", text, "warning")
        said_why = outcome.notes or outcome.unanswered or outcome.unreadable
        if not (outcome.found or said_why) and room.settings.priors.enabled:
            where = "here or in the archives" if room.archives else "here, and no archive is set to look in"
            note(session, job, "priors", f"no earlier study to compare with is {where}")
        if outcome.found:
            dates = ", ".join(as_day(prior.date) for prior in outcome.found)
            note(session, job, "priors", f"to be compared with {len(outcome.found)} earlier: {dates}")
    return [asdict(prior) for prior in outcome.found]


def _not_compared_with(date: str) -> str:
    return f"not compared with the study of {as_day(date)}"


def _is_away(error: Exception) -> bool:
    """Whether a C-ECHO tells when to ask again; an archive that answers with an error would answer it too."""
    return not isinstance(error, ArchiveAnswerError) or error.away


def read_prior(
    room: ReadingRoom,
    job: Job,
    assignment: Mapping[str, Any],
    prior: Mapping[str, Any],
    older: Sequence[Mapping[str, Any]],
) -> dict[str, Any] | None:
    """See to it that a prior has a reading: the one it had before, the one told by its results in the PACS,
    or one made now and compared with the ``older`` ones. None where it cannot be read; the timeline says
    why."""
    task, series = Assignment.of(assignment), PriorSeries(**prior)
    earlier = [PriorSeries(**one) for one in older]
    for identity in (series.identity, _identity_with(room, task, series, earlier)):
        if room.archive.has_reading(identity):
            return asdict(replace(series, identity=identity))
    with done_without(room, job, "priors", _not_compared_with(series.date)):
        reading, how, identity = _told_or_read(room, task, series)
        compared = Comparison(reading)
        if earlier and how == "read":
            volume = room.volume(prior_files(room, series))
            without = f"the study of {as_day(series.date)} is not compared"
            compared, earlier = set_against(
                room, job, reading, identity, volume, earlier, series.date, without
            )
            identity = _identity_with(room, task, series, earlier)
        reading = compared.reading
        keep_reading(room, reading, identity, compared.frames, compared.seen_again)
        body = reading_json.to_json(reading) | {"objects": []}
        with room.database.session() as session:
            if series.fetched:
                priors.save_prior_reading(session, series.study_uid, identity, body, reading.findings)
            text = f"the study of {as_day(series.date)} was {how}: {len(reading.findings)} found"
            note(session, job, "priors", text)
        return asdict(replace(series, identity=identity))
    return None


def _told_or_read(room: ReadingRoom, task: Assignment, series: PriorSeries) -> tuple[Reading, str, str]:
    paths = prior_files(room, series)
    told = recover(_results(room, series), room.volume(paths), task.reader, room.load_frames)
    if told is not None:
        return told.reading, "known by its results in the PACS", told.identity
    of_prior = Assignment(task.reader, series.series_uid, series.identity, beside=task.beside)
    made = made_for(room, of_prior, paths)
    return made.reading, "read", series.identity


def _results(room: ReadingRoom, series: PriorSeries) -> list[Path]:
    with room.database.snapshot() as session:
        objects = priors.results_of(session, series.study_uid)
    return list(room.files(objects))


def _identity_with(
    room: ReadingRoom, task: Assignment, series: PriorSeries, earlier: Sequence[PriorSeries]
) -> str:
    return identity_with(room, task.reader, series.series_uid, prior_files(room, series), earlier)
