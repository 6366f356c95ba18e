"""How far a CT and a PET agree on one grid: mutual information, outlines of the body, folding."""

from __future__ import annotations

from typing import Final

import cc3d
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from inference.anatomy import Image, Region
from inference.registration.transform import Agreement

BODY_SUV: Final = 0.3
_BINS: Final = 32
CT_HU: Final = (-1000.0, 300.0)
PET_SUV: Final = 6.0
_LEAST_VOXELS: Final = 500


def agreement(ct_hu: Image, ct_body: Region, pet_suv: Image, reached: Region) -> Agreement:
    """CT and PET on one grid, (slices, rows, columns); ``reached``: where the PET was scanned.

    Mutual information is taken over the CT's body and its rim, so that the outline counts too.
    """
    rim = ndimage.binary_dilation(ct_body, iterations=2) & reached
    return Agreement(
        mutual_information(ct_hu[rim], pet_suv[rim]), _dice(ct_body & reached, body_of_pet(pet_suv) & reached)
    )


def mutual_information(hu: npt.NDArray[np.float32], suv: npt.NDArray[np.float32]) -> float:
    """In nats, of 32 by 32 bins: HU between -1000 and 300, the square root of SUV up to 6; 0 where there is
    next to nothing to compare."""
    if hu.size < _LEAST_VOXELS:
        return 0.0
    low, high = CT_HU
    across = np.clip((hu - low) / (high - low), 0, 1)
    along = np.sqrt(np.clip(suv / PET_SUV, 0, 1))
    joint, _, _ = np.histogram2d(across, along, bins=_BINS, range=((0, 1), (0, 1)))
    share = joint / joint.sum()
    alone = share.sum(1, keepdims=True) * share.sum(0, keepdims=True)
    there = share > 0
    return float((share[there] * np.log(share[there] / alone[there])).sum())


def body_of_pet(suv: Image) -> Region:
    """The largest thing that takes up more than the air around it, filled slice by slice."""
    taken_up = ndimage.binary_opening(ndimage.gaussian_filter(suv, 0.7) > BODY_SUV)
    largest = cc3d.largest_k(taken_up, k=1, connectivity=6) > 0
    return np.stack([ndimage.binary_fill_holes(plane) for plane in largest])


def _dice(one: Region, other: Region) -> float:
    total = int(one.sum()) + int(other.sum())
    return 2 * int((one & other).sum()) / total if total else 0.0
