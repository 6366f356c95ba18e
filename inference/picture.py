"""Projection images and video frames: pixels that lie in a plane of their own, not in the patient."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.multival import MultiValue
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut, convert_color_space

from inference import codecs
from inference.errors import UnreadableSeriesError
from inference.findings import Caveat
from inference.volume import Volume

__all__ = ["PLANE", "Pictures", "View", "load_pictures", "view_of"]

PLANE = np.array([[0.0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
"""From (picture, row, column) to (column, row, picture): a plane's own coordinates, in pixels."""

_NOT_FRONTAL = {
    **dict.fromkeys(("LL", "RL", "LAT", "LATERAL"), "from the side"),
    **dict.fromkeys(("LLO", "RLO", "LAO", "RAO", "LPO", "RPO"), "oblique"),
    **dict.fromkeys(("LLD", "RLD"), "of a patient who lies on the side"),
}
_LATERAL_CODES = frozenset({"399067008", "399173006", "399198007", "R-102CD", "R-10236", "R-10232"})
"""View Code Sequence (CID 4010), SNOMED CT and the older SNOMED-RT codes."""
_FRONTAL_CODES = {"399348003": "AP", "R-10206": "AP", "272479007": "PA", "R-10214": "PA", "R-40888": "PA"}
_RADIOGRAPHS = ("CR", "DX")
_RESCALING = ("RescaleSlope", "RescaleIntercept")
_MOST_PIXELS = 64_000_000  # of one picture
_MOST_BYTES = 2_000_000_000  # of all of them


@dataclass(frozen=True)
class View:
    """How a picture was taken, as far as its header says.

    position: PA, AP, LL, ... laterality: R, L, B or empty. spacing_mm: between rows, between columns, at the
    detector or calibrated, or None. orientation: where the rows and where the columns run to, as in (L, F),
    empty where the header does not say. code: (value, meaning) of the view.
    """

    modality: str
    position: str = ""
    laterality: str = ""
    spacing_mm: tuple[float, float] | None = None
    orientation: tuple[str, str] | None = None
    code: tuple[str, str] = ("", "")

    @property
    def projection(self) -> str:
        """PA or AP, by View Position or else by View Code Sequence; empty where neither says so."""
        if self.position:
            return self.position if self.position in ("PA", "AP") else ""
        return _FRONTAL_CODES.get(self.code[0], "")

    @property
    def not_frontal(self) -> str:
        """Why this is no frontal view, in a clause; empty where it may be one."""
        value, meaning = self.code
        if how := _NOT_FRONTAL.get(self.position):
            return f"The view is {self.position}, {how}"
        if value in _LATERAL_CODES or re.search(r"\b(lateral|oblique)\b", meaning, re.IGNORECASE):
            return f"The view is {meaning or value} by its View Code Sequence, not from the front or the back"
        if self.orientation and {direction[0] for direction in self.orientation} & {"A", "P"}:
            return f"The view is from the side by its Patient Orientation, {'/'.join(self.orientation)}"
        return ""


@dataclass(frozen=True, eq=False)
class Pictures(Volume):
    """Pictures of one series and one size, in its order.

    voxels: uint8, (pictures, rows, columns), or (pictures, rows, columns, 3) RGB. Grey ones are shown as they
        are meant to be seen: their window applied, black is air whatever the photometric interpretation.
    affine: ``PLANE``; where a volume has millimetres, pictures have pixels.
    views: one for each.
    """

    views: tuple[View, ...] = ()

    @property
    def shape(self) -> tuple[int, int, int]:
        pictures, rows, columns = self.voxels.shape[:3]
        return pictures, rows, columns

    @property
    def is_colour(self) -> bool:
        return self.voxels.ndim == 4


@dataclass(frozen=True, eq=False)
class _Header:
    path: Path
    image: Dataset
    view: View
    frames: int

    @property
    def order(self) -> tuple[int, str]:
        number = str(self.image.get("InstanceNumber") or "")
        return (int(number) if number.isdigit() else 0, str(self.image.SOPInstanceUID))

    @property
    def size(self) -> tuple[int, int, int]:
        return int(self.image.Rows), int(self.image.Columns), int(self.image.get("SamplesPerPixel") or 1)


def load_pictures(paths: Sequence[Path]) -> Pictures:
    """The pictures of one series, from its files in any order.

    Views that are not frontal are left out where another is, and so are pictures of other sizes than most
    have; ``caveats`` say so. An image sent twice counts once.

    Raises:
        UnreadableSeriesError: no picture among them can be read; says why and what to do.
    """
    headers = sorted((_header(path) for path in paths), key=lambda header: header.order)
    distinct = list({str(header.image.SOPInstanceUID): header for header in headers}.values())
    if not distinct:
        raise UnreadableSeriesError("There are no files to read.")
    caveats: list[Caveat] = []
    frontal = [header for header in distinct if not header.view.not_frontal]
    if frontal and (left := len(distinct) - len(frontal)):
        said = f"{left} view{'s' * (left > 1)} that {'are' if left > 1 else 'is'} not frontal left out."
        caveats.append(Caveat("left out", said, left))
    chosen = frontal or distinct
    size, _ = Counter(header.size for header in chosen).most_common(1)[0]
    if left := sum(header.size != size for header in chosen):
        said = f"{left} image{'s' * (left > 1)} of another size {'were' if left > 1 else 'was'} not read."
        is_again = chosen[0].view.modality in _RADIOGRAPHS  # every one of them shows the whole
        caveats.append(Caveat("left out" if is_again else "unread", said, left))
    chosen = [header for header in chosen if header.size == size]
    count = sum(header.frames for header in chosen)
    if size[0] * size[1] > _MOST_PIXELS or count * math.prod(size) > _MOST_BYTES:
        raise UnreadableSeriesError(
            f"The series holds {count} pictures of {size[0]} x {size[1]} pixels, more than can be read "
            "at once; send a part of it."
        )
    pixels = np.empty((count, *size[:2], 3) if size[2] == 3 else (count, *size[:2]), np.uint8)
    images: list[tuple[str, int | None]] = []
    views: list[View] = []
    for header in chosen:
        uid = str(header.image.SOPInstanceUID)
        for number, picture in enumerate(_shown(header), 1):
            pixels[len(images)] = picture
            images.append((uid, number if "NumberOfFrames" in header.image and header.frames > 1 else None))
            views.append(header.view)
    first = chosen[0].image
    return Pictures(
        voxels=pixels,  # type: ignore[arg-type]  # a volume's voxels are int16 or float32
        affine=PLANE,
        series_uid=str(first.SeriesInstanceUID),
        frame_of_reference_uid=str(first.get("FrameOfReferenceUID") or ""),
        images=tuple(images),
        caveats=tuple(caveats),
        views=tuple(views),
    )


def _header(path: Path) -> _Header:
    try:
        image = pydicom.dcmread(path, stop_before_pixels=True)
        frames = int(image.get("NumberOfFrames") or 1)
    except InvalidDicomError:
        raise UnreadableSeriesError(f"{path.name} is not a DICOM file; leave it out of the study.") from None
    except Exception as error:  # a damaged file can make the parser raise anything
        raise UnreadableSeriesError(f"{path.name} cannot be read ({_line(error)}); send it again.") from error
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID"):
        if not image.get(keyword):
            raise UnreadableSeriesError(f"{path.name} has no {keyword}, so no result could refer to it.")
    if not image.get("Rows") or not image.get("Columns") or frames < 1:
        raise UnreadableSeriesError(f"{path.name} holds no image.")
    if int(image.get("SamplesPerPixel") or 1) not in (1, 3):
        raise UnreadableSeriesError(
            f"{path.name} has {image.SamplesPerPixel} samples per pixel; a picture has one (grey) or three."
        )
    return _Header(path, image, view_of(image), frames)


def view_of(header: Dataset) -> View:
    """What a header says of how its picture was taken."""
    return View(
        modality=str(header.get("Modality") or ""),
        position=str(header.get("ViewPosition") or "").strip().upper(),
        laterality=str(header.get("ImageLaterality") or header.get("Laterality") or "").strip().upper(),
        spacing_mm=_spacing(header),
        orientation=_orientation(header),
        code=_view_code(header),
    )


def _orientation(image: Dataset) -> tuple[str, str] | None:
    """Patient Orientation (PS3.3 C.7.6.1.1.1): the direction of the rows, then that of the columns."""
    value = image.get("PatientOrientation") or ()
    directions = [str(one).strip().upper() for one in ([value] if isinstance(value, str) else value)]
    if len(directions) != 2 or not all(one and set(one) <= set("LRAPHF") for one in directions):
        return None
    return directions[0], directions[1]


def _view_code(image: Dataset) -> tuple[str, str]:
    items = image.get("ViewCodeSequence") or ()
    first = items[0] if items else Dataset()
    return str(first.get("CodeValue") or ""), str(first.get("CodeMeaning") or "")


def _spacing(image: Dataset) -> tuple[float, float] | None:
    for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
        try:
            rows, columns = (float(mm) for mm in image.get(keyword) or ())
        except (TypeError, ValueError):
            continue
        if 0.01 <= rows <= 5 and 0.01 <= columns <= 5:
            return rows, columns
    return None


def _shown(header: _Header) -> Iterator[npt.NDArray[np.uint8]]:
    name = header.path.name
    try:
        image = pydicom.dcmread(header.path)
        if "PixelData" not in image:
            raise UnreadableSeriesError(f"{name} has no pixel data; send it again.")
        for stored in codecs.frames_of(image):
            yield _coloured(stored, image) if stored.ndim == 3 else _grey(stored, image)
    except (UnreadableSeriesError, GeneratorExit, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # decoders raise anything; that of RLE panics outside of Exception
        raise UnreadableSeriesError(
            f"The pixels of {name} cannot be decoded; send it again ({_line(error)})."
        ) from error


def _number(image: Dataset, keyword: str) -> float | None:
    """The first value of an attribute; None where it has none."""
    value = image.get(keyword)
    first = value[0] if isinstance(value, MultiValue) and value else value
    return float(first) if isinstance(first, int | float) else None


def _coloured(stored: npt.NDArray[np.generic], image: Dataset) -> npt.NDArray[np.uint8]:
    bits = int(image.get("BitsStored") or 8)
    eight = stored if bits == 8 else np.asarray(stored, np.uint32) >> max(bits - 8, 0)
    photometric = str(image.get("PhotometricInterpretation") or "RGB")
    colour = np.asarray(eight, np.uint8)
    if photometric.startswith("YBR_FULL"):
        colour = np.asarray(convert_color_space(colour, photometric, "RGB"), np.uint8)
    return colour


def _grey(stored: npt.NDArray[np.generic], image: Dataset) -> npt.NDArray[np.uint8]:
    """As shown: modality and VOI transformation (PS3.3 C.11.1, C.11.2) or, without a window, the range that
    the pixels fill; padding is left out of it. A rescaling or a window without its numbers, or of no width,
    is none."""
    shown = np.asarray(stored, np.float64)
    if "ModalityLUTSequence" in image or all(_number(image, k) is not None for k in _RESCALING):
        shown = np.asarray(apply_modality_lut(stored, image), np.float64)
    if "VOILUTSequence" in image:  # its table is looked up by what the modality transformation gives
        shown = np.asarray(apply_voi_lut(np.rint(shown).astype(np.int32), image), np.float64)
    elif _number(image, "WindowCenter") is not None and (_number(image, "WindowWidth") or 0) >= 1:
        shown = np.asarray(apply_voi_lut(shown, image), np.float64)
    padding = image.get("PixelPaddingValue")
    real = np.asarray(stored) != padding if padding is not None else np.ones(shown.shape, bool)
    inside = shown[real] if real.any() else shown
    low, high = np.percentile(inside, (0.1, 99.9))
    scaled = np.clip((shown - low) / max(high - low, 1e-9), 0, 1)
    inverted = str(image.get("PhotometricInterpretation")) == "MONOCHROME1"
    grey = np.where(real, 1 - scaled if inverted else scaled, 0)
    return np.asarray(np.rint(grey * 255), np.uint8)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())
