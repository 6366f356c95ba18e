"""A series as voxels and an affine in patient space."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from inference.decode import Voxels, digest, rescale, room, stored_frames
from inference.errors import UnreadableSeriesError
from inference.findings import Caveat
from inference.geometry import repeated, stack
from inference.header import NO_HEADERS, Headers, Slice, read_slices

__all__ = ["UnreadableSeriesError", "Volume", "load_volume"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Volume:
    """Voxels of one series.

    voxels: int16 or float32, (slices, rows, columns); CT in HU.
    affine: (4, 4); ``affine @ (slice, row, column, 1)`` is the voxel's centre in LPS millimetres.
        Its slice column need not be perpendicular to the plane (gantry tilt).
    images: for each slice the SOP Instance UID and, in a multi-frame image, its 1-based frame number;
        None for a slice that was not sent and has been interpolated.
    caveats: what was left out, interpolated, corrected or assumed on the way.
    thickness_mm: of the thickest slice, by its header; 0 where that does not say.
    """

    voxels: Voxels
    affine: Floats
    series_uid: str
    frame_of_reference_uid: str
    images: tuple[tuple[str, int | None] | None, ...]
    caveats: tuple[Caveat, ...] = ()
    thickness_mm: float = 0.0

    @property
    def shape(self) -> tuple[int, int, int]:
        """Slices, rows, columns."""
        slices, rows, columns = self.voxels.shape
        return slices, rows, columns

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between neighbouring slice planes (measured along their normal, also when the stack
        is sheared by a gantry tilt), between rows, and between columns."""
        _, row, column = (self.affine[:3, axis] for axis in range(3))
        between_rows, between_columns = float(np.linalg.norm(row)), float(np.linalg.norm(column))
        return self.voxel_mm3 / float(np.linalg.norm(np.cross(row, column))), between_rows, between_columns

    @property
    def slice_mm(self) -> float:
        """How finely the volume is seen across its slices: their distance or their thickness, whichever is
        larger. Thick slices that overlap show no more than thick ones side by side."""
        return max(self.spacing_mm[0], self.thickness_mm)

    @property
    def voxel_mm3(self) -> float:
        return abs(float(np.linalg.det(self.affine[:3, :3])))

    def to_patient(self, index: npt.ArrayLike) -> Floats:
        """LPS millimetres of (..., 3) slice, row, column indices, whole or fractional."""
        return np.asarray(index, np.float64) @ self.affine[:3, :3].T + self.affine[:3, 3]

    def to_index(self, mm: npt.ArrayLike) -> Floats:
        """Fractional slice, row, column of (..., 3) points in LPS millimetres."""
        return (np.asarray(mm, np.float64) - self.affine[:3, 3]) @ np.linalg.inv(self.affine[:3, :3]).T

    def shows(self, mm: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Which of (..., 3) points in LPS millimetres lie in its voxels, and there in a slice that was sent:
        one that was interpolated shows nothing. All of a volume that was never sent as images counts."""
        at = np.rint(self.to_index(mm)).astype(int)
        inside = ((at >= 0) & (at < self.shape)).all(axis=-1)
        sent = np.array([image is not None for image in self.images], bool)
        if not sent.any():
            return np.asarray(inside, bool)
        return np.asarray(inside & sent[np.clip(at[..., 0], 0, len(sent) - 1)], bool)


def load_volume(paths: Sequence[Path], threads: int = 0, headers: Headers = NO_HEADERS) -> Volume:
    """One CT or PET series, from its files in any order.

    What is corrected and what is refused: ``inference.geometry.stack``. Values are rescaled per slice: CT
    to HU (int16 where the rescaling is whole, nothing below -1024), PET to its unit (float32).

    Args:
        threads: that decode; 0 for as many as the machine has cores.
        headers: of files that were looked at already.

    Raises:
        UnreadableSeriesError: the files are no sound volume; says why and what to do.
    """
    if not paths:
        raise UnreadableSeriesError("There are no files to read.")
    with ThreadPoolExecutor(threads or os.cpu_count() or 1) as pool:
        slices = sorted(
            (
                item
                for part in pool.map(lambda path: headers.get(path) or read_slices(path), paths)
                for item in part
            ),
            key=lambda item: (item.sop_uid, item.frame or 0),
        )
        distinct = _distinct(slices, pool)
        stacked = stack(distinct)
        present = [(number, item) for number, item in enumerate(stacked.slices) if item is not None]
        first = present[0][1]
        voxels = room(len(stacked.slices), [item for _, item in present])
        shares = _shares(present, threads or os.cpu_count() or 1)
        for _ in pool.map(lambda share: _read(voxels, share), shares):
            pass
    _interpolate(voxels, [number for number, _ in present])
    twice = len(slices) - len(distinct)
    again = f"{twice} image{'s' * (twice > 1)} sent twice left out."
    repeats = (Caveat("left out", again, twice),) if twice else ()
    return Volume(
        voxels=voxels,
        affine=stacked.affine,
        series_uid=first.series_uid,
        frame_of_reference_uid=first.frame_of_reference_uid,
        images=tuple(None if item is None else (item.sop_uid, item.frame) for item in stacked.slices),
        caveats=repeats + stacked.caveats,
        thickness_mm=max(item.thickness for _, item in present),
    )


Numbered = tuple[int, Slice]


def _distinct(slices: list[Slice], pool: ThreadPoolExecutor) -> list[Slice]:
    """Without those that repeat another one's place and values, nor a file named twice."""
    slices = list({id(item): item for item in slices}.values())
    repeats: set[int] = set()
    for group in repeated(slices):
        seen: set[bytes] = set()
        for item, values in zip(group, pool.map(digest, group), strict=True):
            if values in seen:
                repeats.add(id(item))
            seen.add(values)
    return [item for item in slices if id(item) not in repeats]


def _shares(present: Sequence[Numbered], threads: int) -> list[list[Numbered]]:
    """What is decoded together: the slices of one file, or a part of a multi-frame image."""
    files: defaultdict[Path, list[Numbered]] = defaultdict(list)
    for number, item in present:
        files[item.path].append((number, item))
    shares = []
    for together in files.values():
        together.sort(key=lambda numbered: numbered[1].frame or 0)
        length = -(-len(together) // threads)
        shares += [together[start : start + length] for start in range(0, len(together), length)]
    return shares


def _read(voxels: Voxels, share: Sequence[Numbered]) -> None:
    frames = stored_frames([item for _, item in share])
    for (number, item), stored in zip(share, frames, strict=True):
        rescale(stored, item, out=voxels[number])


def _interpolate(voxels: Voxels, present: Sequence[int]) -> None:
    """Fills the slices between those present, linearly."""
    for before, after in pairwise(present):
        for number in range(before + 1, after):
            share = (number - before) / (after - before)
            between = (1 - share) * voxels[before].astype(np.float32) + share * voxels[after].astype(
                np.float32
            )
            voxels[number] = np.rint(between) if voxels.dtype == np.int16 else between
