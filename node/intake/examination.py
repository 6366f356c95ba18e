"""Looks over an object that was sent: is it a whole DICOM object, and the one that was announced?"""

from __future__ import annotations

import math
import mmap
import os
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from pydicom.filereader import read_partial
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from inference.elements import (
    NUMBER_OF_FRAMES,
    PIXEL_TAGS,
    BeyondHeadError,
    Buffer,
    Encoding,
    MalformedDataSetError,
    Walk,
    integer,
    walk,
)
from node.intake.contexts import IMAGE_CLASSES, VIDEO
from node.intake.header import HEADER_TAGS, SERIES_UID, STUDY_UID, Header, decoded
from storage.archive import UnsafeUidError, checked_uid

OUT_OF_RESOURCES = 0xA700
MISMATCH = 0xA900
CANNOT_UNDERSTAND = 0xC000
CONFLICT = 0xC001
MAXIMUM_INFLATED = 1 << 29  # bytes
ALWAYS_INFLATED, INFLATED_OF_ONE = 1 << 28, 250  # bytes, whatever was sent, and of each byte that was
HEAD = 32 * 1024  # bytes looked at first; all but the pixel data mostly lies within

SOP_CLASS, SOP_INSTANCE = 0x00080016, 0x00080018
SAMPLES, PHOTOMETRIC, ROWS, COLUMNS = 0x00280002, 0x00280004, 0x00280010, 0x00280011
BITS_ALLOCATED, PIXEL_URL = 0x00280100, 0x00287FE0
_WANTED = frozenset(
    {*HEADER_TAGS, SOP_CLASS, SOP_INSTANCE}
    | {SAMPLES, PHOTOMETRIC, NUMBER_OF_FRAMES, ROWS, COLUMNS, BITS_ALLOCATED, PIXEL_URL}
)
_VIDEO = frozenset(VIDEO)


class RefusedError(ValueError):
    """An object that is not accepted: the DICOM status (PS3.4 B.2.3) and a sentence for a person.
    ``study_uid`` where it could be read."""

    def __init__(self, status: int, reason: str, study_uid: str = "") -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.study_uid = study_uid


@dataclass(frozen=True)
class Announcement:
    """What the C-STORE command and its association say of the object that follows. ``abstract_syntax``: that
    of the context it comes in, empty where none is known. ``fetched``: it comes by our C-GET or C-MOVE,
    nobody sent it of their own accord. Some archives name themselves as a C-MOVE's originator, where PS3.7
    9.1.1.1 asks for the one who moves."""

    sop_class: str
    uid: str
    transfer_syntax: str
    caller: str
    address: str
    fetched: bool = False
    abstract_syntax: str = ""


@dataclass(frozen=True)
class Scratch:
    """The folder that a deflated data set is inflated in, and what raises ``RefusedError`` once the disk has
    no room for more of it."""

    folder: Path
    check_room: Callable[[], None]


def examine(file: int, offset: int, announced: Announcement, scratch: Scratch) -> Header:
    """Examine the data set in an open file, from ``offset`` to the file's end.

    Raises:
        RefusedError: it is not whole, or not what was announced.
        OSError: the file cannot be read.
    """
    size = os.fstat(file).st_size - offset
    if size <= 0:
        raise RefusedError(CANNOT_UNDERSTAND, "the object is empty: no data set was sent")
    if announced.transfer_syntax != DeflatedExplicitVRLittleEndian:
        try:
            return _examine(os.pread(file, HEAD, offset), 0, size, announced)
        except BeyondHeadError:
            pass
    with mmap.mmap(file, 0, prot=mmap.PROT_READ) as mapped:
        if announced.transfer_syntax != DeflatedExplicitVRLittleEndian:
            return _examine(mapped, offset, len(mapped), announced)
        with _inflated(mapped, offset, scratch) as inflated:
            return _examine(inflated, 0, len(inflated), announced)


def study_uid_of(head: bytes) -> str:
    """The Study Instance UID in the first bytes of a Part-10 file, whatever is still to come; empty where it
    does not lie within them, or they are deflated."""
    file = BytesIO(head)
    try:
        found = read_partial(file, stop_when=lambda tag, *_: tag > STUDY_UID)
        is_whole = file.tell() < len(head)
        return str(found.get("StudyInstanceUID", "")) if is_whole else ""
    except Exception:  # noqa: BLE001  what is cut off anywhere can make the parser raise anything
        return ""


def _examine(data: Buffer, start: int, end: int, announced: Announcement) -> Header:
    encoding = Encoding(
        explicit=announced.transfer_syntax != ImplicitVRLittleEndian,
        big_endian=announced.transfer_syntax == ExplicitVRBigEndian,
    )
    try:
        found = walk(data, start, end, encoding, _WANTED)
    except MalformedDataSetError as error:
        raise RefusedError(CANNOT_UNDERSTAND, f"not a readable data set: {error}") from error
    study_uid = _uid(found, STUDY_UID)
    try:
        _check_announcement(announced)
        _check_identity(found, announced)
        _check_pixels(found, encoding, announced.transfer_syntax)
        return decoded(found.values)
    except RefusedError as refused:
        refused.study_uid = study_uid if len(study_uid) <= 64 else ""
        raise


def _check_announcement(announced: Announcement) -> None:
    try:
        checked_uid(announced.uid)
    except UnsafeUidError as error:
        raise RefusedError(CANNOT_UNDERSTAND, f"the command's SOP Instance UID is none: {error}") from error
    agreed = announced.abstract_syntax
    if agreed and announced.sop_class != agreed:
        raise RefusedError(
            MISMATCH,
            f"the command announced the SOP Class UID {announced.sop_class[:80]!r} in a presentation context "
            f"for {agreed!r}",
        )


def _check_identity(found: Walk, announced: Announcement) -> None:
    for tag, name, said in (
        (SOP_CLASS, "SOP Class UID", announced.sop_class),
        (SOP_INSTANCE, "SOP Instance UID", announced.uid),
    ):
        uid = _uid(found, tag)
        if uid != said:
            raise RefusedError(
                MISMATCH, f"its {name} is {uid[:80]!r}, but the command announced {said[:80]!r}"
            )
    for tag, name in (
        (STUDY_UID, "Study Instance UID"),
        (SERIES_UID, "Series Instance UID"),
    ):
        try:
            checked_uid(_uid(found, tag))
        except UnsafeUidError as error:
            missing = "it is missing" if not _uid(found, tag) else str(error)
            raise RefusedError(CANNOT_UNDERSTAND, f"no usable {name}: {missing}") from error


def _check_pixels(found: Walk, encoding: Encoding, transfer_syntax: str) -> None:
    rows, columns = _number(found, ROWS, encoding), _number(found, COLUMNS, encoding)
    if PIXEL_URL in found.values:
        return
    if not rows or not columns:
        if _uid(found, SOP_CLASS) in IMAGE_CLASSES:
            raise RefusedError(CANNOT_UNDERSTAND, "it is an image without rows or columns")
        return
    frames = _frames(found)
    bits = _number(found, BITS_ALLOCATED, encoding)
    if not bits:
        raise RefusedError(CANNOT_UNDERSTAND, "it does not say how many bits a pixel has (Bits Allocated)")
    if found.fragments is not None:
        needed = 1 if transfer_syntax in _VIDEO else frames
        if found.fragments < needed:
            raise RefusedError(
                CANNOT_UNDERSTAND,
                f"its compressed pixel data is incomplete: {found.fragments} fragments for {frames} frames",
            )
        return
    arrived = next((found.pixel_bytes[tag] for tag in PIXEL_TAGS if tag in found.pixel_bytes), None)
    if arrived is None:
        raise RefusedError(CANNOT_UNDERSTAND, f"it is an image of {columns} x {rows} without pixel data")
    expected = _native_bytes(found, encoding, rows * columns * frames, bits)
    if arrived < expected:
        raise RefusedError(
            CANNOT_UNDERSTAND, f"its pixel data is incomplete: {arrived} of {expected} bytes have arrived"
        )


def _native_bytes(found: Walk, encoding: Encoding, pixels: int, bits: int) -> int:
    """The length of native pixel data (PS3.5 8.1.1), in bytes, without a padding byte."""
    samples = _number(found, SAMPLES, encoding) or 1
    if found.values.get(PHOTOMETRIC, b"").startswith(b"YBR_FULL_422"):
        samples = 2  # two pixels share their colour
    return math.ceil(pixels * samples * bits / 8)


def _frames(found: Walk) -> int:
    """Number of Frames, an IS (PS3.5 6.2); where it is empty or 0, as some modalities write it, one."""
    value = found.values.get(NUMBER_OF_FRAMES, b"")
    number = integer(value) if value.strip(b" \0") else 1
    if number is None or number < 0:
        raise RefusedError(CANNOT_UNDERSTAND, f"its Number of Frames is none: {value[:20]!r}")
    return number or 1


def _number(found: Walk, tag: int, encoding: Encoding) -> int | None:
    value = found.values.get(tag, b"")
    return struct.unpack_from(">H" if encoding.big_endian else "<H", value)[0] if len(value) >= 2 else None


def _uid(found: Walk, tag: int) -> str:
    return found.values.get(tag, b"").rstrip(b"\0 ").decode("ascii", "backslashreplace")


@contextmanager
def _inflated(data: mmap.mmap, offset: int, scratch: Scratch) -> Iterator[Buffer]:
    """A deflated data set (PS3.5 A.5), inflated into a file that vanishes, so that memory stays flat."""
    most = min(MAXIMUM_INFLATED, max(ALWAYS_INFLATED, INFLATED_OF_ONE * (len(data) - offset)))
    with tempfile.TemporaryFile(dir=scratch.folder) as file:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        size = 0
        try:
            for position in range(offset, len(data), 1 << 18):
                rest = data[position : position + (1 << 18)]
                while rest and not inflater.eof:
                    scratch.check_room()
                    size += file.write(inflater.decompress(rest, 1 << 20))
                    rest = inflater.unconsumed_tail
                    if size > most:
                        raise RefusedError(
                            CANNOT_UNDERSTAND,
                            f"its deflated data set grows beyond the {most >> 20} MiB that "
                            f"{len(data) - offset:,} bytes may become",
                        )
            size += file.write(inflater.flush())
        except zlib.error as error:
            raise RefusedError(
                CANNOT_UNDERSTAND, f"its deflated data set cannot be inflated: {error}"
            ) from error
        if not inflater.eof or size == 0:
            raise RefusedError(CANNOT_UNDERSTAND, "its deflated data set is cut short")
        file.flush()
        with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
            yield mapped
