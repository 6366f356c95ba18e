"""The character set that an object is written in (PS3.3 C.12.1.1.2), and people's names as they came in.

A name is kept in its bytes: not each is what its character set says, and half a letter may look like the
backslash between two names.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping, MutableSequence, Sequence

from pydicom import DataElement, Dataset
from pydicom.charset import convert_encodings, custom_encoders, default_encoding
from pydicom.dataelem import RawDataElement
from pydicom.multival import MultiValue
from pydicom.tag import Tag
from pydicom.valuerep import VR, PersonName

NAMES = ("PatientName", "ReferringPhysicianName")
UTF_8 = "ISO_IR 192"
_TAKEN_FOR = "ISO_IR 100"  # what pydicom reads undeclared bytes as
_FRAME_BY_FRAME = Tag("PerFrameFunctionalGroupsSequence")
_OF_LETTERS = frozenset({VR.LO, VR.LT, VR.PN, VR.SH, VR.ST, VR.UC, VR.UT})

CharacterSet = str | MutableSequence[str] | None
"""As Specific Character Set has it; None: not declared."""


def names_in(header: Dataset) -> dict[str, bytes]:
    """The bytes of the names, by keyword and without padding, in a header as it was read: none of a name
    that somebody has looked at."""
    found = {keyword: header.get_item(keyword) for keyword in NAMES if keyword in header}
    return {
        keyword: element.value.rstrip(b"\0 ")
        for keyword, element in found.items()
        if isinstance(element, RawDataElement) and element.value
    }


def texts_in(data_set: Dataset) -> Iterator[str]:
    """The values, at any depth, that are written in the data set's character set; frame by frame there are
    codes alone."""
    for element in list(data_set.values()):
        if element.tag == _FRAME_BY_FRAME:
            continue
        if isinstance(element, RawDataElement):
            element = data_set[element.tag]
        if element.VR == VR.SQ:
            for item in element.value:
                yield from texts_in(item)
        elif element.VR in _OF_LETTERS:
            values = element.value if isinstance(element.value, MultiValue) else [element.value]
            yield from (str(value) for value in values if value)


def put_in_letters(
    instance: Dataset, names: Mapping[str, bytes], source: Dataset, character_set: CharacterSet
) -> None:
    """Puts names into an object and declares its character set, in place: the source's, and every name byte
    by byte. UTF-8 only where a text of our own would not go into the source's, and all that is the source's
    can be told from its bytes.

    Args:
        names: from ``names_in``.
        source: where the object's other texts come from, as far as they are not our own.
    """
    encodings = convert_encodings(character_set or "")
    came = _beyond_ascii(texts_in(source))
    own = _beyond_ascii(texts_in(instance)) - came
    if not all(_fits(text, encodings) for text in own):
        read = {keyword: _read(name, encodings) for keyword, name in names.items()}
        if all(_is_certain(text, encodings) for text in (*came, *read.values())):
            instance.SpecificCharacterSet = UTF_8
            for keyword, text in read.items():
                instance[keyword] = DataElement(keyword, "PN", text)
            return
    if character_set is None and (came or not all(map(bytes.isascii, names.values()))):
        character_set, encodings = _TAKEN_FOR, convert_encodings(_TAKEN_FOR)
    if character_set is not None:
        instance.SpecificCharacterSet = character_set
    for keyword, name in names.items():
        instance[keyword] = DataElement(keyword, "PN", PersonName(name, encodings))


def _beyond_ascii(texts: Iterable[str]) -> set[str]:
    return {text for text in texts if not text.isascii()}


def _read(name: bytes, encodings: Sequence[str]) -> str:
    return str(PersonName(name, encodings))


def _is_certain(text: str, encodings: Sequence[str]) -> bool:
    """Whether a text that was decoded is what its bytes say: without a declared set only ASCII is, and no
    name or description holds control characters."""
    if list(encodings) == [default_encoding] and not text.isascii():
        return False
    return not any(letter == "\ufffd" or unicodedata.category(letter) == "Cc" for letter in text)


def _fits(text: str, encodings: Sequence[str]) -> bool:
    return all(any(_has(letter, encoding) for encoding in encodings) for letter in set(text))


def _has(letter: str, encoding: str) -> bool:
    try:
        if encoding in custom_encoders:
            custom_encoders[encoding](letter, errors="strict")
        else:
            letter.encode("ascii" if encoding == default_encoding else encoding)
    except UnicodeError:
        return False
    return True
