"""Headers of the images a reading was made from, made safe to build results on.

Scanners and gateways leave out attributes that DICOM requires, or fill them with values it does not know.
A result object carries the patient and study of its source, so those gaps are closed here, on a copy in
memory: required attributes that are absent become empty, values that are no DICOM become empty, and
nothing that identifies the patient is ever shortened or altered. Names are kept beside the headers, as bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from pydicom import DataElement, Dataset
from pydicom.errors import InvalidDicomError
from pydicom.tag import Tag
from pydicom.valuerep import DA, TM

from inference.picture import Pictures
from inference.volume import Volume
from node.results.identity import result_uid
from node.results.texts import NAMES, CharacterSet, names_in

_TYPE_2 = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
)
_DATES = ("PatientBirthDate", "StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate")
_TIMES = ("PatientBirthTime", "StudyTime", "SeriesTime", "AcquisitionTime", "ContentTime")
_TABLES = ("ModalityLUTSequence", "VOILUTSequence")
_WINDOW = ("WindowCenter", "WindowWidth")
_REFERENCES = ("ReferencedStudySequence", "ReferencedPatientSequence")
_TRIAL = (Tag(0x0012, 0x0010), Tag(0x0012, 0x0060))  # of PS3.3 C.7.1.3, C.7.2.3 and C.7.3.2
_OF_ITS_OWN = [
    Tag(keyword)
    for keyword in (
        "SOPClassUID",
        "SOPInstanceUID",
        "SliceThickness",
        "SpacingBetweenSlices",
        "InstanceNumber",
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "NumberOfFrames",
        "Rows",
        "Columns",
        "PixelSpacing",
        "RescaleIntercept",
        "RescaleSlope",
    )
]


class UnusableSourceError(ValueError):
    """A source image that no result object can refer to; the message says why and what to do."""


@dataclass(frozen=True, eq=False)
class Sources:
    """The headers a set of results is built on.

    headers: by SOP Instance UID, those that were asked for.
    first: the one that patient and study are taken from; always the same for the same images.
    character_set: what Specific Character Set says there; the headers themselves no longer have it, since
        highdicom refuses some that are valid.
    names: the bytes of the names there, by keyword; in the headers they are empty.
    """

    headers: Mapping[str, Dataset]
    first: Dataset
    character_set: CharacterSet
    names: Mapping[str, bytes]

    def __getitem__(self, sop_instance_uid: str) -> Dataset:
        return self.headers[sop_instance_uid]


def read_sources(paths: Sequence[Path], volume: Volume, wanted: Iterable[str] | None = None) -> Sources:
    """Reads the headers of ``volume``'s images among ``paths`` and makes them safe.

    Args:
        wanted: SOP Instance UIDs whose headers are needed; None: all. The first image's is always read.

    Raises:
        UnusableSourceError: an image of the volume is in none of the files, or lacks its Study Instance UID.
    """
    images = sorted({image[0] for image in volume.images if image is not None})
    needed = images if wanted is None else sorted({*images[:1], *wanted})
    found = _by_name(paths, images, needed) if images else None
    if found is None:
        found = _scan(paths)
        missing = [uid for uid in images if uid not in found]
        if missing or not images:
            raise UnusableSourceError(
                f"{len(missing)} of {len(images)} images of series {volume.series_uid} are in none of the "
                f"{len(paths)} files given; pass every file the volume was loaded from."
            )
    first = _header(found[images[0]][0])
    names = names_in(first)
    character_set: CharacterSet = first.get("SpecificCharacterSet") or None
    sanitised(first, volume)
    headers = {images[0]: first}
    for uid in sorted({*needed} - {images[0]}):
        path, of_its_own = found[uid]
        if "NumberOfFrames" in of_its_own or isinstance(volume, Pictures):
            headers[uid] = sanitised(_header(path), volume)
        else:
            headers[uid] = _like(first, of_its_own)
            _mend_plane(headers[uid], volume)
    return Sources(headers, first, character_set, names)


def middle_image_uid(volume: Volume) -> str:
    """SOP Instance UID of the image in the middle of those that were sent."""
    sent = [image[0] for image in volume.images if image is not None]
    return sent[len(sent) // 2]


def sanitised(header: Dataset, volume: Volume) -> Dataset:
    """Closes the gaps of one header, in place, takes the names out, and returns it.

    Raises:
        UnusableSourceError: no Study Instance UID; there is nothing a result could belong to.
    """
    if not header.get("StudyInstanceUID"):
        raise UnusableSourceError(
            f"Image {header.get('SOPInstanceUID', '?')} has no Study Instance UID, so its results belong to "
            "no study; send it again from a source that sets (0020,000D)."
        )
    _drop_bulk(header)
    for keyword in NAMES:
        header.pop(Tag(keyword), None)
    _drop_unreadable(header)
    header.decode()
    header.pop(Tag("SpecificCharacterSet"), None)
    if not header.get("Modality"):
        header.Modality = "OT"
    for keyword in _TYPE_2:
        if keyword not in header:
            setattr(header, keyword, "")
    for keyword in _REFERENCES:
        _drop_broken_references(header, keyword)
    _drop_broken_trial(header)
    if header.PatientSex not in ("M", "F", "O"):
        header.PatientSex = ""
    for keyword in _DATES:
        _empty_unless(header, keyword, DA)
    for keyword in _TIMES:
        _empty_unless(header, keyword, TM)
    if not re.fullmatch(r"\d{3}[DWMY]", str(header.get("PatientAge", "000Y"))):
        del header.PatientAge
    for keyword in _TABLES:
        _mend_tables(header, keyword)
    _drop_half_a_window(header)
    if isinstance(volume, Pictures):
        _leave_plane(header)
        return header
    if "FrameOfReferenceUID" not in header or not header.FrameOfReferenceUID:
        header.FrameOfReferenceUID = volume.frame_of_reference_uid or result_uid(
            "frame-of-reference", volume.series_uid
        )
    if "PerFrameFunctionalGroupsSequence" in header:
        _share_orientation(header, volume)
    else:
        _mend_plane(header, volume)
    return header


def column_direction(volume: Volume, axis: int) -> np.ndarray:
    """Unit vector, LPS, along which an index axis (0 slices, 1 rows, 2 columns) runs."""
    step = volume.affine[:3, axis]
    return step / np.linalg.norm(step)


def image_orientation(volume: Volume) -> list[float]:
    """Image Orientation (Patient): the direction of increasing column, then of increasing row."""
    return [float(cosine) + 0.0 for axis in (2, 1) for cosine in np.round(column_direction(volume, axis), 10)]


def pixel_spacing(volume: Volume) -> list[float]:
    """Pixel Spacing, mm: between rows, then between columns."""
    return [round(float(np.linalg.norm(volume.affine[:3, axis])), 8) for axis in (1, 2)]


def slice_spacing(volume: Volume) -> float:
    """Between adjacent planes along their normal, mm; in a tilted stack less than from centre to centre."""
    normal = np.cross(column_direction(volume, 2), column_direction(volume, 1))
    return round(abs(float(volume.affine[:3, 0] @ normal)), 8)


def plane_position(volume: Volume, index: int) -> list[float]:
    """Image Position (Patient), mm, of one slice: the centre of its first pixel."""
    return [round(float(mm), 6) + 0.0 for mm in volume.affine[:3] @ (index, 0, 0, 1)]


def _by_name(
    paths: Sequence[Path], images: Sequence[str], needed: Sequence[str]
) -> dict[str, tuple[Path, Dataset]] | None:
    """The images needed, where every file is named after its image as in the node's archive; else None."""
    named = {path.stem: path for path in sorted(paths, reverse=True)}
    if not named.keys() >= set(images):
        return None
    found: dict[str, tuple[Path, Dataset]] = {}
    for uid in needed:
        image = _own_attributes(named[uid])
        if image is None or image.get("SOPInstanceUID") != uid:
            return None
        found[uid] = named[uid], image
    return found


def _scan(paths: Sequence[Path]) -> dict[str, tuple[Path, Dataset]]:
    """Path and own attributes of each image, by SOP Instance UID; the first path where one comes twice."""
    found: dict[str, tuple[Path, Dataset]] = {}
    for path in sorted(paths):
        image = _own_attributes(path)
        if image is not None and "SOPInstanceUID" in image:
            found.setdefault(str(image.SOPInstanceUID), (path, image))
    return found


def _own_attributes(path: Path) -> Dataset | None:
    try:
        return pydicom.dcmread(path, specific_tags=_OF_ITS_OWN, stop_before_pixels=True, force=True)
    except (InvalidDicomError, OSError, EOFError):
        return None


def _like(first: Dataset, of_its_own: Dataset) -> Dataset:
    """The header of another image of the same series, without reading all of it."""
    header = Dataset()
    header.update(first)
    for tag in _OF_ITS_OWN:
        if tag in of_its_own:
            header[tag] = of_its_own[tag]
        elif tag in header:
            del header[tag]
    return header


def _header(path: Path) -> Dataset:
    return pydicom.dcmread(path, stop_before_pixels=True, force=True)


def _drop_bulk(header: Dataset) -> None:
    for tag in [tag for tag in list(header.keys()) if tag.is_private or 0x6000 <= tag.group <= 0x60FF]:
        del header[tag]
    for keyword in ("IconImageSequence", "OriginalAttributesSequence", "ReferencedImageSequence"):
        header.pop(Tag(keyword), None)


def _drop_unreadable(header: Dataset) -> None:
    """Elements, at any depth, whose values break the rules of their representation, such as a number of a
    wrong length: as if they were absent."""
    for tag in list(header.keys()):
        try:
            element = header[tag]
        except Exception:  # noqa: BLE001  a damaged value makes the parser raise anything
            del header[tag]
            continue
        if element.VR == "SQ":
            for item in element.value or []:
                _drop_unreadable(item)


def _mend_tables(header: Dataset, keyword: str) -> None:
    """LUT Data as bytes: it may come as numbers (US or OW, PS3.3 C.11.1), which highdicom refuses."""
    for item in header.get(keyword) or []:
        if "LUTData" in item and not isinstance(item.LUTData, bytes):
            data = np.atleast_1d(np.asarray(item.LUTData, np.int64)).astype("<u2").tobytes()
            item["LUTData"] = DataElement("LUTData", "OW", data)


def _drop_half_a_window(header: Dataset) -> None:
    """A window has a centre and a width, and as many of the one as of the other (PS3.3 C.11.2)."""
    sizes = [header[word].VM if header.get(word) not in (None, "") else 0 for word in _WINDOW]
    if sizes[0] != sizes[1] or not sizes[0]:
        for word in _WINDOW:
            header.pop(Tag(word), None)


def _drop_broken_trial(header: Dataset) -> None:
    """A clinical trial without sponsor, protocol or subject is none (PS3.3 C.7.1.3: types 1 and 1C), and an
    object that carries it is refused; de-identification often leaves one behind."""
    subject = header.get("ClinicalTrialSubjectID") or header.get("ClinicalTrialSubjectReadingID")
    if subject and header.get("ClinicalTrialSponsorName") and header.get("ClinicalTrialProtocolID"):
        return
    for tag in [tag for tag in header.keys() if _TRIAL[0] <= tag <= _TRIAL[1]]:  # noqa: SIM118 - tags alone
        del header[tag]


def _empty_unless(header: Dataset, keyword: str, parse: type[DA] | type[TM]) -> None:
    value = header.get(keyword)
    if not value:
        return
    try:
        parse(str(value))
    except ValueError:
        setattr(header, keyword, "")


def _leave_plane(header: Dataset) -> None:
    """A picture lies nowhere in the patient: a frame of reference without positions would promise it."""
    for keyword in ("FrameOfReferenceUID", "PositionReferenceIndicator"):
        header.pop(Tag(keyword), None)
    if "PatientOrientation" not in header:
        header.PatientOrientation = ""


def _drop_broken_references(header: Dataset, keyword: str) -> None:
    """References that name no class or no instance (PS3.3 10.8), which some gateways leave behind."""
    if keyword not in header:
        return
    items = header[keyword].value or []
    whole = [i for i in items if i.get("ReferencedSOPClassUID") and i.get("ReferencedSOPInstanceUID")]
    if whole:
        setattr(header, keyword, whole)
    else:
        delattr(header, keyword)


def _mend_plane(header: Dataset, volume: Volume) -> None:
    uid = header.SOPInstanceUID
    index = next((k for k, image in enumerate(volume.images) if image and image[0] == uid), None)
    if index is None:
        return
    if not header.get("PixelSpacing"):
        header.PixelSpacing = pixel_spacing(volume)
    if not header.get("ImagePositionPatient"):
        header.ImagePositionPatient = plane_position(volume, index)
    header.ImageOrientationPatient = image_orientation(volume)
    if not header.get("SliceThickness"):
        header.SliceThickness = slice_spacing(volume)
    if "SpacingBetweenSlices" in header and not header.SpacingBetweenSlices:
        del header.SpacingBetweenSlices


def _share_orientation(header: Dataset, volume: Volume) -> None:
    """highdicom looks for orientation and pixel measures among the shared functional groups only."""
    if not header.get("SharedFunctionalGroupsSequence"):
        header.SharedFunctionalGroupsSequence = [Dataset()]
    shared = header.SharedFunctionalGroupsSequence[0]
    if "PlaneOrientationSequence" not in shared:
        orientation = Dataset()
        orientation.ImageOrientationPatient = image_orientation(volume)
        shared.PlaneOrientationSequence = [orientation]
    if "PixelMeasuresSequence" not in shared:
        measures = Dataset()
        measures.PixelSpacing = pixel_spacing(volume)
        measures.SliceThickness = slice_spacing(volume)
        shared.PixelMeasuresSequence = [measures]
