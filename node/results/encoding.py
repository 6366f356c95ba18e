"""Data sets in Explicit VR Little Endian (PS3.5 A.2): the bytes that pydicom writes, in a third of its time.

pydicom looks for ambiguous value representations anew in every item of every sequence, and hands each element
on from buffer to buffer. A report has thousands of items, and nothing in it is ambiguous. Values other than
plain text are still put into bytes by pydicom.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from io import BytesIO
from pathlib import Path

from pydicom import DataElement, Dataset, FileDataset, dcmwrite
from pydicom.charset import convert_encodings, default_encoding
from pydicom.dataelem import RawDataElement
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element
from pydicom.tag import BaseTag, Tag
from pydicom.uid import ExplicitVRLittleEndian
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32, VR

_SHORT, _LONG, _ITEM = struct.Struct("<HH2sH"), struct.Struct("<HH2sxxI"), struct.Struct("<HHI")
_NOT_OF_A_DATA_SET = (0x0000, 0x0002)  # commands, and File Meta Information
_PLAIN_TEXT = frozenset({VR.AE, VR.CS, VR.DA, VR.DT, VR.LO, VR.LT, VR.SH, VR.ST, VR.TM, VR.UC, VR.UI, VR.UT})
_MOST_BYTES = 0xFFFF  # of a value whose length takes two bytes, but for its padding

Encodings = tuple[str, ...]
"""Python's names of the character sets of a data set."""


class AmbiguousError(ValueError):
    """A value representation that depends on other elements, as PS3.6 has it for some."""


def save(instance: Dataset, path: Path) -> None:
    """Writes a file whole or not at all; ``path``'s folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_bytes(file_of(instance))
    part.replace(path)


def file_of(instance: Dataset) -> bytes:
    """A file (PS3.10 7): preamble, File Meta Information, data set."""
    if _is_plain(instance):
        with suppress(AmbiguousError):
            return _head(instance) + encoded(instance)
    file = BytesIO()
    dcmwrite(file, instance, enforce_file_format=True)
    return file.getvalue()


def encoded(data_set: Dataset, inherited: Encodings = (default_encoding,)) -> bytes:
    """The elements in the order of their tags. ``inherited``: where the data set names no character set.

    Raises:
        AmbiguousError: see there.
    """
    encodings = inherited
    if "SpecificCharacterSet" in data_set:
        encodings = tuple(convert_encodings(data_set.SpecificCharacterSet or default_encoding))
    is_encoded = _is_encoded(data_set, encodings)
    parts = []
    for tag in sorted(data_set.keys()):
        if tag.element == 0 and tag.group > 6:  # a group length (PS3.5 7.2) is retired
            continue
        element = data_set.get_item(tag)
        if is_encoded and isinstance(element, RawDataElement) and element.VR == "SQ":
            parts.append(_framed(tag, "SQ", element.value or b""))
        elif is_encoded and isinstance(element, RawDataElement):
            parts.append(_by_pydicom(element, encodings))
        else:
            parts.append(_element(tag, data_set[tag], encodings))
    return b"".join(parts)


def sequence(keyword: str, *items: bytes) -> bytes:
    """A sequence whose items are encoded already (PS3.5 7.5)."""
    return _framed(Tag(keyword), "SQ", b"".join(map(item, items)))


def item(content: bytes) -> bytes:
    return _ITEM.pack(0xFFFE, 0xE000, len(content)) + content


def _element(tag: BaseTag, element: DataElement, encodings: Encodings) -> bytes:
    vr, value = str(element.VR), element.value
    if len(vr) != 2:
        raise AmbiguousError(f"{element.keyword or tag} is {vr}")
    if element.is_undefined_length:
        return _by_pydicom(element, encodings)
    if vr == "SQ":
        if any(getattr(one, "is_undefined_length_sequence_item", False) for one in value):
            return _by_pydicom(element, encodings)
        return _framed(tag, vr, b"".join(item(encoded(one, encodings)) for one in value))
    if vr in _PLAIN_TEXT and isinstance(value, str) and value.isascii():
        text = value.encode("ascii")
        if len(text) < _MOST_BYTES:
            return _framed(tag, vr, text + (b"\0" if vr == "UI" else b" ") * (len(text) % 2))
    return _by_pydicom(element, encodings)


def _framed(tag: BaseTag, vr: str, value: bytes) -> bytes:
    frame = _LONG if vr in EXPLICIT_VR_LENGTH_32 else _SHORT
    return frame.pack(tag.group, tag.element, vr.encode("ascii"), len(value)) + value


def _by_pydicom(element: DataElement | RawDataElement, encodings: Encodings) -> bytes:
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    write_data_element(buffer, element, list(encodings))
    return buffer.getvalue()


def _is_encoded(data_set: Dataset, encodings: Encodings) -> bool:
    """Whether the values in it that nobody has looked at yet are in this encoding."""
    known = data_set.original_character_set
    named = (known,) if isinstance(known, str) else tuple(known)
    return data_set.original_encoding == (False, True) and named == encodings


def _is_plain(instance: Dataset) -> bool:
    """Whether it is in this encoding, and asks for no more than its elements in a row."""
    if instance.file_meta.TransferSyntaxUID != ExplicitVRLittleEndian:
        return False
    if "PixelData" in instance and instance["PixelData"].is_undefined_length:
        return False
    return not any(tag.group in _NOT_OF_A_DATA_SET for tag in instance.keys())  # noqa: SIM118 - tags alone


def _head(instance: Dataset) -> bytes:
    """All before the data set, which pydicom makes, for one with nothing but what the head repeats."""
    shell = FileDataset("", {}, preamble=getattr(instance, "preamble", None), file_meta=instance.file_meta)
    for keyword in ("SOPClassUID", "SOPInstanceUID"):
        if keyword in instance:
            setattr(shell, keyword, instance[keyword].value)
    file = BytesIO()
    dcmwrite(file, shell, enforce_file_format=True)
    return file.getvalue()[: -len(encoded(shell)) or None]
