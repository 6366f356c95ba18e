"""A PET slice as a radiologist reads it: uptake in colour over the CT of the same place."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from inference.pet_ct import PetCt
from inference.suv import Normalisation

TOP_SUV = 8.0
"""What shows brightest; anything hotter looks the same."""

FINER = 4
"""Pixels of the fused picture to one of the PET, since the CT is finer than that."""

_CT_HU = (-900.0, 500.0)
_FAINTEST_SUV = 1.0
_DENSEST = 0.75
_AIR_HU = -1024.0


def fused(volume: PetCt, index: int) -> npt.NDArray[np.uint8]:
    """RGB of one PET slice, ``FINER`` times its rows and columns, over the CT as the scanner placed it; PET
    alone where there is no CT."""
    _, rows, columns = volume.shape
    row, column = ((np.arange(n * FINER) + 0.5) / FINER - 0.5 for n in (rows, columns))
    grid = np.stack(np.meshgrid(row, column, indexing="ij"), -1)
    at = np.concatenate([np.full((*grid.shape[:2], 1), float(index)), grid], -1)
    suv = ndimage.map_coordinates(volume.voxels[index], np.moveaxis(grid, -1, 0), order=1, mode="nearest")
    return _over(_ct_grey(volume, at), suv)


def window_of_source(volume: PetCt) -> tuple[float, float]:
    """Center and width, in the PET's own rescaled values, of a grey scale from 0 to ``TOP_SUV``."""
    factor = volume.scale.factors[Normalisation.BODY_WEIGHT] if volume.scale else 1.0
    top = float(f"{TOP_SUV / factor:.5g}")
    return top / 2, top


def _ct_grey(volume: PetCt, at: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """0 to 1 at each PET index."""
    if volume.ct is None:
        return np.zeros(at.shape[:2])
    index = volume.ct.to_index(volume.to_patient(at))
    low, high = np.floor(index.min((0, 1))).astype(int) - 1, np.ceil(index.max((0, 1))).astype(int) + 2
    low, high = np.clip(low, 0, volume.ct.shape), np.clip(high, 0, volume.ct.shape)
    if (high <= low).any():
        return np.zeros(at.shape[:2])
    part = volume.ct.voxels[tuple(map(slice, low, high))]
    hu = ndimage.map_coordinates(
        part.astype(np.float32), np.moveaxis(index - low, -1, 0), order=1, cval=_AIR_HU
    )
    return np.asarray(np.clip((hu - _CT_HU[0]) / (_CT_HU[1] - _CT_HU[0]), 0, 1), np.float64)


def _over(grey: npt.NDArray[np.float64], suv: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
    """Hot metal over grey: the hotter, the denser."""
    heat = np.clip(suv / TOP_SUV, 0, 1)
    colour = np.stack([np.clip(3 * heat, 0, 1), np.clip(3 * heat - 1, 0, 1), np.clip(3 * heat - 2, 0, 1)], -1)
    dense = _DENSEST * np.clip((suv - _FAINTEST_SUV) / (TOP_SUV / 2 - _FAINTEST_SUV), 0, 1)[..., None]
    return np.asarray(np.clip(grey[..., None] * (1 - dense) + colour * dense, 0, 1) * 255, np.uint8)
