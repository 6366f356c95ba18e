"""Training crops for the characteriser: candidates looked at closely."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from inference.resample import sample_crops
from inference.volume import Volume
from training.datasets.lidc_slices import SIDE, SliceNodule
from training.phantoms.fields import Array
from training.phantoms.nodules import NODULE_TYPES

SHAPE = (12, 40, 40)
PIXELS_ACROSS = 16.0
LEAST_SPACING_MM, MOST_SPACING_MM = 0.5, 3.2
SLICE_TO_PIXEL = 2.0
_OUTSIDE_HU = -8000.0


def crop_spacing(diameter_mm: float) -> float:
    """Spacing of rows and columns for a candidate of this diameter: it then spans some 16 of 40 pixels."""
    return float(np.clip(diameter_mm / PIXELS_ACROSS, LEAST_SPACING_MM, MOST_SPACING_MM))


def crop_steps(spacing_mm: float) -> tuple[float, float, float]:
    """Of slices, rows and columns, mm."""
    return spacing_mm * SLICE_TO_PIXEL, spacing_mm, spacing_mm


def cut(volume: Volume, center_mm: npt.ArrayLike, spacing_mm: float) -> Array:
    """HU of a crop about a place in a scan (LPS mm), NaN beyond the scan."""
    crop: Array = sample_crops(volume, center_mm, SHAPE, crop_steps(spacing_mm), fill=_OUTSIDE_HU)[0]
    crop[crop < _OUTSIDE_HU / 2] = np.nan
    return crop


@dataclass(frozen=True, eq=False)
class Candidate:
    """hu: float16, ``SHAPE``; NaN where not known. mask: uint8 per cent inside, empty for a nodule whose
    border is not known. nodule: 1 or 0.
    malignancy: 0 to 1, or -1 where not known. kind: number in ``NODULE_TYPES``, or -1."""

    hu: npt.NDArray[np.float16]
    mask: npt.NDArray[np.uint8]
    spacing_mm: float
    nodule: float
    malignancy: float
    kind: int
    real: bool


@dataclass(frozen=True, eq=False)
class Stack:
    """A larger piece to cut candidates from: hu (slices, rows, columns) with the mm of each slice, row and
    column; ``mask`` of the nodule in it, if any."""

    hu: npt.NDArray[np.floating]
    mask: npt.NDArray[np.floating]
    z_mm: npt.NDArray[np.float64]
    pixel_mm: float

    def crop(self, center: Sequence[float], spacing_mm: float) -> tuple[Array, Array]:
        """Sample ``SHAPE`` about ``center`` (slice, row, column): HU with NaN outside, and the mask."""
        z0 = np.interp(center[0], np.arange(len(self.z_mm)), self.z_mm)
        d, h, w = SHAPE
        z = z0 + (np.arange(d) - (d - 1) / 2) * spacing_mm * SLICE_TO_PIXEL
        y = center[1] + (np.arange(h) - (h - 1) / 2) * spacing_mm / self.pixel_mm
        x = center[2] + (np.arange(w) - (w - 1) / 2) * spacing_mm / self.pixel_mm
        gap = float(np.median(np.diff(self.z_mm))) if len(self.z_mm) > 1 else 2.5
        k = np.interp(z, self.z_mm, np.arange(len(self.z_mm)))
        known = (z > self.z_mm[0] - gap / 2) & (z < self.z_mm[-1] + gap / 2)
        index = np.meshgrid(k, y, x, indexing="ij")
        blur = max(spacing_mm / self.pixel_mm, 1.0) * 0.35 - 0.3
        source = ndimage.gaussian_filter(self.hu, (0, blur, blur)) if blur > 0.15 else self.hu
        hu = ndimage.map_coordinates(source, index, order=1, mode="constant", cval=np.nan)
        mask = ndimage.map_coordinates(self.mask, index, order=1, mode="constant", cval=0)
        hu[~known], mask[~known] = np.nan, 0
        return hu.astype(np.float32), mask.astype(np.float32)

    def uncrop(self, values: npt.NDArray[np.floating], center: Sequence[float], spacing_mm: float) -> Array:
        """Values on a crop's voxels, read at the stack's own; 0 outside of the crop."""
        z0 = np.interp(center[0], np.arange(len(self.z_mm)), self.z_mm)
        d, h, w = SHAPE
        z = (self.z_mm - z0) / (spacing_mm * SLICE_TO_PIXEL) + (d - 1) / 2
        y = (np.arange(self.hu.shape[1]) - center[1]) * self.pixel_mm / spacing_mm + (h - 1) / 2
        x = (np.arange(self.hu.shape[2]) - center[2]) * self.pixel_mm / spacing_mm + (w - 1) / 2
        index = np.meshgrid(z, y, x, indexing="ij")
        out: Array = ndimage.map_coordinates(
            values.astype(np.float32), index, order=1, mode="constant", cval=0
        )
        return out


def lidc_stack(nodule: SliceNodule) -> Stack:
    return Stack(
        nodule.hu.astype(np.float32), nodule.consensus.astype(np.float32), nodule.z_mm, nodule.spacing_mm
    )


def lidc_center(nodule: SliceNodule) -> tuple[float, float, float]:
    """Centre of the consensus, or where there is none of what any reader drew: slice, row, column."""
    drawn = nodule.consensus if nodule.consensus.any() else nodule.bits > 0
    z, y, x = np.argwhere(drawn).mean(0)
    return float(z), float(y), float(x)


def lidc_diameter_mm(nodule: SliceNodule) -> float:
    """Of the circle of the consensus' largest area."""
    area = max(int(nodule.consensus.sum((1, 2)).max()), 4)
    return 2 * float(np.sqrt(area / np.pi)) * nodule.spacing_mm


def lidc_malignancy(nodule: SliceNodule) -> float:
    """Median rating of 4 and 5 as 1, of 1 and 2 as 0, between as 0.5; -1 without ratings."""
    if nodule.malignancy is None:
        return -1.0
    return 1.0 if nodule.malignancy >= 4 else 0.0 if nodule.malignancy <= 2 else 0.5


def lidc_candidates(
    nodules: Iterable[SliceNodule], rng: np.random.Generator, copies: int = 1
) -> list[Candidate]:
    """Each nodule as a positive; each marked non-nodule and some place elsewhere as a negative. What a crop
    lacks at its border tells nothing: positives are cut where negatives of other nodules would be."""
    out = []
    nodules = list(nodules)
    offsets = [(y - SIDE / 2, x - SIDE / 2) for n in nodules for _, y, x in n.marks] or [(0.0, 0.0)]
    for nodule in nodules:
        stack, center, diameter = lidc_stack(nodule), lidc_center(nodule), lidc_diameter_mm(nodule)
        for _ in range(copies):
            spacing = crop_spacing(diameter * rng.uniform(0.6, 1.6))
            jitter = rng.normal(0, 0.09 * diameter / nodule.spacing_mm, 2)
            at = (center[0] + rng.normal(0, 0.25), center[1] + jitter[0], center[2] + jitter[1])
            hu, mask = stack.crop(at, spacing)
            if rng.random() < 0.35:
                hu = _cut_as_if(hu, offsets[int(rng.integers(len(offsets)))], spacing, nodule.spacing_mm)
            kind = NODULE_TYPES.index(nodule.kind) if nodule.kind else -1
            out.append(candidate(hu, mask, spacing, 1.0, lidc_malignancy(nodule), kind, True))
        for mark in nodule.marks:
            out += [_negative(stack, mark, float(rng.lognormal(np.log(6), 0.4))) for _ in range(2 * copies)]
        if rng.random() < 0.5 * copies:
            bright = (stack.hu > -550) & ~ndimage.binary_dilation(nodule.bits > 0, iterations=5)
            ring = np.hypot(*(np.mgrid[:SIDE, :SIDE] - SIDE / 2)) < 44
            soft = ndimage.uniform_filter(stack.hu, (0, 13, 13)) < -450
            places = np.argwhere(bright & soft & ring)
            if len(places):
                place = places[rng.integers(len(places))]
                out.append(_negative(stack, place.tolist(), float(rng.lognormal(np.log(6.5), 0.45))))
    return out


def _cut_as_if(hu: Array, offset: tuple[float, float], spacing: float, pixel_mm: float) -> Array:
    """Blank what would be missing had the crop's middle been ``offset`` pixels from the image's."""
    out = hu.copy()
    for axis, shift in enumerate(offset, start=1):
        place = SIDE / 2 + shift + (np.arange(SHAPE[axis]) - (SHAPE[axis] - 1) / 2) * spacing / pixel_mm
        outside = (place < 0) | (place > SIDE - 1)
        if axis == 1:
            out[:, outside] = np.nan
        else:
            out[:, :, outside] = np.nan
    return out


def negative(hu: Array, spacing: float, *, real: bool) -> Candidate:
    """A crop that shows no nodule in its middle."""
    return candidate(hu, np.zeros(SHAPE, np.float32), spacing, 0.0, -1.0, -1, real)


def positive(hu: Array, spacing: float, *, real: bool) -> Candidate:
    """A crop with a nodule in its middle of which nothing else is known."""
    return candidate(hu, np.zeros(SHAPE, np.float32), spacing, 1.0, -1.0, -1, real)


def _negative(stack: Stack, center: Sequence[float], diameter_mm: float) -> Candidate:
    spacing = crop_spacing(diameter_mm)
    return negative(stack.crop(center, spacing)[0], spacing, real=True)


def candidate(
    hu: Array, mask: Array, spacing: float, nodule: float, malignancy: float, kind: int, real: bool
) -> Candidate:
    per_cent = np.clip(np.rint(mask * 100), 0, 100).astype(np.uint8)
    return Candidate(hu.astype(np.float16), per_cent, spacing, nodule, malignancy, kind, real)
