"""DIMSE command sets (PS3.7 6.3), read and written directly: few elements, always implicit little endian."""

from __future__ import annotations

import struct
from dataclasses import dataclass

STORE_REQUEST, ECHO_REQUEST, CANCEL_REQUEST = 0x0001, 0x0030, 0x0FFF
EVENT_REPORT_REQUEST, ACTION_REQUEST = 0x0100, 0x0130
RESPONSE = 0x8000  # bit of the command field
WITH_DATA_SET, NO_DATA_SET = 0x0001, 0x0101
MAXIMUM_COMMAND = 64 * 1024  # bytes
LONGEST_UID = 64

_SOP_CLASS, _COMMAND_FIELD, _MESSAGE_ID, _ANSWERED_ID = 0x0002, 0x0100, 0x0110, 0x0120
_PRIORITY, _DATA_SET_TYPE, _STATUS, _COMMENT, _SOP_INSTANCE = 0x0700, 0x0800, 0x0900, 0x0902, 0x1000
_REQUESTED_CLASS, _REQUESTED_INSTANCE, _ACTION_TYPE = 0x0003, 0x1001, 0x1008
_MOVE_ORIGINATOR = 0x1030
_MEDIUM = 0x0000
_HEAD = struct.Struct("<HHI")


class MalformedCommandError(ValueError):
    """The bytes are no command set."""


@dataclass(frozen=True)
class Command:
    """A request: ``field`` says which, ``sop_class`` and ``uid`` what it is about; ``move_originator``, at
    times, the AE title whose C-MOVE has it sent."""

    field: int
    message_id: int
    sop_class: str
    uid: str
    has_data_set: bool
    move_originator: str = ""


@dataclass(frozen=True)
class Response:
    """An answer to the request ``message_id``: a status (PS3.7 C) and, at times, a comment."""

    field: int
    message_id: int
    status: int
    comment: str
    has_data_set: bool


def decode_command(data: bytes | bytearray | memoryview) -> Command:
    """Read a request's command set.

    Raises:
        MalformedCommandError: it is cut short, or lacks its field or message ID.
    """
    values = _elements(data)
    return Command(
        field=_short(values, _COMMAND_FIELD),
        message_id=0 if _short(values, _COMMAND_FIELD) == CANCEL_REQUEST else _short(values, _MESSAGE_ID),
        sop_class=_uid(values, _SOP_CLASS),
        uid=_uid(values, _SOP_INSTANCE),
        has_data_set=_short(values, _DATA_SET_TYPE) != NO_DATA_SET,
        move_originator=values.get(_MOVE_ORIGINATOR, b"").strip(b"\0 ").decode("ascii", "replace"),
    )


def decode_response(data: bytes | bytearray | memoryview) -> Response:
    """Read a response's command set.

    Raises:
        MalformedCommandError: it is cut short, a request, or lacks its status or message ID.
    """
    values = _elements(data)
    if not (field := _short(values, _COMMAND_FIELD)) & RESPONSE:
        raise MalformedCommandError("a request instead of the answer")
    return Response(
        field=field,
        message_id=_short(values, _ANSWERED_ID),
        status=_short(values, _STATUS),
        comment=values.get(_COMMENT, b"").rstrip(b"\0 ").decode("ascii", "replace"),
        has_data_set=_short(values, _DATA_SET_TYPE) != NO_DATA_SET,
    )


def encode_store_request(message_id: int, sop_class: str, uid: str) -> bytes:
    """A C-STORE-RQ (PS3.7 9.3.1.1), of medium priority."""
    return _command_set(
        _uid_element(_SOP_CLASS, sop_class),
        _short_element(_COMMAND_FIELD, STORE_REQUEST),
        _short_element(_MESSAGE_ID, message_id),
        _short_element(_PRIORITY, _MEDIUM),
        _short_element(_DATA_SET_TYPE, WITH_DATA_SET),
        _uid_element(_SOP_INSTANCE, uid),
    )


def encode_echo_request(message_id: int, sop_class: str) -> bytes:
    """A C-ECHO-RQ (PS3.7 9.3.5.1)."""
    return _command_set(
        _uid_element(_SOP_CLASS, sop_class),
        _short_element(_COMMAND_FIELD, ECHO_REQUEST),
        _short_element(_MESSAGE_ID, message_id),
        _short_element(_DATA_SET_TYPE, NO_DATA_SET),
    )


def encode_action_request(message_id: int, sop_class: str, uid: str, action: int) -> bytes:
    """An N-ACTION-RQ (PS3.7 10.3.4.1), with Action Information."""
    return _command_set(
        _uid_element(_REQUESTED_CLASS, sop_class),
        _short_element(_COMMAND_FIELD, ACTION_REQUEST),
        _short_element(_MESSAGE_ID, message_id),
        _short_element(_DATA_SET_TYPE, WITH_DATA_SET),
        _uid_element(_REQUESTED_INSTANCE, uid),
        _short_element(_ACTION_TYPE, action),
    )


def encode_response(request: Command, status: int, comment: str = "") -> bytes:
    """The response to ``request``; ``comment`` says why (Error Comment, at most 64 characters)."""
    return _command_set(
        _uid_element(_SOP_CLASS, request.sop_class),
        _short_element(_COMMAND_FIELD, RESPONSE | request.field),
        _short_element(_ANSWERED_ID, request.message_id),
        _short_element(_DATA_SET_TYPE, NO_DATA_SET),
        _short_element(_STATUS, status),
        _element(_COMMENT, _padded(comment.encode("ascii", "replace")[:64], b" ")) if comment else b"",
        _uid_element(_SOP_INSTANCE, request.uid),
    )


def _elements(data: bytes | bytearray | memoryview) -> dict[int, bytes]:
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
    return values


def _command_set(*elements: bytes) -> bytes:
    """``elements``, in the order of their tags, behind their group length."""
    body = b"".join(elements)
    return struct.pack("<HHII", 0, 0, 4, len(body)) + body


def _short(values: dict[int, bytes], number: int) -> int:
    value = values.get(number, b"")
    if len(value) != 2:
        raise MalformedCommandError(f"the command lacks (0000,{number:04X})")
    return value[0] | value[1] << 8


def _uid(values: dict[int, bytes], number: int) -> str:
    return values.get(number, b"").rstrip(b"\0 ").decode("ascii", "backslashreplace")


def _uid_element(number: int, uid: str) -> bytes:
    is_one = 0 < len(uid) <= LONGEST_UID  # an answer does not send back what is none
    return _element(number, _padded(uid.encode("ascii", "replace"), b"\0")) if is_one else b""


def _short_element(number: int, value: int) -> bytes:
    return _element(number, value.to_bytes(2, "little"))


def _element(number: int, value: bytes) -> bytes:
    return _HEAD.pack(0, number, len(value)) + value


def _padded(value: bytes, filler: bytes) -> bytes:
    return value + filler if len(value) % 2 else value
