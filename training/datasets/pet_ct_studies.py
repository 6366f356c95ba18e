"""The PET/CTs of Lung-PET-CT-Dx: of each study the PET and the CT that are read together, and where in the
patient the boxes of its CTs lie."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from inference.errors import UnreadableSeriesError
from inference.findings import Point
from inference.geometry import Stack, repeated, stack
from inference.header import read_slices
from training.datasets.case import Box
from training.datasets.files import there
from training.datasets.lung_pet_ct_dx import (
    ANNOTATIONS,
    IMAGES,
    PREFIX,
    boxes_of,
    header_of,
    histology_of,
)
from training.errors import BrokenDataError

_ASKED = (
    "StudyInstanceUID",
    "FrameOfReferenceUID",
    "Modality",
    "ImageType",
    "CorrectedImage",
    "SeriesDescription",
)
_UNCORRECTED = re.compile(r"\bnac\b|uncorrected|no ?ac\b", re.IGNORECASE)
_FEWEST_SLICES = 8
_WIDE = 0.7  # of the widest candidate's coverage
_THIN_MM = 1.5  # thinner than this is no better


@dataclass(frozen=True)
class PlacedBox:
    """A box in the patient: its centre in LPS mm, unit vectors along a row, along a column and across the
    slice, and half its lengths along these; across, half the slice's thickness."""

    center_mm: Point
    axes: tuple[Point, Point, Point]
    half_mm: tuple[float, float, float]

    def away_mm(self, points_mm: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """How far each of (n, 3) points lies from it, 0 inside."""
        offsets = (np.asarray(points_mm, np.float64).reshape(-1, 3) - self.center_mm) @ np.array(self.axes).T
        found: npt.NDArray[np.float64] = np.linalg.norm(np.maximum(np.abs(offsets) - self.half_mm, 0), axis=1)
        return found

    def touches(self, other: PlacedBox, within_mm: float) -> bool:
        """Whether a corner or the centre of either lies no further from the other."""
        pairs = ((self, other), (other, self))
        return any(float(one.away_mm(two.points_mm).min()) <= within_mm for one, two in pairs)

    @property
    def points_mm(self) -> npt.NDArray[np.float64]:
        """Its eight corners and its centre, (9, 3)."""
        signs = np.array([*np.ndindex(2, 2, 2)]) * 2 - 1
        corners = (signs * self.half_mm) @ np.array(self.axes)
        return np.vstack([corners, np.zeros((1, 3))]) + self.center_mm


@dataclass(frozen=True)
class PetCtStudy:
    """A study that is learned from or measured on. histology: the patient's, of ``lung_pet_ct_dx.TYPES``.
    boxes: of all its CTs in the PET's frame of reference, in LPS mm."""

    uid: str
    patient: str
    histology: str
    pet: tuple[Path, ...]
    ct: tuple[Path, ...]
    boxes: tuple[PlacedBox, ...]

    @property
    def name(self) -> str:
        """As a person would look it up: patient and UID."""
        return f"{self.patient} {self.uid}"

    def fingerprint(self) -> tuple[object, ...]:
        """What its hot spots are made from."""
        states = ((path.name, path.stat()) for path in (*self.pet, *self.ct))
        files = tuple((name, state.st_size, state.st_mtime_ns) for name, state in states)
        return self.uid, self.patient, self.histology, self.boxes, files


@dataclass(frozen=True)
class Release:
    """The PET/CTs of a folder, and by reason the studies that are left out of it, each by patient and UID."""

    studies: tuple[PetCtStudy, ...]
    left_out: Mapping[str, tuple[str, ...]]


@dataclass(eq=False)
class _Series:
    """What the headers of a series say; ``marked``: its images that have an annotation."""

    modality: str
    frame_of_reference_uid: str
    derived: bool
    corrected: bool
    files: list[Path] = field(default_factory=list)
    marked: dict[Path, Path] = field(default_factory=dict)


def read_pet_ct_studies(folder: Path, wanted: Callable[[str], bool] = lambda patient: True) -> Release:
    """Of the patients that are ``wanted``, every study that holds a PET corrected for attenuation, a CT in
    its frame of reference, and a box on such a CT. Of several the best is taken as the node takes it:
    readable, original, of wide coverage, thin, of more images; of kernels, which 4 mm do not show, it asks
    nothing.

    Raises:
        BrokenDataError: a folder is missing, a file is no DICOM image, an annotation is malformed or lies on
            no image that is there.
    """
    images, annotations = there(folder / IMAGES), there(folder / ANNOTATIONS)
    homes = {path.name: path for path in images.iterdir() if path.is_dir()}
    if not homes:
        raise BrokenDataError(f"{images} holds no patient")
    for marked in sorted(path for path in annotations.iterdir() if path.is_dir()):
        there(images / f"{PREFIX}{marked.name}", str(marked))
    studies: list[PetCtStudy] = []
    left_out: dict[str, list[str]] = defaultdict(list)
    for name, home in sorted((name, home) for name, home in homes.items() if wanted(name)):
        histology = histology_of(home)
        found = _by_study(home, annotations / name.removeprefix(PREFIX))
        for uid, series in sorted(found.items()):
            chosen = _chosen(series)
            if isinstance(chosen, str):
                left_out[chosen].append(f"{name} {uid}")
                continue
            pet, ct = chosen
            frame = pet.frame_of_reference_uid
            boxes = [
                _placed(box, image)
                for one in series
                if one.modality == "CT" and one.frame_of_reference_uid == frame
                for image, annotation in sorted(one.marked.items())
                for box in boxes_of(annotation, histology, header_of(image, ("Rows", "Columns")))
            ]
            if not boxes:
                left_out["no box on a CT in the frame of reference of its PET"].append(f"{name} {uid}")
                continue
            studies.append(PetCtStudy(uid, name, histology, tuple(pet.files), tuple(ct.files), tuple(boxes)))
    return Release(tuple(studies), {reason: tuple(uids) for reason, uids in sorted(left_out.items())})


def tumours(boxes: Sequence[PlacedBox], apart_mm: float) -> list[list[PlacedBox]]:
    """Boxes that make one tumour together: each lies within ``apart_mm`` of another of it."""
    groups: list[list[PlacedBox]] = []
    for box in boxes:
        joined = [group for group in groups if any(box.touches(one, apart_mm) for one in group)]
        groups = [group for group in groups if not any(group is other for other in joined)]
        groups.append([box, *(one for group in joined for one in group)])
    return groups


def _by_study(home: Path, marked: Path) -> dict[str, list[_Series]]:
    """The series of a patient, by study."""
    annotations = {path.stem: path for path in sorted(marked.glob("*.xml"))}
    studies: dict[str, dict[str, _Series]] = defaultdict(dict)
    for path in sorted(home.rglob("*.dcm")):
        header = header_of(path, _ASKED)
        one = studies[str(header.get("StudyInstanceUID") or "")].setdefault(
            str(header.SeriesInstanceUID),
            _Series(
                str(header.get("Modality") or ""),
                str(header.get("FrameOfReferenceUID") or ""),
                "DERIVED" in (header.get("ImageType") or ()),
                "ATTN" in (header.get("CorrectedImage") or ())
                and not _UNCORRECTED.search(str(header.get("SeriesDescription") or "")),
            ),
        )
        one.files.append(path)
        if annotation := annotations.pop(str(header.SOPInstanceUID), None):
            one.marked[path] = annotation
    if annotations:
        raise BrokenDataError(f"{next(iter(annotations.values()))} marks an image that is not in {home}")
    return {uid: list(series.values()) for uid, series in studies.items()}


def _chosen(series: Sequence[_Series]) -> tuple[_Series, _Series] | str:
    """The PET and the CT that are read together, or why there are none."""
    pets = [one for one in series if one.modality == "PT"]
    if not pets:
        return "no PET"
    corrected = [one for one in pets if one.corrected]
    if not corrected:
        return "no PET that is corrected for attenuation"
    frames = {one.frame_of_reference_uid for one in series if one.modality == "CT"} - {""}
    beside = [one for one in corrected if one.frame_of_reference_uid in frames]
    if not beside:
        return "no CT in the frame of reference of its PET"
    pet = _best(beside)
    if isinstance(pet, str):
        return f"no PET that makes a volume: {pet}"
    cts = (one for one in series if one.modality == "CT")
    ct = _best([one for one in cts if one.frame_of_reference_uid == pet.frame_of_reference_uid])
    return f"no CT beside its PET that makes a volume: {ct}" if isinstance(ct, str) else (pet, ct)


def _best(candidates: Sequence[_Series]) -> _Series | str:
    """The best of those that make a volume, or why the first of them makes none."""
    ranked: list[tuple[_Series, float, float]] = []
    why = ""
    for one in candidates:
        try:
            stacked = _stacked(one.files)
        except UnreadableSeriesError as error:
            why = why or str(error)
            continue
        step = float(np.linalg.norm(stacked.affine[:3, 0]))
        thick = max(item.thickness for item in stacked.slices if item is not None)
        ranked.append((one, step * (len(stacked.slices) - 1), max(step, thick, _THIN_MM)))
    if not ranked:
        return why
    widest = max(coverage for _, coverage, _ in ranked)

    def rank(held: tuple[_Series, float, float]) -> tuple[bool, bool, float, int]:
        one, coverage, coarse = held
        return one.derived, coverage < _WIDE * widest, coarse, -len(one.files)

    return min(ranked, key=rank)[0]


def _stacked(files: Iterable[Path]) -> Stack:
    slices = [item for path in files for item in read_slices(path)]
    if len(slices) < _FEWEST_SLICES:
        raise UnreadableSeriesError(f"at least {_FEWEST_SLICES} slices are needed.")
    again = {id(item) for group in repeated(slices) for item in group[1:]}
    return stack([item for item in slices if id(item) not in again])


def _placed(box: Box, image: Path) -> PlacedBox:
    """Where a box of pixels lies in the patient; those at its border lie in it as a whole."""
    try:
        (plane,) = read_slices(image)
    except (UnreadableSeriesError, ValueError) as error:
        raise BrokenDataError(f"{image} has no place in the patient: {error}") from error
    right, down = np.array(plane.orientation[:3]), np.array(plane.orientation[3:])
    row_mm, column_mm = plane.spacing
    low, high = np.array(box.low), np.array(box.high)
    column, row = (low + high) / 2
    width, height = high - low + 1
    center = np.array(plane.position) + column * column_mm * right + row * row_mm * down
    axes = (right, down, np.cross(right, down))
    return PlacedBox(
        _point(center),
        (_point(axes[0]), _point(axes[1]), _point(axes[2])),
        (float(width * column_mm / 2), float(height * row_mm / 2), plane.thickness / 2),
    )


def _point(values: npt.NDArray[np.float64]) -> Point:
    x, y, z = (float(v) for v in values)
    return x, y, z
