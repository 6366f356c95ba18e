"""What two scans are aligned by: a CT on a coarse grid, with the patient's body and lungs marked."""

from __future__ import annotations

from dataclasses import dataclass

import cc3d
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from inference.resample import resample
from inference.volume import Floats, Volume

GRID_MM = 3.0

Image = npt.NDArray[np.float32]
Region = npt.NDArray[np.bool_]

_AIR_HU = -1000.0
_OUTSIDE_HU = -3000.0
_BODY_HU = -350.0
_LUNG_HU = -420.0
_LEAST_LUNG_MM3 = 150_000.0
_PLEURA_MM = 9.0


@dataclass(frozen=True, eq=False)
class Anatomy:
    """hu: (slices, rows, columns) along +z, +y, +x; outside the scan and outside the body -1000.
    scanned: where the scan reaches. body, lungs: filled; ``lungs`` takes in what is attached to the pleura.
    affine: index to LPS mm.
    """

    hu: Image
    scanned: Region
    body: Region
    lungs: Region
    affine: Floats

    @property
    def spacing_mm(self) -> float:
        return float(self.affine[2, 0])

    @property
    def has_lungs(self) -> bool:
        return bool(self.lungs.any())

    def index(self, points_mm: npt.ArrayLike) -> Floats:
        """Fractional (slice, row, column) of (n, 3) LPS points."""
        return ((np.asarray(points_mm, np.float64) - self.affine[:3, 3]) / self.spacing_mm)[..., ::-1]

    def reaches(self, points_mm: npt.ArrayLike) -> Region:
        """Which of (n, 3) LPS points were scanned."""
        at = np.rint(self.index(points_mm)).astype(int)
        inside = ((at >= 0) & (at < self.scanned.shape)).all(axis=-1)
        held = np.clip(at, 0, np.array(self.scanned.shape) - 1)
        return np.asarray(inside & self.scanned[tuple(held.T)], bool)

    def coarser(self, times: int) -> Anatomy:
        """Blocks of ``times``³ voxels averaged into one."""
        affine = self.affine.copy()
        affine[:3, :3] *= times
        affine[:3, 3] += (times - 1) / 2 * self.spacing_mm
        hu = _shrunk(self.hu, times, _AIR_HU)
        scanned, body, lungs = (
            _shrunk(region.astype(np.float32), times, 0.0) >= 0.5
            for region in (self.scanned, self.body, self.lungs)
        )
        return Anatomy(hu, scanned, body, lungs, affine)


def observe(volume: Volume, spacing_mm: float = GRID_MM) -> Anatomy:
    """Body and lungs of a CT in Hounsfield units. The table is left out of the body, the trachea belongs
    to the lungs; a scan without lungs has none."""
    coarse = resample(volume, spacing_mm, fill=_OUTSIDE_HU)
    hu = np.asarray(coarse.voxels, np.float32)
    scanned = hu > (_OUTSIDE_HU + _AIR_HU) / 2
    np.maximum(hu, _AIR_HU, out=hu)
    body = body_of(hu)
    lungs = _lungs(hu, body, spacing_mm)
    hu[~body] = _AIR_HU
    return Anatomy(hu, scanned, body, lungs, coarse.affine)


def body_of(hu: Image) -> Region:
    """The largest thing that is denser than fat's edge, its inside filled slice by slice; where the scan
    cuts through it, the cut is its outline."""
    dense = ndimage.binary_opening(hu > _BODY_HU)
    largest = cc3d.largest_k(dense, k=1, connectivity=6) > 0
    return np.stack([_filled(plane) for plane in largest])


def _filled(plane: Region) -> Region:
    framed = np.pad(plane, 1)
    for edge, beside in ((0, 1), (-1, -2)):
        for lines in (framed, framed.T):
            cut = np.flatnonzero(lines[beside])
            if cut.size:
                lines[edge, cut[0] : cut[-1] + 1] = True
    return np.asarray(ndimage.binary_fill_holes(framed)[1:-1, 1:-1], bool)


def _lungs(hu: Image, body: Region, spacing_mm: float) -> Region:
    parts, count = cc3d.connected_components(body & (hu < _LUNG_HU), connectivity=6, return_N=True)
    sizes = np.bincount(parts.ravel(), minlength=count + 1) * spacing_mm**3
    large = np.flatnonzero(sizes >= _LEAST_LUNG_MM3)
    found = np.isin(parts, large[large > 0])
    if not found.any():
        return found
    box = tuple(
        slice(max(s.start - 4, 0), s.stop + 4) for s in ndimage.find_objects(found.astype(np.uint8))[0]
    )
    found[box] = _closed(found[box], round(_PLEURA_MM / spacing_mm)) & body[box]
    return np.asarray(found, bool)


def _closed(region: Region, voxels: int) -> Region:
    padded = np.pad(region, voxels)
    ball = ndimage.generate_binary_structure(3, 1)
    closed = ndimage.binary_closing(padded, ball, iterations=voxels)
    core = (slice(voxels, -voxels or None),) * 3
    return np.asarray(closed[core], bool)


def _shrunk(values: Image, times: int, fill: float) -> Image:
    short = [(0, -length % times) for length in values.shape]
    padded = np.pad(values, short, constant_values=fill)
    d, h, w = (length // times for length in padded.shape)
    blocks = padded.reshape(d, times, h, times, w, times)
    return np.asarray(blocks.mean(axis=(1, 3, 5)), np.float32)
