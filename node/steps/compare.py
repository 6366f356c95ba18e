"""A reading set against the priors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from inference.dates import as_day
from inference.findings import Reading
from inference.growth.changes import Prior
from inference.growth.compare import Comparison, compare
from inference.volume import Volume
from node.priors.find import PriorSeries, identity_with
from node.priors.study_time import valid_date
from node.reading_room import ReadingRoom
from node.results.identity import tracking_uid
from node.steps.done_without import done_without
from node.steps.job import Assignment, Job, enter, files_of, keep_reading, kept_reading, note, prior_files
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
    with done_without(room, job, "compare", "delivered without comparison"):
        if room.archive.has_reading(identity):
            compared = kept_reading(room, identity)
        else:
            reading = kept_reading(room, task.identity)
            comparison, series = set_against(
                room, job, reading, task.identity, room.volume(paths), series, _date(room, job)
            )
            if not series:
                return task.identity
            identity = identity_with(room, task.reader, task.series_uid, paths, series)
            compared = comparison.reading
            keep_reading(room, compared, identity, comparison.frames, comparison.seen_again)
        with room.database.session() as session:
            for said in compared.comparison_notes:
                note(session, job, "compare", said)
            note(session, job, "compare", _said(compared.findings, compared.resolved))
        return identity
    return task.identity


def set_against(
    room: ReadingRoom,
    job: Job,
    reading: Reading,
    identity: str,
    volume: Volume,
    found: Sequence[PriorSeries],
    date: str,
    without: str = "not compared",
) -> tuple[Comparison, list[PriorSeries]]:
    """A reading of the study of ``date``, by its identity, compared with those of ``found`` that can be
    opened, and these, in the order given. Each of the others is left out, and the timeline says why, behind
    ``without``."""
    left = list(found)
    while left:
        try:
            earlier = [_as_prior(room, one) for one in left]
            apart = _apart(reading, identity, earlier)
            comparison = compare(apart, volume, earlier, room.engine, room.catalogue, date=date)
            return replace(comparison, reading=_as_known(comparison.reading, apart, reading)), left
        except _UnopenedError as unopened:
            left.remove(unopened.prior)
            said = f"{without} with the study of {as_day(unopened.prior.date)}"
            with done_without(room, job, "compare", said):
                raise unopened.error from None
    return Comparison(reading), left


def _apart(reading: Reading, identity: str, earlier: Sequence[Prior]) -> Reading:
    """The reading without the tracking UIDs that its lesions share with priors', as an earlier reading linked
    them: the comparison says anew whose they are, and no two may have one."""
    of_priors = {finding.tracking_uid for prior in earlier for finding in prior.reading.findings}
    findings = (
        finding.tracked_as(tracking_uid(identity, finding), finding.change)
        if finding.tracking_uid in of_priors
        else finding
        for finding in reading.findings
    )
    return replace(reading, findings=tuple(findings))


def _as_known(compared: Reading, apart: Reading, known: Reading) -> Reading:
    """What was compared, each lesion that nothing was said of under the UID that it is known by, where no
    other has that. ``apart``, ``known``: the same lesions in this order, which ``compared`` begins with."""
    taken = {finding.tracking_uid for finding in (*compared.findings, *compared.resolved)}
    findings = list(compared.findings)
    for number, (own, before) in enumerate(zip(apart.findings, known.findings, strict=True)):
        found = findings[number]
        untold = found.change is None and found.tracking_uid == own.tracking_uid
        if untold and before.tracking_uid not in taken:
            findings[number] = found.tracked_as(before.tracking_uid)
    return replace(compared, findings=tuple(findings))


class _UnopenedError(Exception):
    """What is kept of a prior cannot be had, because of ``error``."""

    def __init__(self, prior: PriorSeries, error: Exception) -> None:
        super().__init__(str(error))
        self.prior, self.error = prior, error


def _as_prior(room: ReadingRoom, series: PriorSeries) -> Prior:
    """A prior as the comparison wants it; its voxels are only read when they are needed."""

    def volume() -> Volume:
        try:
            return room.volume(prior_files(room, series))
        except Exception as error:  # whatever it is, it is of this prior
            raise _UnopenedError(series, error) from error

    try:
        return Prior(series.study_uid, series.date, kept_reading(room, series.identity), volume)
    except Exception as error:  # so is this
        raise _UnopenedError(series, error) from error


def _date(room: ReadingRoom, job: Job) -> str:
    with room.database.snapshot() as session:
        study, _ = priors.study_and_patient(session, job.study_uid)
    return study.date if valid_date(study.date, study.received) else ""


def _said(findings: Sequence[Any], resolved: Sequence[Any]) -> str:
    counts: dict[str, int] = {}
    for finding in (*findings, *resolved):
        category = finding.change.category if finding.change else "not judged"
        counts[category] = counts.get(category, 0) + 1
    return "compared: " + (", ".join(f"{n} {category}" for category, n in counts.items()) or "nothing found")
