"""`overread send`: DICOM files to a node or a PACS."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pydicom.uid import MediaStorageDirectoryStorage

from node.commands.terminal import console, progress
from node.intake.files import why_no_dicom
from node.peers.sending import DicomDestination, Receipt
from node.security.tls import Identity
from node.settings import Peer, Settings
from node.settings.fields import AeTitle
from node.settings.words import allowed

MOST_NAMED = 5  # of the files that are not sent


class SendError(RuntimeError):
    """Nothing could be sent, or not everything was; the message says what and why."""


def send(paths: Sequence[Path], peer: Peer, calling_ae_title: str, identity: Identity | None = None) -> None:
    """Send every DICOM file under ``paths`` and print what became of them.

    Raises:
        SendError: there was none, or not all were taken.
    """
    files, skipped = _dicom_files(paths)
    out = console()
    if skipped:
        out.print(_told(skipped))
    if not files:
        raise SendError(f"there is no DICOM file in {', '.join(map(str, paths))}; nothing was sent.")
    receipts = list(_with_bar(files, DicomDestination(peer, calling_ae_title, identity=identity)))
    tally = Counter((receipt.outcome, receipt.reason) for receipt in receipts)
    for (outcome, reason), count in tally.most_common():
        out.print(f"{outcome:>11} {count:>6}" + (f"  {reason}" if reason else ""))
    if lost := sum(count for (outcome, _), count in tally.items() if outcome != "sent"):
        first = next(receipt for receipt in receipts if receipt.outcome != "sent")
        sentence = f"{lost} of {_files(len(files))} did not arrive; the first: {first.path}"
        if first.is_caller_unknown:
            sentence += f". {_how_to_be_known(peer, calling_ae_title)}"
        raise SendError(sentence)


def peer_at(address: str | None, ae_title: str | None, settings: Settings, tls_name: str = "") -> Peer:
    """``host:port``, or ``title@host:port``, as a peer; without one, the node that these settings describe.
    Where that speaks TLS, so does this.

    Raises:
        SendError: not a host and a port, or no AE title.
    """
    titled = ""
    if address is None:
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.dicom.host, settings.dicom.host)
        port = settings.dicom.port
    else:
        titled, _, place = address.rpartition("@")
        host, _, number = place.rpartition(":")
        host = host.strip("[]")
        if not host or not (number.isascii() and number.isdigit()):
            raise SendError(f"--to {address!r} is not [AET@]HOST:PORT, for instance 127.0.0.1:11112.")
        port = int(number)
        if not 0 < port < 65536:
            raise SendError(f"--to {address!r}: the port {number} is out of range; it is 1 to 65535.")
    try:
        return Peer(
            name="receiver",
            ae_title=ae_title or titled or settings.node.ae_title,
            host=host,
            port=port,
            tls=settings.dicom.tls.enabled,
            tls_name=tls_name,
        )
    except ValidationError as error:
        field = str(error.errors()[0]["loc"][0])
        raise _not_allowed(field, error, Peer.model_json_schema()["properties"][field]) from None


def calling_title(ae_title: str) -> str:
    """``ae_title``, if it is one to call with.

    Raises:
        SendError: it is none.
    """
    kind = TypeAdapter[str](AeTitle)
    try:
        return kind.validate_python(ae_title)
    except ValidationError as error:
        raise _not_allowed("--aet", error, kind.json_schema()) from None


def _not_allowed(what: str, error: ValidationError, schema: Mapping[str, Any]) -> SendError:
    return SendError(f"{what} {error.errors()[0]['input']!r} must be {allowed(schema, schema)}.")


def _how_to_be_known(peer: Peer, calling_ae_title: str) -> str:
    return (
        f"They were sent as {calling_ae_title!r}, which the node does not allow. In its settings, add "
        f'"{calling_ae_title}@{_own_address_towards(peer)}" to dicom.allowed_callers, or send with --aet '
        "under an AE title that it allows."
    )


def _own_address_towards(peer: Peer) -> str:
    """The address that ``peer`` sees us come from, unless it is translated on the way. Nothing is sent."""
    family, kind, _, _, address = socket.getaddrinfo(peer.host, peer.port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind) as there:
        there.connect(address)
        return str(there.getsockname()[0])


def _told(skipped: Sequence[str]) -> str:
    """The first of what is not sent, and how many there are."""
    told = [f"Skipped {_files(len(skipped))} that cannot be sent:", *skipped[:MOST_NAMED]]
    more = len(skipped) - MOST_NAMED
    return "\n  ".join([*told, f"and {more} more"] if more > 0 else told)


def _dicom_files(paths: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """The DICOM files under ``paths``, and why each other file is not one."""
    files, skipped = [], []
    for path in _every_file(paths):
        try:
            sop_class = read_file_meta_info(path).get("MediaStorageSOPClassUID")
        except InvalidDicomError:
            skipped.append(f"{path} ({why_no_dicom(path)})")
        except OSError as error:
            skipped.append(f"{path} ({error.strerror})")
        else:
            if sop_class == MediaStorageDirectoryStorage:
                skipped.append(f"{path} (the index of a medium)")
            else:
                files.append(path)
    return files, skipped


def _every_file(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        yield from sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]


def _with_bar(files: Sequence[Path], destination: DicomDestination) -> Iterator[Receipt]:
    peer = destination.peer
    with progress("files") as bar:
        task = bar.add_task(f"to {peer.ae_title} at {peer.host}:{peer.port}", total=len(files))
        for receipt in destination.send(files):
            bar.advance(task)
            yield receipt


def _files(count: int) -> str:
    return f"{count} file" if count == 1 else f"{count} files"
