"""The real data ``ct-lesions`` learns from: scans as backgrounds for lesions that are drawn, and DeepLesion's
key slices, on which lesions are marked."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from inference.findings import Point
from inference.resample import resample
from inference.volume import Volume, load_volume
from training.ct_lesions.patches import SPACING_MM, RealBackground
from training.datasets.deeplesion import KeySlice, read_key_slices
from training.errors import BrokenDataError
from training.phantoms.fields import Grid

TABLE = "backgrounds.json"
_FORM = (
    "a list of scans, each with name, folder, license and kept_clear, the places (LPS mm) and radii (mm) of "
    "its known lesions: [[[x, y, z], radius], …]"
)


@dataclass(frozen=True)
class RealScan:
    """A CT series in a folder; ``kept_clear``: places (LPS mm) and radii (mm) of known lesions."""

    name: str
    folder: Path
    kept_clear: tuple[tuple[Point, float], ...] = ()
    license: str = ""

    def load(self) -> Volume:
        return load_volume(sorted(path for path in self.folder.iterdir() if path.is_file()))

    def background(self) -> RealBackground:
        """The series on the first network's grid."""
        volume = resample(self.load(), SPACING_MM)
        hu = np.clip(volume.voxels, -1024, 3071).astype(np.int16)
        return RealBackground(self.name, hu, Grid.of(volume), self.kept_clear)


@dataclass(frozen=True)
class MarkedSlices:
    """Key slices by patient: those to learn from, and those that choose the weights. ``splits``: every
    patient's, as released."""

    learned: tuple[tuple[KeySlice, ...], ...] = ()
    checked: tuple[tuple[KeySlice, ...], ...] = ()
    splits: Mapping[str, str] = field(default_factory=dict)


def marked_in(folder: Path) -> MarkedSlices:
    """DeepLesion's splits train and validation, without the key slices that it calls possibly noisy.

    Raises:
        BrokenDataError: the folder is not laid out as released, has a patient in two splits, or nothing of
            either split.
    """
    splits: dict[str, str] = {}
    patients: dict[str, dict[str, list[KeySlice]]] = defaultdict(lambda: defaultdict(list))
    for one in read_key_slices(folder.resolve()):
        if splits.setdefault(one.patient, one.split) != one.split:
            raise BrokenDataError(
                f"{folder} has the patient {one.patient} in two splits: {splits[one.patient]} and {one.split}"
            )
        if not one.noisy:
            patients[one.split][one.patient].append(one)
    for split in ("train", "validation"):
        if not patients[split]:
            raise BrokenDataError(f"{folder} holds no key slice of the split {split}")
    learned, checked = (
        tuple(tuple(slices) for _, slices in sorted(patients[split].items()))
        for split in ("train", "validation")
    )
    return MarkedSlices(learned, checked, splits)


def scans_in(folder: Path) -> list[RealScan]:
    """The scans that ``backgrounds.json`` lists, their folders beside it.

    Raises:
        BrokenDataError: the list is missing or malformed, or names a folder that is not there or two scans
            alike.
    """
    table = folder / TABLE
    if not table.is_file():
        raise BrokenDataError(f"{table} is missing: {_FORM}")
    try:
        scans = [_scan(folder, row) for row in json.loads(table.read_text(encoding="utf-8"))]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BrokenDataError(f"{table} is not {_FORM} ({type(error).__name__}: {error})") from error
    names = [scan.name for scan in scans]
    for scan in scans:
        if not scan.folder.is_dir():
            raise BrokenDataError(f"{table} names {scan.folder}, which is not a folder")
        if names.count(scan.name) > 1:
            raise BrokenDataError(f"{table} has two scans of the name {scan.name!r}; give each its own")
    return scans


def _scan(folder: Path, row: dict[str, Any]) -> RealScan:
    clear = tuple(((float(x), float(y), float(z)), float(radius)) for (x, y, z), radius in row["kept_clear"])
    return RealScan(str(row["name"]), folder / str(row["folder"]), clear, str(row.get("license", "")))
