"""What the header of an image says about each of its slices, checked before anything is built on it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.multival import MultiValue

from inference.errors import NotInHounsfieldError, UnreadableSeriesError
from inference.plain import NativePixels, plain_header

Numbers = tuple[float, ...]
Attributes = Dataset | dict[str, Any]
"""Both give a value by its keyword with ``get``."""

_SPACING_MM = (0.05, 20.0)
_PASSES = (
    "TemporalPositionIdentifier",
    "TemporalPositionIndex",
    "AcquisitionNumber",
    "FrameAcquisitionNumber",
    "StackID",
    "NominalPercentageOfCardiacPhase",
    "TriggerTime",
    "FrameReferenceTime",
    "ConvolutionKernel",
    "KVP",
    "AcquisitionTime",
)
_TAGS = (
    *_PASSES,
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "FrameOfReferenceUID",
    "Modality",
    "ImageType",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "SamplesPerPixel",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PhotometricInterpretation",
    "PixelSpacing",
    "SliceThickness",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "RescaleSlope",
    "RescaleIntercept",
    "RescaleType",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
)


@dataclass(frozen=True)
class Slice:
    """One plane of a series.

    frame: 1-based in a multi-frame image, else None.
    position, orientation: PS3.3 C.7.6.2; the orientation's two directions are made exactly orthonormal.
    spacing: between rows, between columns, mm.
    thickness: mm; 0 where the header does not say, or says what cannot be true.
    passes: keyword and value of what tells apart several passes over the same positions.
    pixels: where they lie in the file; None where that takes a decoder to tell.
    """

    path: Path
    frame: int | None
    sop_uid: str
    series_uid: str
    frame_of_reference_uid: str
    modality: str
    image_type: tuple[str, ...]
    shape: tuple[int, int]
    position: Numbers
    orientation: Numbers
    spacing: tuple[float, float]
    thickness: float
    slope: float
    intercept: float
    passes: tuple[tuple[str, str], ...]
    pixels: NativePixels | None = None

    @property
    def is_localizer(self) -> bool:
        return bool({"LOCALIZER", "SCOUT", "TOPOGRAM"} & set(self.image_type))


Headers = Mapping[Path, tuple[Slice, ...]]
"""The slices of files, as ``read_slices`` gives them."""

NO_HEADERS: Headers = {}


def read_slices(path: Path) -> tuple[Slice, ...]:
    """The slices of one file: one, or as many as a multi-frame image has frames.

    A series is looked over to be chosen, set beside its priors, and read: a file that has not changed
    since is parsed once.

    Raises:
        UnreadableSeriesError: not DICOM, not a CT or PET image, not in HU, or its geometry is missing or
            absurd.
    """
    try:
        state = path.stat()
    except OSError as error:
        raise UnreadableSeriesError(f"{path.name} cannot be read ({_line(error)}); send it again.") from error
    return _read_slices(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=4096)
def _read_slices(path: Path, _mtime_ns: int, _size: int) -> tuple[Slice, ...]:
    return _plain_slices(path) or _parsed_slices(path)


def _plain_slices(path: Path) -> tuple[Slice, ...]:
    """Of an ordinary image; none where anything in it asks for the full parser."""
    try:
        plain = plain_header(path, _TAGS)
        return tuple(replace(item, pixels=plain.pixels) for item in _slices(path, plain.values))
    except Exception:  # noqa: BLE001  whatever is wrong, or only unusual, the full parser sees and says
        return ()


def _parsed_slices(path: Path) -> tuple[Slice, ...]:
    try:
        image = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(_TAGS))
    except InvalidDicomError:
        raise UnreadableSeriesError(f"{path.name} is not a DICOM file; leave it out of the study.") from None
    except Exception as error:  # a damaged file can make the parser raise anything
        raise UnreadableSeriesError(f"{path.name} cannot be read ({_line(error)}); send it again.") from error
    try:
        return tuple(_slices(path, image))
    except UnreadableSeriesError:
        raise
    except Exception as error:
        raise UnreadableSeriesError(f"{path.name} has a damaged header ({_line(error)}).") from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


def _slices(path: Path, image: Attributes) -> Iterator[Slice]:
    _check_image(path, image)
    per_frame = image.get("PerFrameFunctionalGroupsSequence")
    if per_frame is None:
        if int(image.get("NumberOfFrames") or 1) > 1:
            raise UnreadableSeriesError(
                f"{path.name} has several frames but says nothing about where they lie."
            )
        yield _slice(path, image, None, (image,))
        return
    if len(per_frame) != int(image.get("NumberOfFrames") or 1):
        raise UnreadableSeriesError(
            f"{path.name} has {image.get('NumberOfFrames')} frames but describes {len(per_frame)}; "
            "send it again."
        )
    shared = image.get("SharedFunctionalGroupsSequence") or [Dataset()]
    for number, groups in enumerate(per_frame, start=1):
        yield _slice(path, image, number, (*_macros(groups), *_macros(shared[0]), image))


def _check_image(path: Path, image: Attributes) -> None:
    modality = image.get("Modality") or "an unnamed modality"
    if modality not in ("CT", "PT"):
        raise UnreadableSeriesError(f"{path.name} is {modality}; only CT and PET are read as a volume.")
    if not image.get("Rows") or not image.get("Columns"):
        raise UnreadableSeriesError(f"{path.name} holds no image.")
    photometric = str(image.get("PhotometricInterpretation") or "")
    if int(image.get("SamplesPerPixel") or 1) != 1 or not photometric.startswith("MONOCHROME"):
        raise UnreadableSeriesError(
            f"{path.name} is a {photometric or 'colour'} picture, not {modality} values; send the originals."
        )
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID"):
        if not image.get(keyword):
            raise UnreadableSeriesError(f"{path.name} has no {keyword}, so no result could refer to it.")


def _check_unit(modality: str, rescale_type: object) -> None:
    """A CT is in HU where its header says so, nothing, or US, "unspecified" (PS3.3 C.11.1.1.2); spectral CT
    makes images of many other things."""
    unit = str(rescale_type or "").strip().upper()
    if modality == "CT" and unit not in ("", "HU", "US"):
        raise NotInHounsfieldError(unit)


def _macros(groups: Dataset) -> list[Dataset]:
    """The first item of each functional group (PS3.3 C.7.6.16)."""
    return [element.value[0] for element in groups if element.VR == "SQ" and len(element.value)]


def _slice(path: Path, image: Attributes, frame: int | None, sources: tuple[Attributes, ...]) -> Slice:
    def find(keyword: str) -> object:
        return next((source.get(keyword) for source in sources if keyword in source), None)

    def find_sound(keyword: str) -> object:
        """None for a damaged value too: of what no voxel depends on."""
        try:
            return find(keyword)
        except Exception:  # noqa: BLE001  a damaged value makes the parser raise anything
            return None

    name = path.name if frame is None else f"Frame {frame} of {path.name}"
    position = _numbers(name, "ImagePositionPatient", find("ImagePositionPatient"), 3)
    directions = _numbers(name, "ImageOrientationPatient", find("ImageOrientationPatient"), 6)
    between_rows, between_columns = _numbers(name, "PixelSpacing", find("PixelSpacing"), 2)
    low, high = _SPACING_MM
    if not (low <= between_rows <= high and low <= between_columns <= high):
        raise UnreadableSeriesError(
            f"{name} has a PixelSpacing of {between_rows:g} x {between_columns:g} mm, "
            f"which cannot be true (allowed: {low:g} to {high:g})."
        )
    _check_unit(str(image.get("Modality")), find("RescaleType"))
    slope, intercept = find("RescaleSlope"), find("RescaleIntercept")
    if slope is None or intercept is None:
        raise UnreadableSeriesError(
            f"{name} has no RescaleSlope or no RescaleIntercept: its values have no unit."
        )
    (slope,), (intercept,) = (
        _numbers(name, keyword, value, 1)
        for keyword, value in (("RescaleSlope", slope), ("RescaleIntercept", intercept))
    )
    kind = find("FrameType") or image.get("ImageType") or ()
    return Slice(
        path=path,
        frame=frame,
        sop_uid=str(image.get("SOPInstanceUID")),
        series_uid=str(image.get("SeriesInstanceUID")),
        frame_of_reference_uid=str(image.get("FrameOfReferenceUID") or ""),
        modality=str(image.get("Modality")),
        image_type=tuple(str(part).strip().upper() for part in _parts(kind)),
        shape=(int(image.get("Rows") or 0), int(image.get("Columns") or 0)),
        position=position,
        orientation=_oriented(name, directions),
        spacing=(between_rows, between_columns),
        thickness=_thickness(find_sound("SliceThickness")),
        slope=slope,
        intercept=intercept,
        passes=tuple(
            (keyword, str(value)) for keyword in _PASSES if (value := find_sound(keyword)) is not None
        ),
    )


def _thickness(value: object) -> float:
    """It tells how sure a measurement is, not where anything lies: a wrong one stops no reading."""
    try:
        mm = float(str(value))
    except ValueError:
        return 0.0
    return mm if _SPACING_MM[0] <= mm <= _SPACING_MM[1] else 0.0


def _parts(value: object) -> list[Any]:
    """The values of an element, whether it holds one or several."""
    return list(value) if isinstance(value, MultiValue | list | tuple) else [value]


def _numbers(name: str, keyword: str, value: object, count: int) -> Numbers:
    if value is None or value == "":
        raise UnreadableSeriesError(f"{name} has no {keyword}; send the original images.")
    try:
        numbers = tuple(float(part) for part in _parts(value))
    except (TypeError, ValueError):
        numbers = ()
    if len(numbers) != count or not all(map(math.isfinite, numbers)):
        raise UnreadableSeriesError(f"{name} has a {keyword} of {value}, not of {count} finite number(s).")
    return numbers


def _oriented(name: str, directions: Numbers) -> Numbers:
    orthonormal = _orthonormal(directions)
    if orthonormal is None:
        raise UnreadableSeriesError(
            f"{name} has an ImageOrientationPatient of {list(directions)}: no two directions at right angles."
        )
    return orthonormal


@lru_cache(maxsize=64)
def _orthonormal(directions: Numbers) -> Numbers | None:
    """None where they are no two directions at right angles."""
    row, column = np.array(directions[:3]), np.array(directions[3:])
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if max(abs(lengths[0] - 1), abs(lengths[1] - 1), abs(row @ column)) > 0.01:
        return None
    row = row / lengths[0]
    column = column - (column @ row) * row
    return (*row.tolist(), *(column / np.linalg.norm(column)).tolist())
