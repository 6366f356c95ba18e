"""The header of an image in plain elements, and where its pixels lie, without the full parser.

The parser takes more than a millisecond for each slice of a series. Here the elements are walked over, and
the parser is asked for a value once, not for every slice that repeats it. What is unusual is left to it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from io import FileIO
from pathlib import Path
from typing import Any, Self

from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword
from pydicom.dataelem import RawDataElement, convert_raw_data_element, empty_value_for_VR
from pydicom.tag import BaseTag
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    PositronEmissionTomographyImageStorage,
)
from pydicom.valuerep import STR_VR

from inference.elements import PIXEL_DATA, Encoding, Walk, walk

_HEAD = 64 * 1024  # bytes; all but the pixels mostly lies within
_LONGEST = 1024  # bytes of a value
_META = slice(128, 140)  # the prefix, and the first element of the File Meta Information (PS3.10 7.1)
_META_LENGTH, _META_START = slice(140, 144), 144
_PLAIN_META = b"DICM\x02\x00\x00\x00UL\x04\x00"
_SYNTAX, _CLASS = 0x00020010, 0x00080016
_SINGLE_FRAME = frozenset({CTImageStorage, PositronEmissionTomographyImageStorage})
_NOT_PLAIN = frozenset({"", ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian})
_NATIVE = frozenset({ImplicitVRLittleEndian, ExplicitVRLittleEndian})
_FORM = ("BitsAllocated", "SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames")
_USUAL = [[16, 1, grey, frames] for grey in ("MONOCHROME1", "MONOCHROME2") for frames in (None, 1)]
_ESCAPE = b"\x1b"  # to another character set


class NotPlainError(ValueError):
    """A file for the full parser."""


@dataclass(frozen=True)
class FileState:
    """Another one tells that a file was written to."""

    modified_ns: int
    size: int

    @classmethod
    def of(cls, file: FileIO) -> Self:
        state = os.fstat(file.fileno())
        return cls(state.st_mtime_ns, state.st_size)


@dataclass(frozen=True)
class NativePixels:
    """One frame of 16-bit little-endian values in a file: where it begins, how many of its highest bits say
    nothing, and of which state of the file that is true."""

    offset: int
    signed: bool
    unused_bits: int
    state: FileState


@dataclass(frozen=True)
class PlainHeader:
    """``values``: of what was asked for, by keyword. ``pixels``: None where compressed, or of another
    form."""

    values: dict[str, Any]
    pixels: NativePixels | None


def plain_header(path: Path, keywords: tuple[str, ...]) -> PlainHeader:
    """Of a CT or PET image of one frame; ``keywords``: the attributes that are wanted.

    Raises:
        NotPlainError: it is none, or something in what was asked for is odd.
        MalformedDataSetError, BeyondHeadError: see ``walk``.
        OSError: the file cannot be read.
    """
    with path.open("rb", buffering=0) as file:
        head = file.read(_HEAD)
        state = FileState.of(file)
    if head[_META] != _PLAIN_META:
        raise NotPlainError
    start = _META_START + int.from_bytes(head[_META_LENGTH], "little")
    wanted = _elements(keywords)
    meta = walk(head, _META_START, start, Encoding(), {_SYNTAX, *wanted})
    syntax = _uid(meta.values.pop(_SYNTAX, b""))
    if syntax in _NOT_PLAIN or meta.values:  # a group length that is wrong takes in what follows
        raise NotPlainError
    explicit = syntax != ImplicitVRLittleEndian
    found = walk(head, start, state.size, Encoding(explicit), wanted, to_pixels=True)
    if _uid(found.values.get(_CLASS, b"")) not in _SINGLE_FRAME:
        raise NotPlainError
    if found.representations.keys() != found.values.keys():
        raise NotPlainError
    values = {}
    for tag, raw in found.values.items():
        keyword, vr = wanted[tag]
        if explicit and found.representations[tag] != vr:
            raise NotPlainError
        values[keyword] = _converted(tag, found.representations[tag], raw)
    return PlainHeader(values, _native(values, found, state) if syntax in _NATIVE else None)


def _native(image: dict[str, Any], found: Walk, state: FileState) -> NativePixels | None:
    """By the Image Pixel module (PS3.3 C.7.6.3)."""
    form = [image.get(keyword) for keyword in _FORM]
    bits, signed = image.get("BitsStored"), image.get("PixelRepresentation")
    if form not in _USUAL or bits is None or bits not in range(1, 17) or signed not in (0, 1):
        return None
    if image.get("HighBit") not in (None, bits - 1):
        return None
    if found.pixel_bytes.get(PIXEL_DATA, 0) < 2 * image["Rows"] * image["Columns"]:
        return None
    return NativePixels(found.pixels_at[PIXEL_DATA], bool(signed), 16 - bits, state)


def _uid(value: bytes) -> str:
    return value.rstrip(b"\0 ").decode("ascii", "backslashreplace")


@lru_cache(maxsize=8)
def _elements(keywords: tuple[str, ...]) -> dict[int, tuple[str, bytes]]:
    """Keyword and value representation (PS3.6) by tag, those of the SOP class among them."""
    tags = [_CLASS, *filter(None, map(tag_for_keyword, keywords))]
    return {tag: (keyword_for_tag(tag), dictionary_VR(tag).encode("ascii")) for tag in tags}


@lru_cache(maxsize=512)
def _converted(tag: int, representation: bytes, value: bytes) -> Any:
    """A value as the parser gives it, where that does not depend on the character set."""
    text = dictionary_VR(tag) in STR_VR
    if len(value) > _LONGEST or (text and (not value.isascii() or _ESCAPE in value)):
        raise NotPlainError
    vr = representation.decode("ascii") or None  # None: implicit
    raw: Any = value or empty_value_for_VR(vr, raw=True)
    element = RawDataElement(BaseTag(tag), vr, len(value), raw, 0, vr is None, True)
    return convert_raw_data_element(element).value
