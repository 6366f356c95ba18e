"""Readers by objects by validators."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from node.results import ResultFile
from tests.validators import (
    dciodvfy,
    dcm2json,
    dcmpschk,
    dsrdump,
    pixelmed,
    segimage2itkimage,
    tid1500reader,
)
from tests.validators.cases import cases

KINDS = ("seg", "sr", "pr", "sc", "ko")
PIXELMED = "PixelMed"
ALLOWED: dict[tuple[str, str], str] = {
    (
        "dcmqi SEG",
        "Failed to get image directions",
    ): "dcmqi decodes what lies in the patient; a radiograph or an endoscopic picture does not",
}
"""By validator and by a part of what it says: why that is no fault of the object."""


@dataclass(frozen=True)
class Matrix:
    """rows: by reader and object, how many errors each validator saw. errors: those that are not allowed."""

    judges: tuple[str, ...]
    rows: dict[tuple[str, str], dict[str, str]]
    sop_classes: frozenset[str]
    errors: tuple[str, ...]


def judged(folder: Path, with_pixelmed: bool = True) -> Matrix:
    """Writes every result of every reader into ``folder`` and asks every validator."""
    made: dict[tuple[str, str], ResultFile] = {
        (reader, name): file
        for number, (reader, case) in enumerate(cases(folder).items())
        for name, file in case.write(folder / str(number), *KINDS, udi="(01)00844588003288(21)1234").items()
    }
    judges = _judges(folder)
    found: dict[tuple[str, str], dict[str, list[str]]] = {
        place: {
            judge: validate(file.path) for judge, (kinds, validate) in judges.items() if file.kind in kinds
        }
        for place, file in made.items()
    }
    if with_pixelmed:
        reports = {file.path: place for place, file in made.items() if file.kind == "sr"}
        for path, errors in pixelmed(list(reports)).items():
            found[reports[path]][PIXELMED] = errors
    return Matrix(
        judges=(*judges, *((PIXELMED,) if with_pixelmed else ())),
        rows={place: {j: _count(j, errors) for j, errors in row.items()} for place, row in found.items()},
        sop_classes=frozenset(file.sop_class for file in made.values()),
        errors=tuple(
            f"{' '.join(place)}, {judge}: {error}"
            for place, row in found.items()
            for judge, errors in row.items()
            for error in _not_allowed(judge, errors)
        ),
    )


def _judges(folder: Path) -> dict[str, tuple[tuple[str, ...], Callable[[Path], list[str]]]]:
    """Each validator with the kinds of object it can judge."""

    def read_by_dcmqi(path: Path) -> list[str]:
        return [] if "Measurements" in tid1500reader(path, folder) else ["no measurements read"]

    return {
        "dciodvfy": (KINDS, dciodvfy),
        "dcm2json": (KINDS, dcm2json),
        "dsrdump": (("sr", "ko"), dsrdump),
        "dcmpschk": (("pr",), dcmpschk),
        "dcmqi SEG": (("seg",), lambda path: segimage2itkimage(path, folder)),
        "dcmqi SR": (("sr",), read_by_dcmqi),
    }


def _count(judge: str, errors: list[str]) -> str:
    refused = _not_allowed(judge, errors)
    return f"{len(refused)}{'*' * (len(errors) > len(refused))}"


def _not_allowed(judge: str, errors: list[str]) -> list[str]:
    return [error for error in errors if not any(judge == who and words in error for who, words in ALLOWED)]
