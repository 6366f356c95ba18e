"""Candidates kept on disk, so that a training that was stopped need not cut them again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from training.lung_nodules.crops import SHAPE, Candidate


def kept_candidates(path: Path, make: Callable[[], Sequence[Candidate]]) -> list[Candidate]:
    """The candidates in ``path`` (``.npz``), or where it is not there those of ``make``, then kept there."""
    if not path.exists():
        _save(path, make())
    with np.load(path) as kept:
        hu, mask, rest = kept["hu"], kept["mask"], kept["rest"]
    return [
        Candidate(h, m, float(r[0]), float(r[1]), float(r[2]), int(r[3]), bool(r[4]))
        for h, m, r in zip(hu, mask, rest, strict=True)
    ]


def _save(path: Path, candidates: Sequence[Candidate]) -> None:
    rest = [(c.spacing_mm, c.nodule, c.malignancy, c.kind, c.real) for c in candidates]
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part.npz")
    np.savez(
        part,
        hu=np.array([c.hu for c in candidates], np.float16).reshape(-1, *SHAPE),
        mask=np.array([c.mask for c in candidates], np.uint8).reshape(-1, *SHAPE),
        rest=np.array(rest, np.float64).reshape(-1, 5),
    )
    part.replace(path)
