"""How the frame of reference of a prior lies to that of the current study, kept beside a comparison."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np

from inference.growth.align import Alignment
from inference.growth.deform import Vectors
from inference.volume import Floats

_FILE: Final = "frames.npz"
_EVERY: Final = 3


@dataclass(frozen=True, eq=False)
class FramesAligned:
    """``rigid @ (x + vectors(x))`` is the point of the prior at the current point x, both in LPS mm.

    current_frame, prior_frame: Frame of Reference UIDs, two different ones. rigid: (4, 4). vectors: (slices,
    rows, columns, 3), x, y, z in mm, on the grid of ``affine``, (slice, row, column, 1) to LPS mm, which runs
    along +z, +y, +x.
    """

    current_frame: str
    prior_frame: str
    rigid: Floats
    vectors: Vectors
    affine: Floats

    @classmethod
    def of(cls, alignment: Alignment, current_frame: str, prior_frame: str) -> Self | None:
        """Every third voxel of the alignment's displacements, which are smooth; None where the alignment is
        not sound, or either study names no frame, or both the same."""
        if not alignment.sound or not current_frame or not prior_frame or current_frame == prior_frame:
            return None
        affine = alignment.current.affine.copy()
        affine[:3, :3] *= _EVERY
        vectors = np.ascontiguousarray(alignment.vectors[::_EVERY, ::_EVERY, ::_EVERY], np.float32)
        return cls(current_frame, prior_frame, alignment.rigid, vectors, affine)

    def save(self, folder: Path) -> None:
        """Beside the reading that is kept in ``folder``."""
        np.savez_compressed(
            folder / _FILE,
            allow_pickle=False,
            frames=np.array([self.current_frame, self.prior_frame]),
            rigid=self.rigid,
            vectors=self.vectors,
            affine=self.affine,
        )

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """What was saved in ``folder``; None where nothing was."""
        if not (folder / _FILE).exists():
            return None
        with np.load(folder / _FILE, allow_pickle=False) as kept:
            current, prior = (str(uid) for uid in kept["frames"])
            return cls(current, prior, kept["rigid"], kept["vectors"], kept["affine"])
