"""Lung-PET-CT-Dx as released: DICOM by patient, and PASCAL VOC boxes by SOP instance.

``Lung-PET-CT-Dx/Lung_Dx-A0001/STUDY/SERIES/*.dcm`` and ``Annotation/A0001/SOP_INSTANCE_UID.xml``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from xml.etree import ElementTree

from pydicom import Dataset, dcmread

from inference.errors import UnreadableSeriesError
from inference.volume import load_volume
from training.datasets.case import Box, Case, CaseImage
from training.datasets.files import there
from training.errors import BrokenDataError

IMAGES, ANNOTATIONS = "Lung-PET-CT-Dx", "Annotation"
PREFIX = "Lung_Dx-"
TYPES = {
    "A": "adenocarcinoma",
    "B": "small cell carcinoma",
    "E": "large cell carcinoma",
    "G": "squamous cell carcinoma",
}
"""Histology, by the letter in the patient's name."""
_UIDS = ("SOPInstanceUID", "SeriesInstanceUID")


def read_lung_pet_ct_dx(folder: Path) -> list[Case]:
    """A case for each series that has a box.

    Raises:
        BrokenDataError: a folder is missing, a box is malformed, or lies on no image that is there.
    """
    images = there(folder / IMAGES)
    annotations = there(folder / ANNOTATIONS)
    cases = []
    for marked in sorted(p for p in annotations.iterdir() if p.is_dir()):
        patient = f"{PREFIX}{marked.name}"
        kind = histology_of(marked)
        by_instance, files = _series(there(images / patient, str(marked)))
        boxes: dict[str, list[Box]] = defaultdict(list)
        for path in sorted(marked.glob("*.xml")):
            if path.stem not in by_instance:
                raise BrokenDataError(f"{path} marks an image that is not in {images / patient}")
            image = by_instance[path.stem]
            boxes[str(image.SeriesInstanceUID)] += boxes_of(path, kind, image)
        cases += [
            Case(uid, patient, _loader(files[uid]), boxes=tuple(held), labels={kind: 1.0})
            for uid, held in sorted(boxes.items())
        ]
    return cases


def histology_of(folder: Path) -> str:
    """Of the patient that a folder is called after.

    Raises:
        BrokenDataError: it is called after none.
    """
    kind = TYPES.get(folder.name.removeprefix(PREFIX)[:1])
    if kind is None:
        raise BrokenDataError(f"{folder} is not called after a patient, as A0001")
    return kind


def header_of(path: Path, keywords: Sequence[str]) -> Dataset:
    """Some attributes of an image, and its UIDs.

    Raises:
        BrokenDataError: it is none, or one of its UIDs is missing.
    """
    try:
        header = dcmread(path, stop_before_pixels=True, specific_tags=[*_UIDS, *keywords])
        for keyword in _UIDS:
            header[keyword]
    except Exception as error:  # a damaged file makes the parser raise anything
        raise BrokenDataError(f"{path} is not a DICOM image: {error}") from error
    return header


def boxes_of(path: Path, kind: str, image: Dataset) -> list[Box]:
    """Of one image, the SOP instance that the annotation is called after; ``image``: its Rows and Columns.

    Raises:
        BrokenDataError: it is malformed, or holds none, or one that is inside out or not on the image.
    """
    try:
        columns, rows = int(image.Columns), int(image.Rows)
    except (AttributeError, TypeError, ValueError) as error:
        raise BrokenDataError(f"the image that {path} marks has no Rows and Columns") from error
    try:
        found = []
        for marked in ElementTree.parse(path).getroot().iter("object"):
            xmin, ymin, xmax, ymax = (
                float(marked.findtext(f"bndbox/{side}", "")) for side in ("xmin", "ymin", "xmax", "ymax")
            )
            if not (0 <= xmin <= xmax <= columns and 0 <= ymin <= ymax <= rows):
                raise BrokenDataError(
                    f"{path}: the box from ({xmin:g}, {ymin:g}) to ({xmax:g}, {ymax:g}) is none on an "
                    f"image of {columns} x {rows} pixels"
                )
            found.append(Box(kind, (xmin, ymin), (xmax, ymax), path.stem))
    except (ElementTree.ParseError, ValueError) as error:
        raise BrokenDataError(f"{path} is no PASCAL VOC annotation: {error}") from error
    if not found:
        raise BrokenDataError(f"{path} holds no box")
    return found


def _series(folder: Path) -> tuple[dict[str, Dataset], dict[str, list[Path]]]:
    """SOP instance to its header, and series to files."""
    by_instance: dict[str, Dataset] = {}
    files: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.rglob("*.dcm")):
        header = header_of(path, ("Rows", "Columns"))
        by_instance[str(header.SOPInstanceUID)] = header
        files[str(header.SeriesInstanceUID)].append(path)
    return by_instance, files


def _loader(files: Sequence[Path]) -> Callable[[], CaseImage]:
    def load() -> CaseImage:
        try:
            volume = load_volume(list(files))
        except UnreadableSeriesError as error:
            raise BrokenDataError(f"{files[0].parent} is no readable series: {error}") from error
        return CaseImage(volume.voxels, "HU", volume.spacing_mm, volume.affine)

    return load
