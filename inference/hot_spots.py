"""Where a PET is hot: peaks of uptake, each with the region that belongs to it.

A region is bounded at 41 % of its maximum over the local background (the A41 % contour of Boellaard et al.,
EANM guidelines 2.0, 2015, and Frings et al. 2010); between neighbouring peaks it ends in the valley.
"""

from __future__ import annotations

from dataclasses import dataclass

import cc3d
import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import cKDTree

from inference.findings import Mask
from inference.resample import cropped
from inference.volume import Volume

Index = tuple[int, int, int]
Array = npt.NDArray[np.floating]

CONTOUR = 0.41
_SMOOTH_MM = 6.0
_APART_MM = 10.0
_ONE_THING = 0.75  # of the lower of two peaks: a valley this high between them parts nothing
_LEAST_CONTRAST = 1.5
_SHELL_MM = (4.0, 12.0)
_REACHES_MM = (32.0, 96.0)


@dataclass(frozen=True, eq=False)
class HotSpot:
    """peak: index of the hottest voxel. suv_max: there. mask: the voxels of its region. background: median
    SUV round it. contour: the SUV its border was drawn at."""

    peak: Index
    suv_max: float
    mask: Mask
    background: float
    contour: float


def hot_spots(suv: Volume, *, least_suv: float, least_ml: float, most: int) -> list[HotSpot]:
    """Regions at least ``least_suv`` hot and half as hot again as what lies round them, smoothed to 6 mm so
    that no single noisy voxel counts; of at least ``least_ml``; the hottest first, at most ``most``.

    suv: voxels in SUV, as the camera gave them.
    """
    voxels = np.asarray(suv.voxels, np.float32)
    smooth = ndimage.gaussian_filter(voxels, [_SMOOTH_MM / 2.355 / s for s in suv.spacing_mm])
    peaks = _peaks(smooth, suv, least_suv)
    if not peaks:
        return []
    field = _Field(voxels, smooth, _basins(smooth, peaks, 0.3 * least_suv), peaks, suv.spacing_mm)
    joined = np.zeros(len(peaks) + 1, bool)
    found: list[HotSpot] = []
    for number in range(1, len(peaks) + 1):
        if joined[number] or len(found) >= most:
            continue
        own = field.one_with(number, joined)
        joined |= own
        spot = field.grown(number, own)
        if spot is not None and spot.mask.voxels.sum() * suv.voxel_mm3 >= 1000 * least_ml:
            found.append(spot)
    return sorted(found, key=lambda spot: -spot.suv_max)


def _peaks(smooth: Array, suv: Volume, least: float) -> list[Index]:
    """Local maxima, the hottest first, none within 5 mm of a hotter one; one of each plateau."""
    window = [2 * max(1, round(_APART_MM / 2 / s)) + 1 for s in suv.spacing_mm]
    top = (ndimage.maximum_filter(smooth, window) == smooth) & (smooth >= least)
    index = np.argwhere(top)
    plateaus = cc3d.connected_components(top, connectivity=26)[top]
    index = index[np.unique(plateaus, return_index=True)[1]]
    order = np.argsort(-smooth[tuple(index.T)], kind="stable")
    return [(int(z), int(y), int(x)) for z, y, x in index[order]]


def _basins(smooth: Array, peaks: list[Index], least: float) -> npt.NDArray[np.int32]:
    """For each voxel above ``least`` the number, from 1, of the peak that steepest ascent leads to; where it
    ends on a lesser one, of the nearest. 0 elsewhere."""
    inside = smooth > least
    place = np.full(smooth.shape, -1, np.int64)
    index = np.argwhere(inside)
    place[inside] = np.arange(len(index))
    padded, places = np.pad(smooth, 1), np.pad(place, 1, constant_values=-1)
    here = tuple((index + 1).T)
    best, upward = padded[here].copy(), np.arange(len(index))
    for step in np.argwhere(np.ones((3, 3, 3))) - 1:
        there = tuple((index + 1 + step).T)
        higher = padded[there] > best
        best[higher], upward[higher] = padded[there][higher], places[there][higher]
    while not np.array_equal(upward, upward[upward]):
        upward = upward[upward]
    ends = np.unique(upward)
    _, nearest = cKDTree(np.array(peaks)).query(index[ends])
    number = np.zeros(len(index), np.int32)
    number[ends] = nearest + 1
    out = np.zeros(smooth.shape, np.int32)
    out[inside] = number[upward]
    return out


@dataclass(frozen=True, eq=False)
class _Field:
    """A PET with its peaks, numbered from 1, and the basin of each."""

    voxels: Array
    smooth: Array
    basins: npt.NDArray[np.int32]
    peaks: list[Index]
    spacing_mm: tuple[float, float, float]

    def one_with(self, number: int, joined: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """By peak: whether it is one thing with peak ``number``, no valley lying on the way between them."""
        own = np.zeros(len(joined), bool)
        own[number] = True
        places = np.array(self.peaks)
        todo = [number]
        while todo:
            start = places[todo.pop() - 1]
            away = np.linalg.norm((places - start) * self.spacing_mm, axis=1)
            for other in np.flatnonzero(away <= _REACHES_MM[0]) + 1:
                if own[other] or joined[other]:
                    continue
                end = places[other - 1]
                steps = int(np.abs(end - start).max()) + 1
                way = np.rint(np.linspace(start, end, steps)).astype(int)
                lower = min(self.smooth[tuple(start)], self.smooth[tuple(end)])
                if self.smooth[tuple(way.T)].min() >= _ONE_THING * lower:
                    own[other] = True
                    todo.append(int(other))
        return own

    def grown(self, number: int, own: npt.NDArray[np.bool_]) -> HotSpot | None:
        """The region of a peak in the basins of all that is one with it; None where it stands out too
        little."""
        for reach in _REACHES_MM:
            peak, low, box = self._about(number, reach)
            owned = own[self.basins[box]]
            region, contour, background = self._contoured(box, peak, owned)
            if not _meets_border(region):
                break
        if not region.any() or self.smooth[box][peak] < _LEAST_CONTRAST * background:
            return None
        hottest = float(self.voxels[box][region].max())
        return HotSpot(self.peaks[number - 1], hottest, cropped(region, low), background, contour)

    def _about(self, number: int, reach_mm: float) -> tuple[Index, Index, tuple[slice, slice, slice]]:
        """The peak's index in a box of this reach, the box's first voxel, and the box."""
        peak = self.peaks[number - 1]
        reach = [int(np.ceil(reach_mm / s)) for s in self.spacing_mm]
        z, y, x = (max(p - r, 0) for p, r in zip(peak, reach, strict=True))
        box = tuple(slice(a, p + r + 1) for a, p, r in zip((z, y, x), peak, reach, strict=True))
        return (peak[0] - z, peak[1] - y, peak[2] - x), (z, y, x), (box[0], box[1], box[2])

    def _contoured(
        self, box: tuple[slice, slice, slice], peak: Index, owned: npt.NDArray[np.bool_]
    ) -> tuple[npt.NDArray[np.bool_], float, float]:
        """Region, contour and background, found from each other in turn."""
        here = self.voxels[box]
        nearby = tuple(slice(max(m - 1, 0), m + 2) for m in peak)
        hottest = float(here[nearby].max())
        contour, background = CONTOUR * hottest, 0.0
        region = np.zeros(here.shape, bool)
        for _ in range(5):
            hot = (here >= contour) | (self.smooth[box] >= contour)
            region = _connected(hot & owned, peak)
            if not region.any():
                break
            hottest = float(here[region].max())
            background = _around(region, here, self.spacing_mm)
            refined = background + CONTOUR * (hottest - background)
            if abs(refined - contour) < 0.02 * hottest:
                break
            contour = refined
        return region, contour, background


def _connected(inside: npt.NDArray[np.bool_], seed: Index) -> npt.NDArray[np.bool_]:
    """The part of ``inside`` that ``seed`` lies in; empty where in none."""
    if not inside[seed]:
        return np.zeros_like(inside)
    parts = cc3d.connected_components(inside, connectivity=6)
    return np.asarray(parts == parts[seed])


def _meets_border(region: npt.NDArray[np.bool_]) -> bool:
    return any(region.take(end, axis).any() for axis in range(3) for end in (0, -1))


def _around(region: npt.NDArray[np.bool_], here: Array, spacing_mm: tuple[float, float, float]) -> float:
    """Median SUV in a shell 4 to 12 mm outside of a region; 0 where nothing lies there."""
    margin = [int(np.ceil(_SHELL_MM[1] / s)) for s in spacing_mm]
    mask = cropped(region)
    box = tuple(
        slice(max(o - m, 0), o + n + m)
        for o, n, m in zip(mask.origin, mask.voxels.shape, margin, strict=True)
    )
    away = ndimage.distance_transform_edt(~region[box], sampling=spacing_mm)
    shell = here[box][(away > _SHELL_MM[0]) & (away < _SHELL_MM[1])]
    return float(np.median(shell)) if len(shell) else 0.0
