"""Which split a patient is in, for the models that are measured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from inference.catalogue import Catalogue
from training.datasets.splits import SHARES, read_splits, split_of


def splits_of(catalogue: Catalogue) -> Callable[[str], str]:
    """Patient to split: as the run that made the models wrote it (``splits.json`` beside them); of patients
    it does not name, and of other models, as ``training.datasets.splits`` decides.

    Raises:
        BrokenDataError: the file is no table of splits.
    """
    path = _written(catalogue)
    known = {} if path is None else read_splits(path)
    return lambda patient: known.get(patient) or split_of(patient)


def told_of(split: str, catalogue: Catalogue) -> dict[str, str]:
    """For the figures of a split by patient: ``splits``, the file that says who is in it, where there is
    one."""
    path = _written(catalogue)
    return {"splits": str(path)} if path is not None and split in SHARES else {}


def _written(catalogue: Catalogue) -> Path | None:
    path = catalogue.root.resolve().parent / "splits.json"
    return path if path.is_file() else None
