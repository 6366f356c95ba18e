"""LIDC-IDRI's readings as released: one XML file per series with what each of four readers drew and rated.

Of CT, ``LidcReadMessage``; the readings of plain radiographs (``IdriReadMessage``) are left out. A nodule of
at least 3 mm has outlines and nine ratings, a smaller one a point and no ratings. Readers did not number
their nodules alike: which outlines are of one nodule has to be told from where they lie.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from training.datasets.files import there
from training.errors import BrokenDataError

RATINGS = (
    "subtlety",
    "internalStructure",
    "calcification",
    "sphericity",
    "margin",
    "lobulation",
    "spiculation",
    "texture",
    "malignancy",
)
_NAME = "{*}"


@dataclass(frozen=True)
class Outline:
    """One closed line on one slice: (column, row) pixels, the first just outside of the nodule.
    ``inclusion``: False where it cuts a hole."""

    image_uid: str
    z_mm: float
    inclusion: bool
    points: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class ReadNodule:
    """What one reader (0 to 3, not the same person in every series) said of one nodule. ``ratings`` by the
    names of ``RATINGS``; empty for a nodule below 3 mm."""

    reader: int
    name: str
    outlines: tuple[Outline, ...]
    ratings: tuple[tuple[str, int], ...]

    @property
    def malignancy(self) -> int | None:
        """1 (highly unlikely) to 5 (highly suspicious)."""
        return dict(self.ratings).get("malignancy")


@dataclass(frozen=True)
class NonNodule:
    """A place of at least 3 mm that a reader marked as no nodule."""

    reader: int
    image_uid: str
    z_mm: float
    point: tuple[int, int]


@dataclass(frozen=True)
class SeriesReading:
    """All that the readers said of one CT series; ``folder`` holds its DICOM files where they lie beside."""

    series_uid: str
    study_uid: str
    patient: str
    folder: Path
    nodules: tuple[ReadNodule, ...]
    non_nodules: tuple[NonNodule, ...]


def read_lidc_xml(folder: Path) -> Iterator[SeriesReading]:
    """Every reading of a CT below ``folder``, in order of file names.

    The patient is the part of the path that starts with ``LIDC-IDRI-``, the series where there is none.

    Raises:
        BrokenDataError: there is no XML file, or one that is not as released.
    """
    files = sorted(there(folder).rglob("*.xml"))
    if not files:
        raise BrokenDataError(f"{folder} holds no XML files")
    for path in files:
        try:
            root = ElementTree.parse(path).getroot()
            if root.tag.endswith("LidcReadMessage"):
                yield _reading(path, root)
        except (ElementTree.ParseError, ValueError) as error:
            raise BrokenDataError(f"{path} is no reading of LIDC-IDRI: {error}") from error


def _reading(path: Path, root: ElementTree.Element) -> SeriesReading:
    header = root.find(f"{_NAME}ResponseHeader")
    if header is None:
        raise ValueError("it has no ResponseHeader")
    series = _text(header, "SeriesInstanceUid")
    nodules, non_nodules = [], []
    for reader, session in enumerate(root.findall(f"{_NAME}readingSession")):
        nodules += [_nodule(reader, n) for n in session.findall(f"{_NAME}unblindedReadNodule")]
        non_nodules += [_non_nodule(reader, n) for n in session.findall(f"{_NAME}nonNodule")]
    patient = next((part for part in path.parts if part.startswith("LIDC-IDRI-")), series)
    study = _text(header, "StudyInstanceUID")
    return SeriesReading(series, study, patient, path.parent, tuple(nodules), tuple(non_nodules))


def _nodule(reader: int, element: ElementTree.Element) -> ReadNodule:
    rated = element.find(f"{_NAME}characteristics")
    ratings = _ratings(rated) if rated is not None and len(rated) else ()
    outlines = tuple(
        Outline(
            _text(roi, "imageSOP_UID"),
            float(_text(roi, "imageZposition")),
            _text(roi, "inclusion").upper() == "TRUE",
            tuple(_point(edge) for edge in roi.findall(f"{_NAME}edgeMap")),
        )
        for roi in element.findall(f"{_NAME}roi")
    )
    if not outlines:
        raise ValueError(f"nodule {_text(element, 'noduleID')} has no outline")
    return ReadNodule(reader, _text(element, "noduleID"), outlines, ratings)


def _ratings(rated: ElementTree.Element) -> tuple[tuple[str, int], ...]:
    """0 stands in a few files for a rating that was not given; it is left out."""
    ratings = [(name, int(_text(rated, name))) for name in RATINGS]
    if wrong := [f"{name} is rated {value}" for name, value in ratings if not 0 <= value <= 6]:
        raise ValueError(wrong[0])
    return tuple((name, value) for name, value in ratings if value)


def _non_nodule(reader: int, element: ElementTree.Element) -> NonNodule:
    locus = element.find(f"{_NAME}locus")
    if locus is None:
        raise ValueError(f"non-nodule {_text(element, 'nonNoduleID')} has no locus")
    place = _text(element, "imageSOP_UID"), float(_text(element, "imageZposition"))
    return NonNodule(reader, *place, _point(locus))


def _point(element: ElementTree.Element) -> tuple[int, int]:
    return int(_text(element, "xCoord")), int(_text(element, "yCoord"))


def _text(element: ElementTree.Element, name: str) -> str:
    text = element.findtext(f"{_NAME}{name}")
    if text is None or not text.strip():
        raise ValueError(f"{element.tag.rpartition('}')[2]} has no {name}")
    return text.strip()
