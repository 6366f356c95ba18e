"""DeepLesion's key slices as both networks learn from them.

A lesion is marked on one slice, by two axes: there the ellipse through their ends is its mask, and what its
box holds beside that is none of it. What else that slice shows may be lesions that nobody marked, and of the
slices beside it, loaded or not, nothing is known (``training.ct_lesions.known``). Malignancy is never known,
the site where the release tells a type. Beyond the slices that are released the body goes on as their mirror
image, since scans in service do not end in air 30 mm above and below a lesion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from inference.card import ModelCard
from inference.engine import Engine
from inference.findings import Point
from inference.readers.candidates import Candidate
from inference.readers.ct_lesions import marks
from inference.readers.whole_volume import body_on_grid
from inference.resample import sample_crops
from inference.volume import Volume
from training.ct_lesions.crops import SHAPE, UNKNOWN, Crop, crop_steps, cut
from training.ct_lesions.ellipses import Ellipse
from training.ct_lesions.known import KNOWN, OPEN, UNMARKED
from training.ct_lesions.patches import SITE_NUMBER, SIZE, SPACING_MM, Patch, Spot, keep, kept_spots
from training.datasets.deeplesion import KeySlice
from training.kept import digest
from training.phantoms.acquisition import as_series, stored
from training.phantoms.fields import Array, Grid
from training.phantoms.masses import SITES, Site

_KEY = SIZE // 2
_AROUND_MM = 40.0
_BEYOND_MM = 90.0
_ON_A_LESION = 2
_ON_SLICE_MM = 4.0
_NOTHING = 3


@dataclass(frozen=True)
class Marked:
    """A lesion in the frame of its stack: ``box``, low and high corner (x, y), mm."""

    ellipse: Ellipse
    box: tuple[tuple[float, float], tuple[float, float]]
    site: Site | None

    @property
    def center_mm(self) -> Point:
        return (*self.ellipse.middle, 0.0)

    @property
    def diameter_mm(self) -> float:
        return self.ellipse.diameter_mm

    def holds(self, x: Array, y: Array) -> npt.NDArray[np.bool_]:
        """Which places its box holds. x, y: mm, shaped to broadcast."""
        (x0, y0), (x1, y1) = self.box
        return np.asarray((x >= x0) & (x <= x1) & (y >= y0) & (y <= y1))


def lesions_of(one: KeySlice) -> list[Marked]:
    """In mm from the middle of the key slice's first pixel."""
    _, row_mm, column_mm = one.spacing_mm
    sites: dict[str, Site] = {site: site for site in SITES}
    return [
        Marked(
            Ellipse.through(lesion.long_axis, lesion.short_axis, (column_mm, row_mm)),
            (
                (lesion.box.low[0] * column_mm, lesion.box.low[1] * row_mm),
                ((lesion.box.high[0] - 1) * column_mm, (lesion.box.high[1] - 1) * row_mm),
            ),
            sites.get(lesion.box.label),
        )
        for lesion in one.lesions
    ]


def volume_of(one: KeySlice) -> Volume:
    """The key slice, at z = 0, with those beside it, and their mirror image beyond.

    Raises:
        BrokenDataError: a slice cannot be read.
    """
    slices, key = one.stack()
    beyond = int(np.ceil(_BEYOND_MM / one.spacing_mm[0]))
    room = [(max(beyond - key, 0), max(beyond - (len(slices) - 1 - key), 0)), (0, 0), (0, 0)]
    hu = np.pad(slices, room, mode="reflect")
    lowest = -(key + room[0][0]) * one.spacing_mm[0]
    return as_series(hu.astype(np.float32), Grid(hu.shape, one.spacing_mm, (lowest, 0.0, 0.0)))


@dataclass(frozen=True, eq=False)
class KeySlicePatches:
    """A patch about each lesion of a patient, on the grid of the first network; the key slice is its middle
    one, and the only one of which anything is known. In ``folder``: ``NAME-hu.npy`` as of a ``Shard``;
    ``NAME-share.npy`` and ``NAME-known.npy``, uint8 (n, 64, 64), of the key slice; ``NAME.json``."""

    folder: Path
    name: str
    spots: tuple[tuple[Spot, ...], ...]

    @classmethod
    def of(cls, slices: Sequence[KeySlice], folder: Path) -> KeySlicePatches:
        """Of the key slices of one patient; from ``folder`` where they lie already, made of the same."""
        name = f"deeplesion-{slices[0].patient}-{digest(*slices)}"
        if not (folder / f"{name}.json").exists():
            patches = [patch for one in slices for patch in _patches(one)]
            arrays: dict[str, npt.NDArray[Any]] = {
                "hu": np.stack([p[0] for p in patches]),
                "share": np.stack([p[1] for p in patches]),
                "known": np.stack([p[2] for p in patches]),
            }
            keep(folder, name, arrays, [p[3] for p in patches])
        return cls(folder, name, kept_spots(folder, name))

    def __len__(self) -> int:
        return len(self.spots)

    def __getitem__(self, number: int) -> Patch:
        share, known = np.zeros((2, SIZE, SIZE, SIZE), np.uint8)
        known[:] = OPEN
        share[_KEY], known[_KEY] = self._kept("share")[number], self._kept("known")[number]
        return Patch(self._kept("hu")[number], share, known, self.spots[number])

    def _kept(self, what: str) -> npt.NDArray[Any]:
        """Opened anew each time: patients are more than a process may have files open."""
        kept: npt.NDArray[Any] = np.load(self.folder / f"{self.name}-{what}.npy", mmap_mode="r")
        return kept


_KeptPatch = tuple[npt.NDArray[np.int16], npt.NDArray[np.uint8], npt.NDArray[np.uint8], list[Spot]]


def _patches(one: KeySlice) -> list[_KeptPatch]:
    volume, lesions = volume_of(one), lesions_of(one)
    rng = np.random.default_rng(int(digest(one.name), 16))
    patches = []
    for lesion in lesions:
        x, y, _ = np.array(lesion.center_mm) + rng.uniform(-_AROUND_MM, _AROUND_MM, 3)
        middle = (float(x), float(y), (SIZE - 1 - 2 * _KEY) / 2 * SPACING_MM)
        hu = stored(sample_crops(volume, [middle], (SIZE,) * 3, SPACING_MM)[0])
        grid = Grid.centred((SIZE,) * 3, (SPACING_MM,) * 3, middle[::-1])
        _, rows, columns = (axis.ravel() for axis in grid.axes)
        share, known = _drawn(lesions, columns[None], rows[:, None], SPACING_MM)
        low = np.array(grid.origin_mm[::-1])
        spots = []
        for other in lesions:
            at = np.array(other.center_mm) - low
            if ((at >= 0) & (at < SIZE * SPACING_MM)).all():
                center = (float(at[0]), float(at[1]), float(at[2]))
                spots.append(Spot(center, other.diameter_mm, other.site, None))
        patches.append((hu, np.rint(255 * share).astype(np.uint8), known, spots))
    return patches


def _drawn(
    lesions: Sequence[Marked], x: Array, y: Array, pixel_mm: float
) -> tuple[Array, npt.NDArray[np.uint8]]:
    """Of a key slice: the part of each pixel that a lesion fills, and what is known there."""
    shape = np.broadcast_shapes(x.shape, y.shape)
    share: Array = np.zeros(shape, np.float32)
    known = np.full(shape, UNMARKED, np.uint8)
    for lesion in lesions:
        share = np.maximum(share, lesion.ellipse.share(x, y, pixel_mm))
        known[lesion.holds(x, y)] = KNOWN
    return share, known


def key_slice_crops(one: KeySlice, engine: Engine, card: ModelCard) -> list[Crop]:
    """Each lesion about where the first network marks it and about where it was marked by hand; and marks on
    the key slice that are on none of them, which may be lesions that nobody marked."""
    volume, lesions = volume_of(one), lesions_of(one)
    body = body_on_grid(volume, card)
    rng = np.random.default_rng([int(digest(one.name), 16), 76])
    found = [mark.candidate for mark in marks(body, engine, card)]
    out: list[Crop] = []
    for lesion in lesions:
        reach = max(lesion.diameter_mm / 2, 3.0)
        on_it = [m for m in found if np.linalg.norm(np.subtract(m.center_mm, lesion.center_mm)) < reach]
        places = [(m.center_mm, m.diameter_mm) for m in on_it[:_ON_A_LESION]]
        x, y, z = np.add(lesion.center_mm, rng.normal(0, 0.08 * lesion.diameter_mm, 3))
        places.append(((float(x), float(y), float(z)), lesion.diameter_mm))
        for center, diameter in places:
            size = diameter * float(np.exp(rng.normal(0, 0.15)))
            crop = cut(volume, body, center, size, site=_number(lesion.site), real=True)
            out.append(_with_mask(crop, center, lesion))
    nothing = [m for m in found if _on_key_slice(m.center_mm) and not _on_any(m, lesions)]
    chosen = rng.choice(len(nothing), min(_NOTHING, len(nothing)), replace=False) if nothing else ()
    for mark in (nothing[int(i)] for i in chosen):
        size = mark.diameter_mm * float(np.exp(rng.normal(0, 0.15)))
        crop = cut(volume, body, mark.center_mm, size, real=True)
        known = np.where(_of_key_slice(crop, mark.center_mm), UNMARKED, OPEN).astype(np.uint8)
        out.append(replace(crop, known=known))
    return out


def _number(site: Site | None) -> int:
    return SITE_NUMBER[site] if site is not None else UNKNOWN


def _on_key_slice(center_mm: Point) -> bool:
    """Whether a mark lies on the key slice, as far as the first network tells its height."""
    return abs(center_mm[2]) < _ON_SLICE_MM


def _on_any(mark: Candidate, lesions: Sequence[Marked]) -> bool:
    x, y, _ = (np.array(mm) for mm in mark.center_mm)
    return any(bool(lesion.holds(x, y)) for lesion in lesions)


def _with_mask(crop: Crop, center_mm: Point, lesion: Marked) -> Crop:
    grid = Grid.centred(SHAPE, crop_steps(crop.spacing_mm), center_mm[::-1])
    on_it = _of_key_slice(crop, center_mm)
    share = lesion.ellipse.share(grid.axes[2][0], grid.axes[1][0], crop.spacing_mm)
    mask = np.rint(100 * on_it[:, None, None] * share).astype(np.uint8)
    return replace(crop, lesion=1.0, mask=mask, known=np.where(on_it, KNOWN, OPEN).astype(np.uint8))


def _of_key_slice(crop: Crop, center_mm: Point) -> npt.NDArray[np.bool_]:
    """Which slices of a crop lie no more than half a step from the key slice: one of them, or two."""
    step, *_ = crop_steps(crop.spacing_mm)
    z = center_mm[2] + step * (np.arange(SHAPE[0]) - (SHAPE[0] - 1) / 2)
    return np.asarray(np.abs(z) <= step / 2 + 1e-6)
