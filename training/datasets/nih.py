"""Chest radiographs with the labels of NIH ChestX-ray14, as files of one folder with a ``labels.csv``."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

CLASSES = ("cardiomegaly", "effusion", "atelectasis", "consolidation", "edema", "no_finding")


@dataclass(frozen=True)
class Radiograph:
    """One image and its labels, in the order of ``CLASSES``. view: AP or PA."""

    path: Path
    patient: str
    view: str
    labels: tuple[bool, ...]

    def pixels(self) -> npt.NDArray[np.uint8]:
        """(rows, columns), black is air."""
        return np.asarray(Image.open(self.path).convert("L"))


def read_nih(folders: Sequence[Path]) -> list[Radiograph]:
    """The radiographs of folders of layout ``nih``; one that lies in two folders counts once.

    Raises:
        FileNotFoundError: ``labels.csv`` is missing, or an image that it names.
        ValueError: a column is missing.
    """
    found: dict[str, Radiograph] = {}
    for folder in folders:
        table = folder / "labels.csv"
        if not table.exists():
            raise FileNotFoundError(f"{table}: not there; layout nih is labels.csv beside a folder images")
        with table.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                if missing := [c for c in ("file", "patient_id", "view", *CLASSES) if c not in row]:
                    raise ValueError(f"{table}: has no column {', '.join(missing)}")
                path = folder / "images" / row["file"]
                if not path.exists():
                    raise FileNotFoundError(f"{path}: {table.name} names it, but it is not there")
                labels = tuple(row[name] == "1" for name in CLASSES)
                found.setdefault(path.stem, Radiograph(path, row["patient_id"], row["view"], labels))
    return list(found.values())
