"""What becomes of a study that cannot be compared: its results go out, and its timeline says so."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from inference.engine import EngineError
from inference.errors import UnreadableSeriesError
from node.reading_room import ReadingRoom
from node.steps.job import Job, note
from node.workflow import may_pass
from storage.errors import said
from storage.files import may_be_of_one_file

log = logging.getLogger(__name__)

AGAIN = "once that is mended, press “Read again”"


def _is_gone(error: Exception, images: Path) -> bool:
    """Whether one of the images is not there; of what else is not there Overread or the disk is to blame."""
    if not isinstance(error, FileNotFoundError) or error.filename is None:
        return False
    return Path(os.fsdecode(error.filename)).absolute().is_relative_to(images.absolute())


@contextmanager
def done_without(room: ReadingRoom, job: Job, stage: str, what: str) -> Iterator[None]:
    """Go on behind this block where what is in it fails: ``what``, such as "delivered without comparison", is
    said on the timeline with the reason. Images that are at fault are a warning; an engine, a disk or a
    mistake of Overread's own is an error, which Health shows for a day.

    Raises:
        Exception: what may pass, as a database that is away, ends the step, which is begun again. One file
            that the disk does not give out may stay so: its study is not held up.
    """
    try:
        yield
    except Exception as error:
        if may_pass(error) and not may_be_of_one_file(error):
            raise
        is_of_images = isinstance(error, UnreadableSeriesError) or _is_gone(error, room.archive.images)
        if is_of_images:
            reason = said(error)
        elif isinstance(error, EngineError | OSError):
            reason = f"{said(error)}; {AGAIN}"
        else:
            log.exception("a comparison failed")
            reason = (
                f"an error of Overread's own ({type(error).__name__}: {said(error)}); "
                f"report it with the node's log, and {AGAIN}"
            )
        with room.database.session() as session:
            note(session, job, stage, f"{what}: {reason}", "warning" if is_of_images else "error")
