"""Walks an encoded data set from its first byte to its last without decoding it (PS3.5 7).

Reading a header with a full parser costs as much as receiving the image. The walk looks at tag and length
of each top-level element, keeps the few values asked for and proves on the way that the data set is whole.
"""

from __future__ import annotations

import mmap
import re
import struct
from collections.abc import Container
from dataclasses import dataclass, field

Buffer = bytes | memoryview | mmap.mmap

PIXEL_DATA, NUMBER_OF_FRAMES = 0x7FE00010, 0x00280008
PIXEL_TAGS = (PIXEL_DATA, 0x7FE00008, 0x7FE00009)  # PixelData, FloatPixelData, DoubleFloatPixelData
UNDEFINED = 0xFFFFFFFF
MAXIMUM_DEPTH = 64
MAXIMUM_ELEMENTS = 4_000_000  # an enhanced object of 40,000 frames has three
ELEMENTS_OF_ANY, BYTES_OF_ANOTHER = 1_000_000, 64  # where it is smaller than those are
MAXIMUM_FRAGMENTS = 1_000_000
FRAGMENTS_OF_ANY, FRAGMENTS_OF_A_FRAME = 65_536, 16  # a video is one stream, cut anywhere
MAXIMUM_VALUE = 16 * 1024  # bytes kept of a wanted value

_INTEGER = re.compile(rb"([+-]?[0-9]{1,11})(\.0*)?")  # some write 1.0
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_LONG_VRS = frozenset(
    {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
)
_SHORT_VRS = frozenset(
    {b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT"}
    | {b"PN", b"SH", b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US"}
)


class BeyondHeadError(Exception):
    """The walk leads beyond the part of the data set that was given: give all of it."""


class MalformedDataSetError(ValueError):
    """The bytes are not a whole data set; the message says where it breaks."""


@dataclass(frozen=True)
class Encoding:
    """How the elements of a data set are written."""

    explicit: bool = True
    big_endian: bool = False


@dataclass(frozen=True)
class Walk:
    """What a walk found, by tag: raw values of the wanted elements, their value representations (empty where
    implicit), the lengths of the pixel data in bytes, and where these begin. A wanted sequence of undefined
    length has a representation and no value.

    ``fragments``: how many fragments of encapsulated pixel data hold anything, the offset table left out.
    """

    values: dict[int, bytes] = field(default_factory=dict)
    representations: dict[int, bytes] = field(default_factory=dict)
    pixel_bytes: dict[int, int] = field(default_factory=dict)
    pixels_at: dict[int, int] = field(default_factory=dict)
    fragments: int | None = None


def walk(
    data: Buffer,
    start: int,
    end: int,
    encoding: Encoding,
    wanted: Container[int],
    to_pixels: bool = False,
) -> Walk:
    """Walk the data set from ``start`` to ``end``, or ``to_pixels``. ``data`` may hold only the first part of
    it: that is enough when just the pixel data, which is not looked into, reaches beyond.

    Raises:
        MalformedDataSetError: an element reaches beyond the end, what stands there is no element, or there
            are more of them than any sound object has.
        BeyondHeadError: the first part is not enough.
    """
    steps = _Steps(data, end, encoding)
    values: dict[int, bytes] = {}
    representations: dict[int, bytes] = {}
    pixel_bytes: dict[int, int] = {}
    pixels_at: dict[int, int] = {}
    fragments: int | None = None
    element, explicit, short = steps.element, encoding.explicit, steps.explicit
    position, given = start, len(data)
    for _ in steps.left:
        if position >= end:
            break
        if position + 12 > given and given < end:
            raise BeyondHeadError
        if end - position < 8:
            if not any(data[position:end]):
                break  # some writers fill up with zeros
            raise MalformedDataSetError("the data set is cut short inside an element's head")
        vr = b""
        if explicit:  # most elements by far have a short form: no call for those
            group, number, vr, length = short(data, position)
        if vr in _SHORT_VRS:
            tag = group << 16 | number
            position += 8
        else:
            tag, vr, length, position = element(position, explicit)
        if length == UNDEFINED:
            if tag == PIXEL_DATA:
                if to_pixels:
                    break
                frames = integer(values.get(NUMBER_OF_FRAMES, b""))
                fragments, position = steps.fragments(position, _most_fragments(frames or 1))
            else:
                position = steps.after_sequence(position, explicit and vr != b"UN", 0)
                if tag in wanted:
                    representations[tag] = vr
            continue
        value_end = position + length
        if value_end > end:
            raise MalformedDataSetError(
                f"{_name(tag)} announces {length} bytes, of which {end - position} have arrived"
            )
        if tag in wanted:
            if value_end > given:
                raise BeyondHeadError
            values[tag] = bytes(data[position : min(value_end, position + MAXIMUM_VALUE)])
            representations[tag] = vr
        elif tag >> 16 == 0x7FE0:
            pixel_bytes[tag], pixels_at[tag] = length, position
            if to_pixels and tag in PIXEL_TAGS:
                break
        position = value_end
    else:
        raise steps.too_many()
    return Walk(values, representations, pixel_bytes, pixels_at, fragments)


class _Steps:
    """From one element to the next in ``data``."""

    def __init__(self, data: Buffer, end: int, encoding: Encoding) -> None:
        order = ">" if encoding.big_endian else "<"
        self._data = data
        self._end = end
        self._most = min(MAXIMUM_ELEMENTS, ELEMENTS_OF_ANY + end // BYTES_OF_ANOTHER)
        self.left = iter(range(self._most))  # shared by every loop, however deep
        self.explicit = struct.Struct(order + "HH2sH").unpack_from
        self._implicit = struct.Struct(order + "HHI").unpack_from
        self._length = struct.Struct(order + "I").unpack_from

    def element(self, position: int, explicit: bool) -> tuple[int, bytes, int, int]:
        """Tag, VR, length of the element at ``position``, and where its value starts."""
        try:
            if explicit:
                group, number, vr, length = self.explicit(self._data, position)
                if vr in _SHORT_VRS:
                    return group << 16 | number, vr, length, position + 8
                if vr in _LONG_VRS:
                    return group << 16 | number, vr, self._length(self._data, position + 8)[0], position + 12
                if group == 0xFFFE:
                    return group << 16 | number, b"", self._length(self._data, position + 4)[0], position + 8
                raise MalformedDataSetError(
                    f"{_name(group << 16 | number)} has no value representation, so this is not "
                    "a data set in the transfer syntax it was sent in"
                )
            group, number, length = self._implicit(self._data, position)
            return group << 16 | number, b"", length, position + 8
        except struct.error:
            if len(self._data) < self._end:
                raise BeyondHeadError from None
            raise MalformedDataSetError("the data set is cut short inside an element's head") from None

    def after_sequence(self, position: int, explicit: bool, depth: int) -> int:
        """Where a sequence of undefined length ends whose first item is at ``position``."""
        if depth > MAXIMUM_DEPTH:
            raise MalformedDataSetError(f"sequences are nested more than {MAXIMUM_DEPTH} deep")
        for _ in self.left:
            tag, _, length, position = self.element(position, False)
            if tag == _SEQUENCE_END:
                return position
            if tag != _ITEM:
                raise MalformedDataSetError(f"{_name(tag)} stands where a sequence's item should")
            position = self._after_item(position, length, explicit, depth)
        raise self.too_many()

    def _after_item(self, position: int, length: int, explicit: bool, depth: int) -> int:
        if length != UNDEFINED:
            return self._inside(position + length)
        for _ in self.left:
            tag, vr, length, position = self.element(position, explicit)
            if tag == _ITEM_END:
                return position
            if length == UNDEFINED:
                position = self.after_sequence(position, explicit and vr != b"UN", depth + 1)
            else:
                position = self._inside(position + length)
        raise self.too_many()

    def fragments(self, position: int, most: int) -> tuple[int, int]:
        """How many fragments of encapsulated pixel data, of ``most``, hold anything, and where it ends (PS3.5
        A.4)."""
        filled = 0
        for number in range(most + 2):  # offset table and end
            tag, _, length, position = self.element(position, False)
            if tag == _SEQUENCE_END:
                return filled, position
            if tag != _ITEM or length == UNDEFINED:
                raise MalformedDataSetError("the fragments of the pixel data do not follow each other")
            filled += length > 0 and number > 0
            position = self._inside(position + length)
        raise MalformedDataSetError(f"the pixel data is cut into more than {most:,} fragments")

    def too_many(self) -> MalformedDataSetError:
        return MalformedDataSetError(f"it has more than {self._most:,} elements")

    def _inside(self, position: int) -> int:
        if position > self._end:
            raise MalformedDataSetError("the data set is cut short inside a sequence or its pixel data")
        return position


def integer(value: bytes) -> int | None:
    """The number in an IS (PS3.5 6.2); None where there is none."""
    found = _INTEGER.fullmatch(value.strip(b" \0"))
    return int(found[1]) if found else None


def _most_fragments(frames: int) -> int:
    return min(FRAGMENTS_OF_ANY + FRAGMENTS_OF_A_FRAME * max(frames, 1), MAXIMUM_FRAGMENTS)


def _name(tag: int) -> str:
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
