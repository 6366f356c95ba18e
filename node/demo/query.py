"""Attribute matching of the query service (PS3.4 C.2.2.2), over data sets in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase

from pydicom import DataElement, Dataset
from pydicom.multival import MultiValue

UNIQUE_KEYS = {"STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID", "IMAGE": "SOPInstanceUID"}
_COUNTED = {
    "NumberOfStudyRelatedSeries": "SeriesInstanceUID",
    "NumberOfStudyRelatedInstances": "SOPInstanceUID",
    "NumberOfSeriesRelatedInstances": "SOPInstanceUID",
}
_NOT_MATCHED = {"QueryRetrieveLevel", "SpecificCharacterSet", "ModalitiesInStudy", *_COUNTED}


def matching(identifier: Dataset, images: Iterable[Dataset]) -> list[Dataset]:
    """The images that fit every key of the identifier; an empty key fits all."""
    keys = [element for element in identifier if element.keyword not in _NOT_MATCHED and element.VR != "SQ"]
    modalities = identifier.get("ModalitiesInStudy")
    chosen = [image for image in images if all(_fits(key, image) for key in keys)]
    if modalities:
        wanted = set(_texts(modalities))
        studies = {image.StudyInstanceUID for image in chosen if image.get("Modality") in wanted}
        chosen = [image for image in chosen if image.StudyInstanceUID in studies]
    return chosen


def answers(identifier: Dataset, images: Iterable[Dataset]) -> Iterator[Dataset]:
    """One response for each study, series or image (by the query's level) that fits, with the keys asked for.

    Raises:
        ValueError: no level, or none that the study root model has.
    """
    level = str(identifier.get("QueryRetrieveLevel", ""))
    if level not in UNIQUE_KEYS:
        raise ValueError(f"query level {level!r} is not one of {', '.join(UNIQUE_KEYS)}")
    groups: dict[str, list[Dataset]] = {}
    for image in matching(identifier, images):
        groups.setdefault(str(image.get(UNIQUE_KEYS[level], "")), []).append(image)
    for group in groups.values():
        yield _answer(identifier, group)


def _answer(identifier: Dataset, group: list[Dataset]) -> Dataset:
    first, answer = group[0], Dataset()
    for key in identifier:
        if key.keyword in _COUNTED:
            answer.add_new(key.tag, "IS", len({str(image[_COUNTED[key.keyword]].value) for image in group}))
        elif key.keyword == "ModalitiesInStudy":
            answer.ModalitiesInStudy = sorted({str(image.get("Modality", "")) for image in group})
        elif key.tag in first:
            answer[key.tag] = first[key.tag]
        else:
            answer.add_new(key.tag, key.VR, [] if key.VR == "SQ" else "")
    answer.QueryRetrieveLevel = identifier.QueryRetrieveLevel
    if charset := first.get("SpecificCharacterSet"):
        answer.SpecificCharacterSet = charset
    return answer


def _fits(key: DataElement, image: Dataset) -> bool:
    wanted = _texts(key.value)
    if not wanted:
        return True
    found = _texts(image[key.tag].value) if key.tag in image else [""]
    if key.VR in ("DA", "TM", "DT") and "-" in wanted[0]:
        start, _, end = wanted[0].partition("-")
        return any((not start or start <= value) and (not end or value <= end) for value in found if value)
    if key.VR == "PN":
        wanted, found = ([text.upper() for text in texts] for texts in (wanted, found))
    return any(fnmatchcase(value, _pattern(text)) for text in wanted for value in found)


def _pattern(text: str) -> str:
    """DICOM's wild cards are ``*`` and ``?`` alone."""
    return text.replace("[", "[[]")


def _texts(value: object) -> list[str]:
    values = value if isinstance(value, MultiValue | list | tuple) else [value]
    return [str(item) for item in values if item not in (None, "")]
