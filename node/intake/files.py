"""DICOM files that lie in a folder, as if they had been received."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError

from node.intake.header import HEADER_TAGS, decoded
from storage.archive import UnsafeUidError, checked_uid
from storage.intake import Received

_SOP_CLASS, _SOP_INSTANCE = 0x00080016, 0x00080018
_PACKED = {".7z", ".rar", ".tar", ".tgz", ".zip"}


class NotReceivableError(ValueError):
    """A file that is no DICOM object one could receive; the message says why."""


def files_under(paths: Iterable[Path]) -> Iterator[Path]:
    """Every file that is one of ``paths`` or lies below one, in order of its name; DICOMDIR and hidden
    files left out."""
    for path in paths:
        candidates = sorted(path.rglob("*")) if path.is_dir() else [path]
        yield from (
            f for f in candidates if f.is_file() and f.name != "DICOMDIR" and not f.name.startswith(".")
        )


def received_file(path: Path, received_at: datetime) -> Received:
    """The row for a file that stays where it is; its ``path`` is absolute. As of what is received, only its
    UIDs have to be sound.

    Raises:
        NotReceivableError: not DICOM, or without the UIDs of study, series and instance.
    """
    try:
        image = dcmread(
            path, stop_before_pixels=True, specific_tags=[*HEADER_TAGS, _SOP_CLASS, _SOP_INSTANCE]
        )
        values = {tag: _as_written(image, tag) for tag in (*HEADER_TAGS, _SOP_CLASS, _SOP_INSTANCE)}
        sop_class, uid = (
            values[tag].decode("ascii", "backslashreplace").strip(" \0")
            for tag in (_SOP_CLASS, _SOP_INSTANCE)
        )
        header = decoded(values)
        for one in (uid, header.study_uid, header.series_uid):
            checked_uid(one)
        return Received(
            uid=uid,
            sop_class=sop_class,
            transfer_syntax=str(image.file_meta.get("TransferSyntaxUID", "")),
            path=str(path.resolve()),
            size=path.stat().st_size,
            received_at=received_at,
            **vars(header),
        )
    except InvalidDicomError:
        raise NotReceivableError(f"it is {why_no_dicom(path)}") from None
    except UnsafeUidError:
        raise NotReceivableError("it lacks the UID of its study, its series or itself") from None
    except Exception as error:  # noqa: BLE001  a damaged file can make the parser, late too, raise anything
        why = " ".join(str(error).split()) or type(error).__name__
        raise NotReceivableError(f"it cannot be read: {why}") from None


def why_no_dicom(path: Path) -> str:
    """What a file is that is no DICOM file."""
    return "packed; unpack it first" if path.suffix.lower() in _PACKED else "not a DICOM file"


def _as_written(image: Dataset, tag: int) -> bytes:
    """The encoded value of an element; empty where there is none. Of all that is asked for, the character
    set alone is decoded by the time a file has been read."""
    value = image.get_item(tag).value if tag in image else b""
    if isinstance(value, bytes):
        return value
    return "\\".join([value] if isinstance(value, str) else map(str, value or ())).encode("ascii", "replace")
