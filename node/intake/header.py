"""What intake needs to know of an image, from the values of its header as they were written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from pydicom.charset import convert_encodings, decode_bytes

CHARACTER_SET = 0x00080005
STUDY_DATE, STUDY_TIME, ACCESSION_NUMBER, MODALITY = 0x00080020, 0x00080030, 0x00080050, 0x00080060
STUDY_DESCRIPTION, SERIES_DESCRIPTION = 0x00081030, 0x0008103E
PATIENT_ID, ISSUER, BIRTH_DATE = 0x00100020, 0x00100021, 0x00100030
BODY_PART, STUDY_UID, SERIES_UID, SERIES_NUMBER = 0x00180015, 0x0020000D, 0x0020000E, 0x00200011
HEADER_TAGS = (
    *(CHARACTER_SET, STUDY_DATE, STUDY_TIME, ACCESSION_NUMBER, MODALITY),
    *(STUDY_DESCRIPTION, SERIES_DESCRIPTION, PATIENT_ID, ISSUER, BIRTH_DATE),
    *(BODY_PART, STUDY_UID, SERIES_UID, SERIES_NUMBER),
)
_DELIMITERS = {ord(character) for character in "\\^="}  # after each, a text's first character set holds again


@dataclass(frozen=True)
class Header:
    """Decoded. A number that is none, or too large for one, is None: nothing is refused for it."""

    study_uid: str
    series_uid: str
    patient_id: str
    issuer: str
    birth_date: str
    study_date: str
    study_time: str
    accession_number: str
    study_description: str
    modality: str
    series_number: int | None
    series_description: str
    body_part: str


def decoded(values: Mapping[int, bytes]) -> Header:
    """The header of the encoded values of ``HEADER_TAGS``, any of which may be absent."""
    return _decoded(tuple(values.get(tag, b"") for tag in HEADER_TAGS))


@lru_cache(maxsize=256)
def _decoded(values: tuple[bytes, ...]) -> Header:
    """The images of a series share all of it, so that it is decoded once."""
    value_of = dict(zip(HEADER_TAGS, values, strict=True))
    character_sets = value_of[CHARACTER_SET].rstrip(b" \0").decode("ascii", "replace").split("\\")

    def text(tag: int) -> str:
        value = value_of[tag]
        if not value.isascii() or b"\x1b" in value:
            return _with_character_sets(value, character_sets).strip(" \0")
        return value.decode("ascii").strip(" \0")

    number = text(SERIES_NUMBER)
    return Header(
        study_uid=text(STUDY_UID),
        series_uid=text(SERIES_UID),
        patient_id=text(PATIENT_ID),
        issuer=text(ISSUER),
        birth_date=text(BIRTH_DATE),
        study_date=text(STUDY_DATE),
        study_time=text(STUDY_TIME),
        accession_number=text(ACCESSION_NUMBER),
        study_description=text(STUDY_DESCRIPTION),
        modality=text(MODALITY),
        series_number=int(number) if re.fullmatch(r"[+-]?\d{1,9}", number) else None,
        series_description=text(SERIES_DESCRIPTION),
        body_part=text(BODY_PART),
    )


def _with_character_sets(value: bytes, names: list[str]) -> str:
    """``value`` decoded; as Latin-1 where a named set is none of DICOM's and cannot decode it."""
    try:
        return decode_bytes(value, convert_encodings([name.strip() for name in names]), _DELIMITERS)
    except (LookupError, ValueError):
        return value.decode("latin-1")
