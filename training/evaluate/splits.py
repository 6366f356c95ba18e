"""Which split a patient is in, for the models that are measured."""

from __future__ import annotations

from collections.abc import Callable

from inference.catalogue import Catalogue
from training.datasets.splits import read_splits, split_of


def splits_of(catalogue: Catalogue) -> Callable[[str], str]:
    """Patient to split: as the run that made the models wrote it (``splits.json`` beside them); of patients
    it does not name, and of other models, as ``training.datasets.splits`` decides.

    Raises:
        BrokenDataError: the file is no table of splits.
    """
    path = catalogue.root.parent / "splits.json"
    known = read_splits(path) if path.is_file() else {}
    return lambda patient: known.get(patient) or split_of(patient)
