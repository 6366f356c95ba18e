"""Splits by patient: decided by a hash of the patient's name, and kept in a file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from training.errors import BrokenDataError

SHARES: Mapping[str, float] = {"train": 0.7, "validation": 0.1, "test": 0.2}

HELD_OUT: Mapping[str, float] = {"train": 0.9, "validation": 0.1}
"""Of patients who are all there to learn from: a tenth is held out, to choose the weights by."""


class OfPatient(Protocol):
    """What is a patient's."""

    @property
    def patient(self) -> str: ...


CaseT = TypeVar("CaseT", bound=OfPatient)


def split_of(patient: str, shares: Mapping[str, float] = SHARES) -> str:
    """The split of a patient: the same on every machine, whoever else is in the data set."""
    digest = hashlib.sha256(patient.encode()).digest()
    place = int.from_bytes(digest[:8]) / 2**64 * sum(shares.values())
    for name, share in shares.items():
        place -= share
        if place < 0:
            return name
    return list(shares)[-1]


def learned_and_held(
    cases: Sequence[CaseT], shares: Mapping[str, float] = HELD_OUT
) -> tuple[list[CaseT], list[CaseT]]:
    """Those whose patients ``split_of`` puts into ``train``, and those of ``validation``."""
    parts = [split_of(case.patient, shares) for case in cases]
    learned, held = (
        [case for case, part in zip(cases, parts, strict=True) if part == wanted]
        for wanted in ("train", "validation")
    )
    return learned, held


def fold_of(patient: str, folds: int = 5) -> int:
    """The fold of a patient, from 0, for cross-validation."""
    return int.from_bytes(hashlib.sha256(f"fold {patient}".encode()).digest()[:8]) % folds


def kept_splits(path: Path, patients: Iterable[str], shares: Mapping[str, float] = SHARES) -> dict[str, str]:
    """Patient to split. What ``path`` (``splits.json``) says holds; patients it does not know are added.

    Raises:
        BrokenDataError: the file is not such a table, or has a patient in two splits.
    """
    known = read_splits(path) if path.exists() else {}
    found = {patient: known.get(patient) or split_of(patient, shares) for patient in sorted(set(patients))}
    merged = {**known, **found}
    if merged != known:
        write_splits(path, merged)
    return found


def write_splits(path: Path, splits: Mapping[str, str]) -> None:
    """Patient to split, as ``read_splits`` takes them."""
    by_split = {
        name: sorted(p for p, s in splits.items() if s == name) for name in sorted({*splits.values()})
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(by_split, indent=1) + "\n", encoding="utf-8")
    part.replace(path)


def read_splits(path: Path) -> dict[str, str]:
    """Patient to split, from a file of split names with lists of patients."""
    try:
        by_split = json.loads(path.read_text(encoding="utf-8"))
        pairs = [(str(patient), str(name)) for name, patients in by_split.items() for patient in patients]
    except (ValueError, AttributeError, TypeError) as error:
        raise BrokenDataError(f"{path} is no table of splits (names with lists of patients)") from error
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(p for p, _ in pairs if sum(p == q for q, _ in pairs) > 1)
        raise BrokenDataError(f"{path} has the patient {twice} twice")
    return found
