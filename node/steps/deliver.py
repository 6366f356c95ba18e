"""Results leave, and what they change elsewhere is set going."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import islice

from sqlalchemy.orm import Session

from node.priors.find import COMPARED_MODALITIES
from node.priors.study_time import StudyTime
from node.reading_room import ReadingRoom
from node.steps.job import Job, note
from storage import deliveries, priors, readings
from storage.events import count_of, log_event

_LOST = "the results of {} were written and are not in the database any more: press “Read again”"


def deliver(room: ReadingRoom, job: Job, read: Sequence[str], failures: Sequence[tuple[str, str]]) -> None:
    """Post every object to every destination that can show it; the outbox does the rest. What one of the
    readers in ``read`` had made, and a power cut took back, is a failure too."""
    with room.database.session() as session:
        made = readings.readings_of(session, job.study_uid, job.revision)
        lost = Counter(read) - Counter(str(reading.body["reader"]) for reading in made)
        failures = [*failures, *(("results", _LOST.format(reader)) for reader in lost)]
        for stage, reason in failures:
            note(session, job, stage, reason, "error")
        stage, reason = failures[0] if failures else ("deliver", "")
        readings.finish(session, job.study_uid, job.revision, "delivering", stage=stage, reason=reason)
        wanted_nowhere = deliveries.forget_unwanted(
            session, job.study_uid, job.revision, room.settings.deliverable
        )
        if wanted_nowhere:
            left_out = f"{count_of(wanted_nowhere, 'delivery', 'deliveries')} left out"
            why = "by the settings nothing of the kind goes there"
            note(session, job, "deliver", f"{left_out} that had failed or still waited: {why}")
        for destination in room.settings.destinations:
            wanted = [o for reading in made for o in reading.objects if o.kind in destination.objects]
            posted = deliveries.post(session, job.study_uid, job.revision, destination.name, wanted)
            note(session, job, "deliver", f"{count_of(posted, 'object')} posted to {destination.name}")
        if made and not room.settings.destinations:
            note(session, job, "deliver", "no destination is set: the results stay here", "warning")
        deliveries.settle(session, job.study_uid, job.revision)
        if room.settings.priors.enabled and any(_matters_later(session, job, r) for r in made):
            _tell_later_studies(session, room, job)


def fail(room: ReadingRoom, job: Job, stage: str, reason: str) -> None:
    """End the reading where a person can see why."""
    with room.database.session() as session:
        readings.finish(session, job.study_uid, job.revision, "failed", stage=stage, reason=reason)
        note(session, job, stage, reason, "error")


def _matters_later(session: Session, job: Job, reading: readings.StoredReading) -> bool:
    """Whether later studies may be set against it, and were not set against the like of it before."""
    if priors.modality_of(session, str(reading.body["series_uid"])) not in COMPARED_MODALITIES:
        return False
    before = readings.earlier_reading(session, job.study_uid, job.revision, str(reading.body["reader"]))
    return before is None or before.identity != reading.identity


def _tell_later_studies(session: Session, room: ReadingRoom, job: Job) -> None:
    """Have the patient's later studies compared again, the next ones first, as many as a study has priors;
    those of the same day, to which it tells no growth, after the others. What is not compared at all, such as
    a radiograph, and what is not read for results of its own, such as a study that was fetched, does not
    count."""
    rules = room.settings.priors
    study, patient = priors.study_and_patient(session, job.study_uid)
    here = StudyTime.of(study.date, study.time, study.uid, study.received)
    ids = rules.ids_of(patient.patient_id)
    issuers = priors.issuers_of_one(patient.issuer, priors.known_issuers(session, ids))
    others = priors.studies_of(session, ids, issuers, COMPARED_MODALITIES)
    later = sorted(
        (at.day == here.day, at, other.uid)
        for other in others
        if (at := StudyTime.of(other.date, other.time, other.uid, other.received)) > here
    )
    again = (uid for *_, uid in later if priors.compare_again(session, uid))
    for uid in islice(again, rules.at_most):
        text = "An earlier study of the patient was read: this one is compared again."
        log_event(session, "priors", text, study_uid=uid)
