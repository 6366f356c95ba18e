"""``FORMAT`` is raised with every change to what is written of the same reading."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import DataElement, Dataset, dcmread

from node.results import edition
from node.results.identity import FORMAT
from tests.node.results.phantoms import Case
from tests.validators.cases import cases

WRITTEN = {9: "1a5a50c2d55321335eb4ca316670838485c7669197394a670c2ca545afa8b8f3"}
"""The digest of what the present format writes of ``cases``, by its number."""
KINDS = ("seg", "sr", "pr", "ko")


def test_what_is_written_is_that_of_the_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under the same number a digest is renewed only before any node has written in that format, or where
    what changed is a case, or how an updated library writes the same. Without summaries, whose pixels are
    the font's; under a version, an identity and tracking UIDs that no release changes."""
    monkeypatch.setattr(edition, "SOFTWARE_VERSION", "1")
    digest = hashlib.sha256()
    for name, case in cases(tmp_path).items():
        for file, text in sorted(_texts(case, tmp_path / "out" / name)):
            digest.update(f"{name}|{file}|{text}".encode())
    assert {FORMAT: digest.hexdigest()} == WRITTEN, "raise FORMAT and renew this digest"


def _texts(case: Case, out: Path) -> Iterator[tuple[str, str]]:
    """Each object in lines, by its file's name."""
    tracked = [f.tracked_as(f"2.25.{n}", f.change) for n, f in enumerate(case.reading.findings, 1)]
    same = replace(case, reading=replace(case.reading, findings=tuple(tracked)))
    for name, file in same.write(out, *KINDS, identity="the same in every release").items():
        yield name, "\n".join(_lines(dcmread(file.path)))


def _lines(dataset: Dataset, path: str = "") -> Iterator[str]:
    for element in dataset:
        name = f"{path}{element.tag}"
        if element.VR == "SQ":
            for number, item in enumerate(element.value):
                yield from _lines(item, f"{name}[{number}].")
        else:
            yield f"{name} {element.VR} {_said(element)}"


def _said(element: DataElement) -> str:
    """Numbers to six digits, since further ones may be the processor's."""
    if isinstance(element.value, bytes):
        return hashlib.sha256(element.value).hexdigest()
    values = element.value if element.VM > 1 else [element.value] * element.VM
    if element.VR in ("DS", "FL", "FD"):
        return "\\".join(f"{round(float(value), 6) + 0.0:.6g}" for value in values)
    return "\\".join(map(str, values))
