"""CT series with places of known lesions (layout ``ct-scans``): backgrounds to draw lesions into, scans to be
read.

A folder of this layout holds ``scans.csv`` with a line for each known lesion, or one with the last four cells
empty where none is known: ``name,folder,use,license,x_mm,y_mm,z_mm,radius_mm``. ``folder`` is relative to the
table, ``use`` is ``background`` or ``test``, places are LPS millimetres of the series' own frame. Where there
is no table, ``PUBLIC_SCANS`` stands for it: those of its folders that are there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from inference.findings import Point
from inference.volume import Volume, load_volume
from training.datasets.files import there
from training.errors import BrokenDataError
from training.tables import Row, read_table

TABLE = "scans.csv"
_USES = ("background", "test")
_COLUMNS = ("name", "folder", "use", "license", "x_mm", "y_mm", "z_mm", "radius_mm")


@dataclass(frozen=True)
class CtScan:
    """A series. ``lesions``: places (LPS mm) and radii (mm) of what is known to be there."""

    name: str
    folder: Path
    use: str
    license: str = ""
    lesions: tuple[tuple[Point, float], ...] = ()

    @property
    def slug(self) -> str:
        """The name as a part of a file's name."""
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")

    def load(self) -> Volume:
        """The series' voxels.

        Raises:
            UnreadableSeriesError: the folder holds no series of slices.
        """
        return load_volume(sorted(p for p in self.folder.iterdir() if p.is_file()))


PUBLIC_SCANS = (
    CtScan(
        "NLST 101287 (Sybil)",
        Path("ct_lung_nlst_sybil/CT_3_952642"),
        "test",
        "CC BY 4.0",
        (((4.2, 2.7, 1181.6), 12.0),),
    ),
    CtScan(
        "Lung-PET-CT-Dx A0001",
        Path("ct_lung_petctdx/Lung_Dx-A0001"),
        "test",
        "CC BY 4.0",
        (((40.5, 199.0, -209.0), 36.0),),
    ),
    CtScan(
        "ACRIN-NSCLC-FDG-PET 042",
        Path("petct_acrin_nsclc/CT_2_858561"),
        "background",
        "CC BY 3.0",
        (((-46.0, -12.0, -120.0), 60.0),),
    ),
    CtScan("Colorectal-Liver-Metastases 1004", Path("ct_liver_crlm/CRLM-CT-1004"), "background", "CC BY 4.0"),
)
"""Series of public collections, by the folders they lie in here; never both learned from and tested on."""


def read_scans(folder: Path) -> list[CtScan]:
    """Every scan that ``folder`` names, or those of ``PUBLIC_SCANS`` that it holds.

    Raises:
        BrokenDataError: a line or a folder is missing or malformed; or there is no table, and no public scan.
    """
    scans = scans_in(folder)
    if not scans:
        raise BrokenDataError(
            f"{folder / TABLE} is missing, and {folder} holds none of the public scans known by name"
        )
    return scans


def scans_in(folder: Path) -> list[CtScan]:
    """The same of a folder that may hold none.

    Raises:
        BrokenDataError: a line or a folder is missing or malformed.
    """
    table = folder / TABLE
    if table.is_file():
        return _tabled(table)
    return [
        CtScan(s.name, folder / s.folder, s.use, s.license, s.lesions)
        for s in PUBLIC_SCANS
        if (folder / s.folder).is_dir()
    ]


def _tabled(table: Path) -> list[CtScan]:
    scans: dict[str, CtScan] = {}
    for row in read_table(table, _COLUMNS):
        name, use = row.text("name"), row.text("use")
        if use not in _USES:
            raise row.broken(f"use is {use!r}, not one of {', '.join(_USES)}")
        folder = there(table.parent / row.text("folder"), f"{table.name}, line {row.line},")
        scan = CtScan(name, folder, use, row.text("license"), _lesion(row))
        known = scans.get(name)
        if known is not None:
            if (known.folder, known.use) != (scan.folder, scan.use):
                raise row.broken(f"{name} has another folder or use than in the lines before")
            scan = CtScan(name, folder, use, known.license, known.lesions + scan.lesions)
        scans[name] = scan
    if not scans:
        raise BrokenDataError(f"{table} names no scan")
    return list(scans.values())


def _lesion(row: Row) -> tuple[tuple[Point, float], ...]:
    if not row.text("x_mm"):
        return ()
    center = (row.number("x_mm"), row.number("y_mm"), row.number("z_mm"))
    return ((center, row.number("radius_mm")),)
