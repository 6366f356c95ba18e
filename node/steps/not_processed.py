"""A study that was not read says so in the PACS, where the site wants it to."""

from __future__ import annotations

from pydicom.errors import InvalidDicomError

from node.reading_room import ReadingRoom
from node.results import UnusableSourceError
from node.results.moment import acquired_at
from node.results.not_processed import not_processed
from node.steps.job import Job, note, series_of
from storage import deliveries, readings
from storage.readings import StoredObject


def say_if_not_processed(room: ReadingRoom, job: Job) -> None:
    """Post a report with the reason to every destination that takes reports, if the study ended failed or
    skipped without results; how it ended stays as it is, whatever becomes of the report."""
    with room.database.snapshot() as session:
        ended = readings.find_revision(session, job.study_uid, job.revision)
        has_results = deliveries.is_posted(session, job.study_uid, job.revision)
    files = sorted(path for paths in series_of(room, job).values() for path in paths)
    if ended.state not in ("failed", "skipped") or has_results or not files:
        return
    try:
        made = not_processed(
            files[0],
            ended.reason,
            room.archive.results_folder(job.study_uid, job.revision),
            when=acquired_at(files[0]),
            udi=room.settings.results.udi,
        )
    except (UnusableSourceError, InvalidDicomError, OSError) as error:
        with room.database.session() as session:
            note(session, job, "deliver", f"no report of why nothing was read: {error}", "warning")
        return
    room.archive.make_durable(made.path.parent)
    written = StoredObject(made.kind, made.sop_class, made.sop_instance_uid, room.archive.relative(made.path))
    with room.database.session() as session:
        for destination in room.settings.destinations:
            if made.kind in destination.objects:
                posted = deliveries.post(session, job.study_uid, job.revision, destination.name, [written])
                if posted:
                    told = f"a report of why nothing was read posted to {destination.name}"
                    note(session, job, "deliver", told)
