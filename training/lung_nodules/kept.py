"""Candidates kept on disk, so that a training that was stopped need not cut them again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from training.kept import Arrays, kept
from training.lung_nodules.crops import SHAPE, Candidate


def kept_candidates(
    path: Path, made_from: Iterable[object], make: Callable[[], Sequence[Candidate]]
) -> list[Candidate]:
    """The candidates of ``make``, or of an earlier run that made them from the same
    (``training.kept.kept``)."""
    arrays = kept(path, made_from, lambda: _as_arrays(make()))
    return [
        Candidate(hu, mask, float(r[0]), float(r[1]), float(r[2]), int(r[3]), bool(r[4]))
        for hu, mask, r in zip(arrays["hu"], arrays["mask"], arrays["rest"], strict=True)
    ]


def _as_arrays(candidates: Sequence[Candidate]) -> Arrays:
    rest = [(c.spacing_mm, c.nodule, c.malignancy, c.kind, c.real) for c in candidates]
    return {
        "hu": np.array([c.hu for c in candidates], np.float16).reshape(-1, *SHAPE),
        "mask": np.array([c.mask for c in candidates], np.uint8).reshape(-1, *SHAPE),
        "rest": np.array(rest, np.float64).reshape(-1, 5),
    }
