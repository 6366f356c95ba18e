"""Splits by patient, the same everywhere and for good."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from training.datasets.splits import SHARES, fold_of, kept_splits, learned_and_held, read_splits, split_of
from training.errors import BrokenDataError

PATIENTS = [f"patient {number}" for number in range(2000)]
FIRST_SIX = ["validation", "test", "test", "train", "train", "validation"]


def test_a_patient_is_in_the_same_split_whoever_else_is_there(tmp_path: Path) -> None:
    all_of_them = kept_splits(tmp_path / "all.json", PATIENTS)
    few = kept_splits(tmp_path / "few.json", PATIENTS[50:90])
    assert few == {patient: all_of_them[patient] for patient in PATIENTS[50:90]}


def test_the_splits_are_those_of_the_first_release() -> None:
    assert [split_of(p) for p in PATIENTS[:6]] == FIRST_SIX


def test_shares_and_folds_are_about_as_wanted() -> None:
    shares = Counter(split_of(patient) for patient in PATIENTS)
    assert shares["train"] / 2000 == pytest.approx(0.7, abs=0.04)
    assert shares["test"] / 2000 == pytest.approx(0.2, abs=0.04)
    assert set(Counter(fold_of(patient) for patient in PATIENTS)) == {0, 1, 2, 3, 4}


@dataclass(frozen=True)
class Picture:
    patient: str


def test_a_tenth_of_the_patients_is_held_out_and_with_a_test_to_come_that_is_in_neither_part() -> None:
    pictures = [Picture(patient) for patient in PATIENTS for _ in range(2)]
    learned, held = learned_and_held(pictures)
    assert len(learned) + len(held) == 4000 and len(held) / 4000 == pytest.approx(0.1, abs=0.02)
    assert not {*learned} & {*held}
    found = learned_and_held(pictures[:12], SHARES)
    assert [[one.patient[-1] for one in part] for part in found] == [[*"3344"], [*"0055"]]


def test_what_is_written_holds_and_new_patients_are_added(tmp_path: Path) -> None:
    path = tmp_path / "splits.json"
    path.write_text('{"test": ["patient 0", "gone"], "train": ["patient 1"]}')
    found = kept_splits(path, PATIENTS[:10])
    assert found["patient 0"] == "test"
    assert found["patient 1"] == "train"
    assert set(found) == set(PATIENTS[:10])
    assert read_splits(path)["gone"] == "test"
    assert kept_splits(path, PATIENTS[:10]) == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1, 2]", "no table of splits"),
        ("{", "no table of splits"),
        ('{"a": ["x"], "b": ["x"]}', "patient x twice"),
    ],
)
def test_a_broken_file_of_splits_is_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "splits.json").write_text(text)
    with pytest.raises(BrokenDataError, match=said):
        kept_splits(tmp_path / "splits.json", ["x"])
