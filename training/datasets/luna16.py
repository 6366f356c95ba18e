"""LUNA16 as released: ``subset*/UID.mhd`` with annotations, excluded findings and candidates."""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK

from training.datasets.case import Case, CaseImage, Place
from training.datasets.files import first_there
from training.errors import BrokenDataError
from training.tables import Row, read_table

_log = logging.getLogger(__name__)
_BESIDE_SCRIPT = "evaluationScript/annotations"


def read_luna16(folder: Path, *, candidates: bool = True) -> list[Case]:
    """A case for each scan of ``subset0`` to ``subset9`` (those that are there), split named by subset.

    Places are labelled ``nodule``, ``excluded`` (annotated, but to be ignored), ``candidate`` (no nodule)
    and ``candidate nodule``. Every scan is of another patient.

    Raises:
        BrokenDataError: a file is missing or malformed, or a table names no scan that is there. Annotated
            scans of subsets that are not there are counted in a line of the log.
    """
    scans = {p.stem: p for p in sorted(folder.glob("subset*/*.mhd"))}
    if not scans:
        raise BrokenDataError(f"{folder} holds no subset0 to subset9 with .mhd files")
    for path in scans.values():
        _raw_of(path)
    for raw in sorted(folder.glob("subset*/*raw")):
        if raw.stem not in scans:
            raise BrokenDataError(f"{raw.with_suffix('.mhd')} is missing, though there is {raw}")
    sized = ("seriesuid", "coordX", "coordY", "coordZ", "diameter_mm")
    places: dict[str, list[Place]] = defaultdict(list)
    annotations = first_there(folder, ("annotations.csv", f"{_BESIDE_SCRIPT}/annotations.csv"))
    for row in read_table(annotations, sized):
        places[row.text("seriesuid")].append(_place("nodule", row, row.number("diameter_mm")))
    if absent := places.keys() - scans:
        _log.warning(
            "%d of the %d scans that %s names are in no subset that is here, such as %s",
            len(absent),
            len(places),
            annotations,
            min(absent),
        )
    excluded = first_there(folder, ("annotations_excluded.csv", f"{_BESIDE_SCRIPT}/annotations_excluded.csv"))
    for row in read_table(excluded, sized):
        diameter = row.number("diameter_mm")
        places[row.text("seriesuid")].append(_place("excluded", row, diameter if diameter >= 0 else None))
    if candidates:
        table = first_there(folder, ("candidates_V2.csv", "candidates.csv"))
        for row in read_table(table, (*sized[:4], "class")):
            label = "candidate nodule" if row.number("class") > 0 else "candidate"
            places[row.text("seriesuid")].append(_place(label, row, None))
    if not set(places) & set(scans):
        raise BrokenDataError(f"{annotations} names none of the {len(scans)} scans in {folder}")
    return [
        Case(uid, uid, _loader(path), places=tuple(places[uid]), split=path.parent.name)
        for uid, path in scans.items()
    ]


def _place(label: str, row: Row, diameter_mm: float | None) -> Place:
    return Place(label, (row.number("coordX"), row.number("coordY"), row.number("coordZ")), diameter_mm)


def _raw_of(header: Path) -> Path:
    """The file of voxels that an .mhd names, of the size it promises."""
    fields = {}
    for line in header.read_text(encoding="latin-1").splitlines():
        name, equals, value = line.partition("=")
        if equals:
            fields[name.strip()] = value.strip()
    if not {"ElementDataFile", "DimSize", "ElementType"} <= set(fields):
        raise BrokenDataError(f"{header} is no MetaImage header")
    raw = header.with_name(fields["ElementDataFile"])
    if not raw.is_file():
        raise BrokenDataError(f"{raw} is missing, though {header.name} names it")
    sides = fields["DimSize"].split()
    if len(sides) != 3 or not all(side.isdecimal() for side in sides):
        raise BrokenDataError(f"{header}: DimSize is {fields['DimSize']!r}, not three sides")
    voxels = math.prod(int(side) for side in sides)
    if (
        raw.suffix == ".raw"
        and fields["ElementType"] == "MET_SHORT"
        and fields.get("CompressedData", "False") == "False"
        and raw.stat().st_size != 2 * voxels
    ):
        raise BrokenDataError(f"{raw} has {raw.stat().st_size} bytes, not the {2 * voxels} of its header")
    return raw


def _loader(path: Path) -> Callable[[], CaseImage]:
    def load() -> CaseImage:
        try:
            image = SimpleITK.ReadImage(str(path))
        except RuntimeError as error:
            raise BrokenDataError(f"{path} cannot be read as an image") from error
        spacing = np.array(image.GetSpacing())
        columns = np.reshape(image.GetDirection(), (3, 3)) * spacing
        affine = np.eye(4)
        affine[:3, :3] = columns[:, ::-1]
        affine[:3, 3] = image.GetOrigin()
        z, y, x = (float(mm) for mm in spacing[::-1])
        return CaseImage(SimpleITK.GetArrayFromImage(image), "HU", (z, y, x), affine)

    return load
