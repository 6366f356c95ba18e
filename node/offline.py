"""The same reading without a node: from folders to a folder, with a memory that is thrown away after."""

from __future__ import annotations

import errno
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

from inference.catalogue import Catalogue
from inference.engine import open_engine
from node.intake.files import NotReceivableError, files_under, received_file
from node.reading import read_study as read
from node.reading_room import ReadingRoom, kinds_for
from node.settings import Settings
from node.workflow import plain_step
from storage import readings
from storage.archive import Archive
from storage.closing import close_quiet
from storage.database import Database, now
from storage.errors import said
from storage.intake import Misfit, Received, record
from storage.tables import Instance, Series, Study

STAGES = {
    "select": ("choosing series", 0.05),
    "priors": ("looking for priors", 0.1),
    "infer": ("inference", 0.4),
    "compare": ("comparing with priors", 0.7),
    "results": ("writing results", 0.85),
    "deliver": ("copying results", 0.95),
}  # what a person calls each, as on the status page but for the last, and the share of the way behind it
PICTURES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
MOST_ENDINGS = 5  # that are counted to a person
FULL = {errno.ENOSPC, errno.EDQUOT}

Progress = Callable[[str, float], None]


class UnreadableStudyError(RuntimeError):
    """The folder holds nothing that can be read; the message says what was found and what to do."""


class OutputError(RuntimeError):
    """The results have nowhere to go; the message says what to do."""


class WorkingFolderError(RuntimeError):
    """The temporary folder does not keep what a reading has to remember; the message says what to do."""


def read_study(
    study: Path, priors: Sequence[Path], out: Path, settings: Settings, progress: Progress
) -> list[dict[str, Any]]:
    """Read the study in a folder; result objects and ``reading.json`` are written to ``out``.

    priors: folders of earlier studies of the same patient.
    progress: called with a stage in words and the share of the way behind it, from 0 to 1.

    Returns the readings, as in ``reading.json``.

    Raises:
        UnreadableStudyError: there is no study, or several, or images that contradict the others; no series
            of it can be read; a reader failed, and only the results of the others were written.
        OutputError: ``out`` does not take the results.
        WorkingFolderError: the temporary folder, of which nothing is left after, is full or not to be used.
    """
    with tempfile.TemporaryDirectory(prefix="overread-") as folder:
        try:
            return _read_within(Path(folder), study, priors, out, settings, progress)
        except DBAPIError as error:
            raise WorkingFolderError(
                f"the temporary folder {Path(folder).parent} does not keep the reading's database: "
                f"{said(error)}; make room there, or set TMPDIR to another folder."
            ) from error


def _read_within(
    root: Path, study: Path, priors: Sequence[Path], out: Path, settings: Settings, progress: Progress
) -> list[dict[str, Any]]:
    with ExitStack() as stack:
        database = Database(f"sqlite:///{root / 'overread.db'}")
        stack.callback(database.close)
        database.upgrade()
        progress("looking for the study", 0.0)
        merged = settings.priors.merged
        folders = dict.fromkeys(folder.resolve() for folder in priors)
        named = tuple(dict.fromkeys(enter_study(database, folder, merged) for folder in folders))
        study_uid = enter_study(database, study, merged)
        catalogue = Catalogue(settings.engine.models)
        engine = open_engine(settings.engine, catalogue)
        stack.callback(engine.close)
        alone = settings.model_copy(update={"destinations": ()})
        archive = Archive(root, durable=False)
        room = ReadingRoom(
            alone, database, archive, catalogue, engine, named_priors=named, wanted=kinds_for(settings)
        )
        _read(room, study_uid, progress)
        with database.snapshot() as session:
            revision = readings.find_revision(session, study_uid, 1)
        if revision.state == "skipped":
            raise UnreadableStudyError(f"there is {revision.reason}")
        made = _hand_over(room, study_uid, out)
        if revision.state != "delivered":
            others = ", ".join(body["reader"] for body in made)
            kept = f"; the results of {others} are in {out}" if made else ""
            raise UnreadableStudyError(f"{STAGES[revision.stage][0]} failed: {revision.reason}{kept}")
        progress("done", 1.0)
        return made


def enter_study(database: Database, folder: Path, merged: Sequence[Sequence[str]] = ()) -> str:
    """Enter the one study in a folder as received and complete; returns its UID. ``merged``: patient IDs that
    are one patient's."""
    found: dict[str, Received] = {}
    refused: list[tuple[Path, str]] = []
    for path in files_under([folder]):
        try:
            received = received_file(path, now())
            found.setdefault(received.uid, received)
        except NotReceivableError as error:
            refused.append((path, str(error)))
    studies = sorted({image.study_uid for image in found.values()})
    if not studies:
        raise UnreadableStudyError(_without_images(folder, refused))
    if len(studies) > 1:
        raise UnreadableStudyError(
            f"{folder} holds {len(studies)} studies, {studies[0]} and others; give the folder of one study"
        )
    with database.session() as session:
        of_study = select(Instance.uid).join(Instance.series).join(Series.study)
        if twice := found.keys() & set(session.scalars(of_study.where(Study.uid == studies[0]))):
            raise UnreadableStudyError(
                f"{len(twice)} of {len(found)} images in {folder} were given before, in a folder of a prior; "
                "give each image once, and no study as its own prior"
            )
        misfits = record(session, list(found.values()), merged).misfits
        if misfits:
            raise UnreadableStudyError(_contradicting(folder, misfits, len(found)))
        session.scalars(select(Study).where(Study.uid == studies[0])).one().read_now = True
        close_quiet(session, now(), lambda study: True)
    return studies[0]


def _contradicting(folder: Path, misfits: Sequence[Misfit], images: int) -> str:
    """Which images the node would set aside, and why."""
    first = misfits[0]
    return (
        f"{len(misfits)} of {images} images in {folder} contradict the others there, or the priors given; "
        f"the first, {Path(first.received.path).name}: {first.reason}; take them out, or mend them"
    )


def _without_images(folder: Path, refused: Sequence[tuple[Path, str]]) -> str:
    """What lies in a folder that holds no image, and what to do."""
    if not refused:
        return f"no DICOM image in {folder}: it holds no file; give the folder of one study"
    endings = Counter(path.suffix.lower() or "without ending" for path, _ in refused)
    common = endings.most_common(MOST_ENDINGS)
    counts = [f"{count} {ending}" for ending, count in common]
    if others := len(refused) - sum(count for _, count in common):
        counts.append(f"{others} others")
    there = f"no DICOM image in {folder}, only {', '.join(counts)}"
    if PICTURES & endings.keys():
        return f"{there}; pictures must be wrapped as DICOM first, for example by DCMTK's img2dcm"
    path, why = refused[0]
    return f"{there} ({path.name}: {why}); give the folder of one study"


def _read(room: ReadingRoom, study_uid: str, progress: Progress) -> None:
    def step(stage: str, function: Callable[..., Any], *args: Any) -> Any:
        if stage in STAGES:
            progress(*STAGES[stage])
        return plain_step(stage, function, *args)

    read(room, step, study_uid, 1)


def _hand_over(room: ReadingRoom, study_uid: str, out: Path) -> list[dict[str, Any]]:
    """Copy to ``out`` what was made of the study, where anything was."""
    with room.database.snapshot() as session:
        made = [dict(reading.body) for reading in readings.readings_of(session, study_uid, 1)]
    if not made:
        return []
    for body in made:
        for written in body["objects"]:
            source = room.archive.path(written["path"])
            written["path"] = f"{body['reader']}-{source.name}"
            _write(out, written["path"], source.read_bytes())
    report = {"study_uid": study_uid, "readings": made}
    _write(out, "reading.json", (json.dumps(report, indent=2, ensure_ascii=False) + "\n").encode())
    return made


def _write(out: Path, name: str, content: bytes) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(content)
    except OSError as error:
        advice = (
            "make room there, or choose another folder" if error.errno in FULL else "choose another folder"
        )
        raise OutputError(f"{out} does not take {name}: {error.strerror or error}; {advice}.") from error
