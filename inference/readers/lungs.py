"""Where the lungs lie in a CT, found on a few of its voxels: what is far from them need not be searched."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cc3d
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from inference.decode import Voxels
from inference.volume import Floats, Volume

_COARSE_MM = 4.0
_AIR_HU = -450
_AERATED_HU = (-970.0, -450.0)
_LEAST_MM3 = 100_000.0


@dataclass(frozen=True, eq=False)
class Lungs:
    """away_mm: how far each voxel of a coarse grid lies from aerated lung, 0 inside. affine: that grid's
    index (slice, row, column) to LPS mm; its axes are those of the scan. box: the scan's own voxels around
    both lungs."""

    away_mm: npt.NDArray[np.float32]
    affine: Floats
    box: tuple[slice, slice, slice]

    def distance_mm(self, points_mm: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """How far (n, 3) LPS points lie from aerated lung; beyond the box, as far as the box's border."""
        points = np.asarray(points_mm, np.float64).reshape(-1, 3)
        index = (points - self.affine[:3, 3]) @ np.linalg.inv(self.affine[:3, :3]).T
        at = np.clip(np.rint(index).astype(int), 0, np.array(self.away_mm.shape) - 1)
        found: npt.NDArray[np.float32] = self.away_mm[tuple(at.T)]
        return found


def find_lungs(volume: Volume, margin_mm: float = 20.0) -> Lungs | None:
    """The lungs of a CT in HU with ``margin_mm`` around them; None where nothing in it looks like one.

    Lung is what is airy in one piece of more than 100 ml, and yet denser than the air around the patient. So
    a lung that reaches the border of the image is found too.
    """
    spacing = np.array(volume.spacing_mm)
    steps = np.maximum(np.rint(_COARSE_MM / spacing), 1).astype(int)
    taken = tuple(slice(int(step) // 2, None, int(step)) for step in steps)
    coarse = volume.voxels[taken]
    inside = _aerated(coarse, volume.voxel_mm3 * float(np.prod(steps)))
    if not inside.any():
        return None
    reach = np.ceil(margin_mm / (spacing * steps)).astype(int)
    around = tuple(
        slice(max(s.start - int(r), 0), min(s.stop + int(r), n))
        for s, r, n in zip(ndimage.find_objects(inside.astype(np.uint8))[0], reach, inside.shape, strict=True)
    )
    away = ndimage.distance_transform_edt(~inside[around], sampling=spacing * steps).astype(np.float32)
    affine = volume.affine.copy()
    first = [s.start * step + step // 2 for s, step in zip(around, steps, strict=True)]
    affine[:3, :3] *= steps
    affine[:3, 3] = volume.to_patient(first)
    box = [
        slice(int(s.start * step), min(int(s.stop * step), n))
        for s, step, n in zip(around, steps, volume.shape, strict=True)
    ]
    return Lungs(away, affine, (box[0], box[1], box[2]))


def part_of(volume: Volume, box: tuple[slice, slice, slice]) -> Volume:
    """The voxels of ``box`` where they lie in the patient."""
    affine = volume.affine.copy()
    affine[:3, 3] = volume.to_patient([s.start for s in box])
    return replace(volume, voxels=volume.voxels[box], affine=affine, images=volume.images[box[0]])


def _aerated(hu: Voxels, voxel_mm3: float) -> npt.NDArray[np.bool_]:
    airy: npt.NDArray[np.bool_] = np.less(hu, _AIR_HU)
    parts = cc3d.connected_components(airy, connectivity=6)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    large = np.flatnonzero(sizes * voxel_mm3 >= _LEAST_MM3)
    low, high = _AERATED_HU
    lungs = [number for number in large if low < float(np.median(hu[parts == number])) < high]
    found: npt.NDArray[np.bool_] = np.isin(parts, lungs)
    return found
