"""What the words of the two networks of ct-lesions weigh."""

from __future__ import annotations

import numpy as np
import pytest

from inference.readers.candidates import Candidate
from inference.readers.ct_lesions import Judged, Look, Mark
from training.ct_lesions.cards import EQUAL_WORDS
from training.ct_lesions.words import weights


def marked(rng: np.random.Generator) -> tuple[Judged, bool]:
    """A mark whose look tells a lesion from nothing, and whose heat does so less well."""
    lesion = bool(rng.random() < 0.5)
    sign = 1 if lesion else -1
    look = 0.5 + 0.25 * sign + rng.uniform(-0.24, 0.24)
    heat = 0.5 + 0.1 * sign + rng.uniform(-0.3, 0.3)
    place = Candidate((0.0, 0.0, 0.0), 20.0, heat)
    mark = Mark(place, inside=float(rng.uniform(0.1, 0.9)))
    mask = np.zeros((2, 2, 2), np.float32)
    return Judged(mark, Look(place, (2.0, 1.0, 1.0), mask, look, None, ()), 0.5), lesion


@pytest.fixture(scope="module")
def many() -> list[tuple[Judged, bool]]:
    rng = np.random.default_rng(4)
    return [marked(rng) for _ in range(800)]


def test_a_word_weighs_by_how_much_it_tells(many: list[tuple[Judged, bool]]) -> None:
    found = weights(many)
    assert set(found) == set(EQUAL_WORDS)
    assert found["lesion_weight"] > found["heat_weight"] > 0.3
    assert abs(found["inside_weight"]) < 0.3


def test_where_all_marks_are_on_lesions_nothing_is_weighed_anew(many: list[tuple[Judged, bool]]) -> None:
    assert weights([(one, lesion) for one, lesion in many if lesion]) == {}
    assert weights([]) == {}
