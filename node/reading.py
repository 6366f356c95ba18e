"""How a study is read: the whole product on one screen.

A PACS sent a study and fell quiet. Its series are looked over and each reader that is installed gets the
series that suits it. The patient's earlier studies are found, fetched and read; what the reader finds is set
against them, lesion by lesion, written as DICOM objects, and posted to every destination.
Each line below that calls ``step`` is checkpointed: after a crash the reading goes on behind the last one.
"""

from __future__ import annotations

from typing import Any

from node import steps
from node.reading_room import ReadingRoom
from node.workflow import MOST_LIVES, Step, StepFailedError
from storage.readings import find_revision

TAKES_THE_NODE_DOWN = (
    f"the node ended {MOST_LIVES} times while it read this study: see the system's log. "
    "Where memory ran out, give the node more of it; then press “Read again”"
)


def read_study(room: ReadingRoom, step: Step, study_uid: str, revision: int) -> None:
    """Read one revision of a study, from its images to its results in the outbox.

    A reader that fails keeps no other's results back: they are delivered, and the study ends failed with
    the stage and the reason of the first failure.
    """
    job = steps.Job(study_uid, revision)
    read: list[str] = []
    failures: list[tuple[str, str]] = []
    try:
        assignments = step("select", steps.select_series, room, job)
        for assignment in assignments:
            try:
                priors = _read_priors(room, step, job, assignment)
                step("infer", steps.infer, room, job, assignment)
                identity = step("compare", steps.compare_with_priors, room, job, assignment, priors)
                step("results", steps.write_results, room, job, assignment, priors, identity)
                read.append(assignment["reader"])
            except StepFailedError as failure:
                failures.append((failure.stage, failure.reason))
        if assignments:
            step("deliver", steps.deliver, room, job, read, failures)
    except StepFailedError as failure:
        step("fail", steps.fail, room, job, failure.stage, failure.reason)
    finally:
        room.forget_volumes()
    if room.settings.results.not_processed:
        step("deliver", steps.say_if_not_processed, room, job)


def give_up(room: ReadingRoom, study_uid: str, revision: int) -> None:
    """End a revision failed during whose reading the node itself ended, time and again."""
    job = steps.Job(study_uid, revision)
    with room.database.snapshot() as session:
        stage = find_revision(session, study_uid, revision).stage
    steps.fail(room, job, stage, TAKES_THE_NODE_DOWN)
    if room.settings.results.not_processed:
        steps.say_if_not_processed(room, job)


def _read_priors(room: ReadingRoom, step: Step, job: steps.Job, assignment: Any) -> list[Any]:
    """The priors of a series, the newest first, each with its reading; the oldest is read first, so that the
    others take over its tracking UIDs."""
    found = step("priors", steps.find_priors, room, job, assignment)
    read: list[Any] = []
    for prior in reversed(found):
        known = step("priors", steps.read_prior, room, job, assignment, prior, read)
        read = [known, *read] if known else read
    return read
