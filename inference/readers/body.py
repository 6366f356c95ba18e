"""Where the patient lies in a CT: electrodes and cables beside the skin are dense too, and no lesion."""

from __future__ import annotations

from dataclasses import dataclass

import cc3d
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from inference.volume import Floats, Volume

_COARSE_MM = 4.0
_TISSUE_HU = -300
_LEAST_MM3 = 100_000.0


@dataclass(frozen=True, eq=False)
class Body:
    """inside: on a coarse grid of the scan, true in the body and what it encloses. affine: that grid's index
    (slice, row, column) to LPS mm."""

    inside: npt.NDArray[np.bool_]
    affine: Floats

    def holds(self, points_mm: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Whether each of (n, 3) LPS points lies in the body; beyond the scan, whether its border does."""
        points = np.asarray(points_mm, np.float64).reshape(-1, 3)
        index = (points - self.affine[:3, 3]) @ np.linalg.inv(self.affine[:3, :3]).T
        at = np.clip(np.rint(index).astype(int), 0, np.array(self.inside.shape) - 1)
        found: npt.NDArray[np.bool_] = self.inside[tuple(at.T)]
        return found


def find_body(volume: Volume) -> Body:
    """The body of a CT in HU: dense parts of more than 100 ml that are some 8 mm thick, and what has them to
    either side along its row or its column, as lungs have even where a small field of view cuts them."""
    steps = np.maximum(np.rint(_COARSE_MM / np.array(volume.spacing_mm)), 1).astype(int)
    taken = tuple(slice(int(step) // 2, None, int(step)) for step in steps)
    tissue = volume.voxels[taken] > _TISSUE_HU
    firm = ndimage.binary_opening(np.pad(tissue, 1, mode="edge"))[1:-1, 1:-1, 1:-1]
    parts = cc3d.connected_components(firm, connectivity=6)
    sizes = np.bincount(parts.ravel()) * volume.voxel_mm3 * float(np.prod(steps))
    sizes[0] = 0
    body = ndimage.binary_dilation(sizes[parts] >= _LEAST_MM3)
    inside = np.zeros_like(body)
    for axis in (1, 2):
        before = np.maximum.accumulate(body, axis=axis)
        after = np.flip(np.maximum.accumulate(np.flip(body, axis), axis=axis), axis)
        inside |= before & after
    affine = volume.affine.copy()
    affine[:3, :3] *= steps
    affine[:3, 3] = volume.to_patient([int(step) // 2 for step in steps])
    return Body(inside, affine)
