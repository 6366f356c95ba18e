"""A reading set against the priors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from inference.growth.compare import compare
from node.priors.find import PriorSeries, identity_with
from node.priors.study_time import valid_date
from node.reading_room import ReadingRoom
from node.steps.done_without import done_without
from node.steps.job import Assignment, Job, enter, files_of, keep_reading, kept_reading, note
from node.steps.priors import as_prior
from storage import priors


def compare_with_priors(
    room: ReadingRoom, job: Job, assignment: Mapping[str, Any], found: Sequence[Mapping[str, Any]]
) -> str:
    """Link the findings to the priors' and judge their change; returns the identity of the reading that is to
    become results. A comparison that fails keeps no reading back: it goes out as it is, and the timeline says
    why it was not compared."""
    task = Assignment.of(assignment)
    series = [PriorSeries(**prior) for prior in found]
    if not series:
        return task.identity
    enter(room, job, "compare")
    paths = files_of(room, job, task)
    identity = identity_with(room, task.reader, task.series_uid, paths, series)
    if room.archive.has_reading(identity):
        return identity
    with done_without(room, job, "compare", "delivered without comparison"):
        comparison = compare(
            kept_reading(room, task.identity),
            room.volume(paths),
            [as_prior(room, prior) for prior in series],
            room.engine,
            room.catalogue,
            date=_date(room, job),
        )
        keep_reading(room, comparison.reading, identity, comparison.frames, comparison.seen_again)
        with room.database.session() as session:
            for said in comparison.reading.comparison_notes:
                note(session, job, "compare", said)
            note(session, job, "compare", _said(comparison.reading.findings, comparison.reading.resolved))
        return identity
    return task.identity


def _date(room: ReadingRoom, job: Job) -> str:
    with room.database.snapshot() as session:
        study, _ = priors.study_and_patient(session, job.study_uid)
    return study.date if valid_date(study.date, study.received) else ""


def _said(findings: Sequence[Any], resolved: Sequence[Any]) -> str:
    counts: dict[str, int] = {}
    for finding in (*findings, *resolved):
        category = finding.change.category if finding.change else "without prior"
        counts[category] = counts.get(category, 0) + 1
    return "compared: " + (", ".join(f"{n} {category}" for category, n in counts.items()) or "nothing found")
