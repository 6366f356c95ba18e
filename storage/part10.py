"""The head of a DICOM file (PS3.10 7.1): preamble, prefix and File Meta Information."""

from __future__ import annotations

import struct
from dataclasses import dataclass

IMPLEMENTATION_CLASS_UID = "2.25.116485158830220271650962450356240138667"
IMPLEMENTATION_VERSION = "OVERREAD_1"

LONGEST_VALUE = 64  # a UID's (PS3.5 6.2)

_PREFIX = b"\0" * 128 + b"DICM"
_START = len(_PREFIX) + 12  # after the group length element


class NotPart10Error(ValueError):
    """The bytes are not the head of a DICOM file."""


@dataclass(frozen=True)
class FileHead:
    """What a file says of itself before its data set, which starts at ``offset``."""

    sop_class: str
    uid: str
    transfer_syntax: str
    source: str  # the AE title it came from (0002,0016)
    offset: int


def encode_head(sop_class: str, uid: str, transfer_syntax: str, source: str) -> bytes:
    """Preamble and File Meta Information for a data set that arrived from ``source``. What is longer than a
    UID can be is cut: an object that is refused may have been announced with anything."""
    meta = b"".join(
        (
            b"\x02\x00\x01\x00OB\x00\x00\x02\x00\x00\x00\x00\x01",
            _element(0x0002, "UI", sop_class),
            _element(0x0003, "UI", uid),
            _element(0x0010, "UI", transfer_syntax),
            _element(0x0012, "UI", IMPLEMENTATION_CLASS_UID),
            _element(0x0013, "SH", IMPLEMENTATION_VERSION),
            _element(0x0016, "AE", source),
        )
    )
    return _PREFIX + b"\x02\x00\x00\x00UL\x04\x00" + struct.pack("<I", len(meta)) + meta


def data_set_offset(head: bytes) -> int:
    """Where the data set starts in a file written with ``encode_head``.

    Raises:
        NotPart10Error: it was not.
    """
    if len(head) < _START or head[128:132] != b"DICM" or head[132:140] != b"\x02\x00\x00\x00UL\x04\x00":
        raise NotPart10Error("The file has no DICOM prefix and group length.")
    return _START + int(struct.unpack_from("<I", head, 140)[0])


def decode_head(head: bytes) -> FileHead:
    """Read back what ``encode_head`` wrote.

    Raises:
        NotPart10Error: the bytes are something else, or cut short.
    """
    offset = data_set_offset(head)
    values: dict[int, str] = {}
    position = _START
    while position < offset:
        if position + 8 > len(head):
            raise NotPart10Error("The File Meta Information is cut short.")
        _, element, vr, length = struct.unpack_from("<HH2sH", head, position)
        position += 8
        if vr == b"OB":
            (length,) = struct.unpack_from("<I", head, position)
            position += 4
        values[element] = head[position : position + length].rstrip(b"\0 ").decode("ascii", "replace")
        position += length
    return FileHead(
        values.get(0x0002, ""), values.get(0x0003, ""), values.get(0x0010, ""), values.get(0x0016, ""), offset
    )


def _element(number: int, vr: str, value: str) -> bytes:
    data = value.encode("ascii", "replace")[:LONGEST_VALUE]
    if len(data) % 2:
        data += b"\0" if vr == "UI" else b" "
    return struct.pack("<HH2sH", 0x0002, number, vr.encode(), len(data)) + data
