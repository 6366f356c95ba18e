"""What the headers of a series tell before its pixels are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import pydicom
from pydicom import Dataset
from pydicom.multival import MultiValue

from inference.errors import NotInHounsfieldError
from inference.geometry import Stack, repeated, stack
from inference.header import Slice, read_slices
from inference.picture import view_of
from inference.tracer import tracer_of
from inference.volume import UnreadableSeriesError
from node.settings.matching import Tags
from storage.errors import said
from storage.files import is_of_file

_VOLUMES = ("CT", "PT")
_RADIOGRAPHS = ("CR", "DX")
_NOT_TEXT = frozenset({"SQ", "OB", "OW", "OF", "OD", "OL", "OV", "UN"})
AXES = ("sagittal", "coronal", "axial")  # of the plane whose normal lies along x, y, z
STRAIGHT = 0.85  # cosine: a plane tilted by up to 30 degrees keeps its name


@dataclass(frozen=True)
class SeriesDescription:
    """A series, seen from its headers.

    tags: the values of each attribute of one typical image, by keyword.
    images: how many, counting the frames of a multi-frame image; of CT and PET those that make the volume.
    missing: how many slices lack an image between those of a CT or PET.
    plane, spacing_mm, coverage_mm: of CT and PET that can be assembled: axial, coronal, sagittal or oblique;
        distance between slices; from the first slice to the last.
    problem: why CT or PET cannot be assembled, in one sentence; else empty.
    unit: of the values of a CT that is not in HU, as its header calls it; else empty.
    other_tracer: of a PET that is known not to be of FDG, as its header calls it; else empty.
    not_frontal: why radiographs show no frontal view, in a clause; else empty.
    is_withheld: the disk does not give out one of its files.
    """

    series_uid: str
    tags: Tags = field(repr=False)
    images: int
    missing: int = 0
    plane: str = ""
    spacing_mm: float | None = None
    coverage_mm: float = 0.0
    problem: str = ""
    unit: str = ""
    other_tracer: str = ""
    not_frontal: str = ""
    is_withheld: bool = False

    def tag(self, keyword: str) -> str:
        """The first value, empty where absent."""
        return next(iter(self.tags.get(keyword, ())), "")

    @property
    def modality(self) -> str:
        return self.tag("Modality")

    @property
    def image_type(self) -> frozenset[str]:
        return frozenset(value.upper() for value in self.tags.get("ImageType", ()))

    @property
    def description(self) -> str:
        return self.tag("SeriesDescription")

    @property
    def number(self) -> int | None:
        text = self.tag("SeriesNumber")
        return int(text) if text.lstrip("-").isdigit() else None

    @property
    def title(self) -> str:
        """What it is called: its description, or its number where it has none."""
        numbered = "an unnamed series" if self.number is None else f"series {self.number}"
        return self.description or numbered

    @property
    def name(self) -> str:
        """How a person calls it: by number and description, or by its UID where it has neither."""
        number = "" if self.number is None else f" {self.number}"
        described = f" “{self.description}”" if self.description else ""
        return f"series{number}{described}" if number or described else f"series {self.series_uid}"

    @property
    def thickness_mm(self) -> float | None:
        """How coarse the slices are: their distance or their thickness, whichever is more."""
        try:
            nominal = float(self.tag("SliceThickness") or 0)
        except ValueError:
            nominal = 0.0
        return max(self.spacing_mm or 0.0, nominal) or None


def describe(series_uid: str, paths: Sequence[Path]) -> SeriesDescription:
    """Reads headers only: of every file for CT and PET, of one for all else.

    Raises:
        OSError: a file cannot be read for now, which says nothing of the series.
    """
    for path in paths:
        header = header_of(path)
        if header is not None:
            break
    else:
        return SeriesDescription(series_uid, {}, len(paths), problem="none of its files is readable DICOM")
    try:
        return _described(series_uid, paths, header)
    except Exception as error:  # a damaged value makes the parser raise anything, once it is looked at
        if not is_of_file(path, error):
            raise
        problem = f"what its header says cannot be read: {said(error)}"
        return SeriesDescription(series_uid, tags_of(header), len(paths), problem=problem)


def _described(series_uid: str, paths: Sequence[Path], header: Dataset) -> SeriesDescription:
    if header.get("Modality") not in _VOLUMES or not header.get("Rows"):
        seen = view_of(header).not_frontal if header.get("Modality") in _RADIOGRAPHS else ""
        return SeriesDescription(series_uid, tags_of(header), len(paths), not_frontal=seen)
    slices: list[Slice] = []
    try:
        for path in paths:
            slices += _slices_of(path)
        again = {id(item) for group in repeated(slices) for item in group[1:]}
        stacked = _stacked(tuple(item for item in slices if id(item) not in again))
    except UnreadableSeriesError as error:
        unit = error.unit if isinstance(error, NotInHounsfieldError) else ""
        images = len(slices) or len(paths)
        return SeriesDescription(series_uid, tags_of(header), images, problem=str(error), unit=unit)
    shown = [item for item in stacked.slices if item is not None]
    typical = shown[0]
    tracer = tracer_of(header)
    normal = np.abs(np.cross(typical.orientation[:3], typical.orientation[3:]))
    step = stacked.affine[:3, 0] @ np.cross(typical.orientation[:3], typical.orientation[3:])
    return SeriesDescription(
        series_uid,
        tags_of(header_of(typical.path) or header),
        images=len(shown),
        missing=len(stacked.slices) - len(shown),
        plane=AXES[int(normal.argmax())] if normal.max() > STRAIGHT else "oblique",
        spacing_mm=float(step),
        coverage_mm=float(step) * (len(stacked.slices) - 1),
        other_tracer=tracer.name if tracer.is_fdg is False else "",
    )


@lru_cache(maxsize=8)
def _stacked(slices: tuple[Slice, ...]) -> Stack:
    """A series is looked over once to be chosen, and once more beside its priors."""
    return stack(slices)


def header_of(path: Path) -> Dataset | None:
    """What an image says of itself before its pixels; None where it is gone or not readable DICOM.

    Raises:
        OSError: it cannot be read for now.
    """
    try:
        return pydicom.dcmread(path, stop_before_pixels=True)
    except Exception as error:  # a damaged file makes the parser raise anything; the series is unreadable
        if not is_of_file(path, error):
            raise
        return None


def _slices_of(path: Path) -> tuple[Slice, ...]:
    try:
        return read_slices(path)
    except UnreadableSeriesError as error:
        if isinstance(error.__cause__, OSError) and not is_of_file(path, error.__cause__):
            raise error.__cause__ from None
        raise


def tags_of(header: Dataset) -> Tags:
    """The values of every attribute that is text or a number, by keyword."""
    tags = {}
    for tag in header.keys():  # noqa: SIM118 - iterating a Dataset converts every element, also broken ones
        try:
            element = header[tag]
            if element.VR in _NOT_TEXT or not element.keyword or element.value in (None, ""):
                continue
            values = element.value if isinstance(element.value, MultiValue | list) else [element.value]
            tags[element.keyword] = tuple(str(value).strip() for value in values)
        except Exception:  # noqa: BLE001  a value that breaks its own rules makes the parser raise anything
            continue  # and matches like an absent one
    return tags
