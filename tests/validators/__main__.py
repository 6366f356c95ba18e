"""``python -m tests.validators``: every kind of result of every reader, before every validator, as a table.

Exit status 0 only if no validator saw an error. ``--without-pixelmed`` leaves out the slowest one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.progress import track
from rich.table import Table

from inference.findings import Change, ClassProbability
from node.results import ResultFile, codes
from tests.node.results.phantoms import ORIENTATIONS, Case, phantom
from tests.validators import dciodvfy, dcmpschk, dsrdump, pixelmed, segimage2itkimage, tid1500reader

Validator = Callable[[Path], list[str]]
GROWN = Change("1.2.3.4", "20230115", 365, "increased", 62.5, 521.0, True, 0.97)


def cases(folder: Path) -> dict[str, Case]:
    """A reading of each reader that reads volumes, and the two that say the least and the most."""
    lesions = phantom(folder / "ct")
    oblique = phantom(folder / "oblique", ORIENTATIONS["oblique"])
    grown = tuple(replace(finding, change=GROWN) for finding in lesions.reading.findings)
    generic = tuple(
        replace(finding, label="lesion", code=codes.LESION.code, malignancy=None)
        for finding in oblique.reading.findings
    )
    classes = (ClassProbability("effusion", codes.PLEURAL_EFFUSION.code, 0.71),)
    return {
        "lung-nodules": lesions,
        "lung-nodules, grown": lesions.with_findings(*grown),
        "lung-nodules, none": lesions.with_findings(),
        "ct-lesions": replace(
            oblique, reading=replace(oblique.reading, reader="ct-lesions", findings=generic)
        ),
        "pet-ct": replace(
            oblique, reading=replace(oblique.reading, reader="pet-ct", findings=generic, classes=classes)
        ),
    }


def validators(folder: Path, with_pixelmed: bool) -> dict[str, tuple[set[str], Validator]]:
    """Each validator with the kinds of object it can judge."""

    def read_by_dcmqi(path: Path) -> list[str]:
        return [] if "Measurements" in tid1500reader(path, folder) else ["no measurements read"]

    table: dict[str, tuple[set[str], Validator]] = {
        "dciodvfy": ({"seg", "sr", "pr", "sc", "ko"}, dciodvfy),
        "dsrdump": ({"sr", "ko"}, dsrdump),
        "dcmpschk": ({"pr"}, dcmpschk),
        "dcmqi SEG": ({"seg"}, lambda path: segimage2itkimage(path, folder)),
        "dcmqi SR": ({"sr"}, read_by_dcmqi),
    }
    if with_pixelmed:
        table["PixelMed"] = ({"sr"}, lambda path: pixelmed([path]))
    return table


def main() -> int:
    console = Console(width=120)
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        judges = validators(folder, "--without-pixelmed" not in sys.argv)
        table = Table("reader", "object", *judges, title="errors by validator; - does not judge this object")
        errors: list[str] = []
        made: list[tuple[str, str, ResultFile]] = [
            (reader, name, file)
            for number, (reader, case) in enumerate(cases(folder).items())
            for name, file in case.write(folder / str(number), "seg", "sr", "pr", "sc", "ko").items()
        ]
        for reader, name, file in track(made, "validating", console=console):
            row = []
            for judge, (kinds, validate) in judges.items():
                found = validate(file.path) if file.kind in kinds else None
                errors += [f"{reader} {name}, {judge}: {error}" for error in found or []]
                row.append("-" if found is None else str(len(found)))
            table.add_row(reader, name, *row)
    console.print(table)
    for error in errors:
        console.print(error, markup=False)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
