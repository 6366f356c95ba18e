"""Lung-PET-CT-Dx as released: DICOM by patient, and PASCAL VOC boxes by SOP instance.

``Lung-PET-CT-Dx/Lung_Dx-A0001/STUDY/SERIES/*.dcm`` and ``Annotation/A0001/SOP_INSTANCE_UID.xml``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from xml.etree import ElementTree

from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from inference.errors import UnreadableSeriesError
from inference.volume import load_volume
from training.datasets.case import Box, Case, CaseImage
from training.datasets.files import there
from training.errors import BrokenDataError

TYPES = {
    "A": "adenocarcinoma",
    "B": "small cell carcinoma",
    "E": "large cell carcinoma",
    "G": "squamous cell carcinoma",
}
"""Histology, by the letter in the patient's name."""


def read_lung_pet_ct_dx(folder: Path) -> list[Case]:
    """A case for each series that has a box.

    Raises:
        BrokenDataError: a folder is missing, a box is malformed, or lies on no image that is there.
    """
    images = there(folder / "Lung-PET-CT-Dx")
    annotations = there(folder / "Annotation")
    cases = []
    for marked in sorted(p for p in annotations.iterdir() if p.is_dir()):
        patient = f"Lung_Dx-{marked.name}"
        kind = TYPES.get(marked.name[:1])
        if kind is None:
            raise BrokenDataError(f"{marked} is not called after a patient, as A0001")
        by_instance, files = _series(there(images / patient, str(marked)))
        boxes: dict[str, list[Box]] = defaultdict(list)
        for path in sorted(marked.glob("*.xml")):
            if path.stem not in by_instance:
                raise BrokenDataError(f"{path} marks an image that is not in {images / patient}")
            boxes[by_instance[path.stem]] += _boxes(path, kind)
        cases += [
            Case(uid, patient, _loader(files[uid]), boxes=tuple(held), labels={kind: 1.0})
            for uid, held in sorted(boxes.items())
        ]
    return cases


def _series(folder: Path) -> tuple[dict[str, str], dict[str, list[Path]]]:
    """SOP instance to series, and series to files."""
    by_instance: dict[str, str] = {}
    files: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.rglob("*.dcm")):
        try:
            header = dcmread(
                path, stop_before_pixels=True, specific_tags=["SOPInstanceUID", "SeriesInstanceUID"]
            )
            by_instance[str(header.SOPInstanceUID)] = str(header.SeriesInstanceUID)
        except (InvalidDicomError, AttributeError, EOFError) as error:
            raise BrokenDataError(f"{path} is not a DICOM image: {error}") from error
        files[str(header.SeriesInstanceUID)].append(path)
    return by_instance, files


def _boxes(path: Path, kind: str) -> list[Box]:
    try:
        found = []
        for marked in ElementTree.parse(path).getroot().iter("object"):
            xmin, ymin, xmax, ymax = (
                float(marked.findtext(f"bndbox/{side}", "")) for side in ("xmin", "ymin", "xmax", "ymax")
            )
            found.append(Box(kind, (xmin, ymin), (xmax, ymax), path.stem))
    except (ElementTree.ParseError, ValueError) as error:
        raise BrokenDataError(f"{path} is no PASCAL VOC annotation: {error}") from error
    if not found:
        raise BrokenDataError(f"{path} holds no box")
    return found


def _loader(files: Sequence[Path]) -> Callable[[], CaseImage]:
    def load() -> CaseImage:
        try:
            volume = load_volume(list(files))
        except UnreadableSeriesError as error:
            raise BrokenDataError(f"{files[0].parent} is no readable series: {error}") from error
        return CaseImage(volume.voxels, "HU", volume.spacing_mm, volume.affine)

    return load
