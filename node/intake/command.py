"""DIMSE command sets (PS3.7 6.3), read and written directly: few elements, always implicit little endian."""

from __future__ import annotations

import struct
from dataclasses import dataclass

STORE_REQUEST, ECHO_REQUEST, CANCEL_REQUEST = 0x0001, 0x0030, 0x0FFF
NO_DATA_SET = 0x0101
MAXIMUM_COMMAND = 64 * 1024  # bytes

_SOP_CLASS, _COMMAND_FIELD, _MESSAGE_ID, _DATA_SET_TYPE, _SOP_INSTANCE = (
    0x0002,
    0x0100,
    0x0110,
    0x0800,
    0x1000,
)
_HEAD = struct.Struct("<HHI")


class MalformedCommandError(ValueError):
    """The bytes are no command set."""


@dataclass(frozen=True)
class Command:
    """A request: ``field`` says which, ``sop_class`` and ``uid`` what it is about."""

    field: int
    message_id: int
    sop_class: str
    uid: str
    has_data_set: bool


def decode_command(data: bytes | bytearray | memoryview) -> Command:
    """Read a request's command set.

    Raises:
        MalformedCommandError: it is cut short, or lacks its field or message ID.
    """
    values: dict[int, bytes] = {}
    position, end = 0, len(data)
    while position < end:
        if position + 8 > end:
            raise MalformedCommandError("the command is cut short")
        group, number, length = _HEAD.unpack_from(data, position)
        position += 8
        if group != 0 or position + length > end:
            raise MalformedCommandError("the command is no sequence of group 0000 elements")
        values[number] = bytes(data[position : position + length])
        position += length
    return Command(
        field=_short(values, _COMMAND_FIELD),
        message_id=0 if _short(values, _COMMAND_FIELD) == CANCEL_REQUEST else _short(values, _MESSAGE_ID),
        sop_class=_uid(values, _SOP_CLASS),
        uid=_uid(values, _SOP_INSTANCE),
        has_data_set=_short(values, _DATA_SET_TYPE) != NO_DATA_SET,
    )


def encode_response(request: Command, status: int, comment: str = "") -> bytes:
    """The response to ``request``; ``comment`` says why (Error Comment, at most 64 characters)."""
    body = b"".join(
        (
            _uid_element(_SOP_CLASS, request.sop_class),
            struct.pack("<HHIH", 0, _COMMAND_FIELD, 2, 0x8000 | request.field),
            struct.pack("<HHIH", 0, 0x0120, 2, request.message_id),
            struct.pack("<HHIH", 0, _DATA_SET_TYPE, 2, NO_DATA_SET),
            struct.pack("<HHIH", 0, 0x0900, 2, status),
            _element(0x0902, _padded(comment.encode("ascii", "replace")[:64], b" ")) if comment else b"",
            _uid_element(_SOP_INSTANCE, request.uid),
        )
    )
    return struct.pack("<HHII", 0, 0, 4, len(body)) + body


def _short(values: dict[int, bytes], number: int) -> int:
    value = values.get(number, b"")
    if len(value) != 2:
        raise MalformedCommandError(f"the command lacks (0000,{number:04X})")
    return value[0] | value[1] << 8


def _uid(values: dict[int, bytes], number: int) -> str:
    return values.get(number, b"").rstrip(b"\0 ").decode("ascii", "backslashreplace")


def _uid_element(number: int, uid: str) -> bytes:
    return _element(number, _padded(uid.encode("ascii", "replace"), b"\0")) if uid else b""


def _element(number: int, value: bytes) -> bytes:
    return _HEAD.pack(0, number, len(value)) + value


def _padded(value: bytes, filler: bytes) -> bytes:
    return value + filler if len(value) % 2 else value
