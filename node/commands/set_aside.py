"""`overread set-aside`: images that were acknowledged and contradict their study, for a person to see to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydicom import dcmread
from pydicom.errors import InvalidDicomError
from sqlalchemy import select
from sqlalchemy.orm import Session

from node.commands.asking import whoever_asks
from node.commands.send import peer_at
from node.commands.terminal import console
from node.peers.sending import DicomDestination
from node.security.tls import identity_of
from node.security.umask import private_files
from node.settings import Settings
from storage import audit, set_aside
from storage.archive import Archive
from storage.database import Database
from storage.set_aside import SetAside
from storage.tables import Instance, Series, Study

KNOWN = "its SOP Instance UID is that of an image in another study; have it sent again under a new one"
TOLD = 10  # of what was not taken, with the reason


class SetAsideError(RuntimeError):
    """There is no node's folder, or something was not taken in; the message says what to do."""


def show(settings: Settings) -> None:
    """Print what was set aside, of which study, from whom and why.

    Raises:
        SetAsideError: there is no data folder.
    """
    images = _listed(settings)
    out = console()
    if not images:
        out.print(_nothing(settings), soft_wrap=True)
        return
    for image in images:
        when = f"{image.at:%Y-%m-%d %H:%M}" if image.at else "at an unknown time"
        reason = image.reason.removeprefix("received, then set aside: ") or "why is no longer known"
        out.print(f"{when} from {image.caller or 'an unknown sender'}: {reason}", soft_wrap=True)
        out.print(f"  study {image.study_uid or 'unknown'}, file {image.path}", soft_wrap=True)
    out.print(
        "If both IDs are one person's, and only then, name them in priors.merged and restart the node. Where "
        "a study was sent under somebody else's ID, have it sent again under the right one, with new UIDs. "
        "Then --again has the node take in what contradicts nothing any more, and --delete FILE deletes "
        "those that nobody wants."
    )


def send_again(settings: Settings, calling_ae_title: str, tls_name: str = "") -> None:
    """Send what was set aside to the node, and delete what it takes; write down which. An image under the UID
    of another study's is not sent: the node would acknowledge it, and set it aside again. ``tls_name``: what
    the node's certificate is made out to, where that is not its host.

    Raises:
        SetAsideError: it does not take everything, or there is no data folder.
        DeliveryError: nobody answers.
    """
    images = _listed(settings)
    if not images:
        console().print(_nothing(settings), soft_wrap=True)
        return
    destination = DicomDestination(
        peer_at(None, None, settings, tls_name),
        calling_ae_title,
        identity=identity_of(settings.dicom.tls.files),
    )
    database = Database(settings.database.url)
    try:
        with database.snapshot() as session:
            known = [image.path for image in images if _is_of_another_study(session, image.path)]
        sent = [image for image in images if image.path not in known]
        _write_down(database, sent, "sent again")
    finally:
        database.close()
    left = [(path, KNOWN) for path in known]
    for receipt in destination.send([image.path for image in sent]) if sent else ():
        if receipt.outcome == "sent":
            set_aside.remove(receipt.path)
        else:
            left.append((receipt.path, receipt.reason))
    console().print(f"Taken in: {len(images) - len(left)} of {len(images)}.")
    if left:
        told = "; ".join(f"{path}: {reason}" for path, reason in left[:TOLD])
        more = f"; and {len(left) - TOLD} more" if len(left) > TOLD else ""
        raise SetAsideError(f"{len(left)} were not taken and stay where they are: {told}{more}")


def delete(settings: Settings, files: Sequence[Path]) -> None:
    """Delete these of what was set aside, and write down which.

    Raises:
        SetAsideError: one of them was not set aside, and then none is deleted; or there is no data folder.
    """
    listed = {image.path.resolve(): image for image in _listed(settings)}
    if strange := [path for path in files if path.resolve() not in listed]:
        raise SetAsideError(f"{strange[0]} was not set aside; `overread set-aside` lists what was.")
    images = [listed[path.resolve()] for path in dict.fromkeys(files)]
    database = Database(settings.database.url)
    try:
        _write_down(database, images, "deleted")
    finally:
        database.close()
    for image in images:
        set_aside.remove(image.path)
    console().print(f"Deleted: {len(images)}.")


def _write_down(database: Database, images: Sequence[SetAside], what: str) -> None:
    who = whoever_asks("overread set-aside")
    with database.session() as session:
        for image in images:
            text = f"{what} an image that was set aside, {image.path.name} from {image.caller or 'unknown'}"
            audit.note(session, "action", who, text, study_uid=image.study_uid)


def _is_of_another_study(session: Session, path: Path) -> bool:
    """Whether the SOP Instance UID of the image there is that of an image in another study."""
    try:
        image = dcmread(path, specific_tags=["SOPInstanceUID", "StudyInstanceUID"], stop_before_pixels=True)
    except (OSError, InvalidDicomError):
        return False  # the node says so itself
    of_image = select(Study.uid).join(Series).join(Instance)
    study_uid = session.scalar(of_image.where(Instance.uid == str(image.get("SOPInstanceUID", ""))))
    return study_uid not in (None, str(image.get("StudyInstanceUID", "")))


def _nothing(settings: Settings) -> str:
    folder = settings.node.data_dir
    return f"Nothing is set aside in {folder}: every image that was acknowledged is in its study."


@private_files()
def _listed(settings: Settings) -> Sequence[SetAside]:
    if not settings.node.data_dir.is_dir():
        raise SetAsideError(
            f"there is no data folder {settings.node.data_dir}; name the node's settings with --config."
        )
    archive, database = Archive(settings.node.data_dir), Database(settings.database.url)
    try:
        with database.snapshot() as session:
            return list(set_aside.listed(session, archive.set_aside))
    finally:
        database.close()
