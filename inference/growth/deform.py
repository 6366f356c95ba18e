"""How the patient's inside moved between two scans: a displacement of every point, found coarse to fine.

Lungs slide along the chest wall, so they are followed by themselves and the rest of the body by itself;
both displacements meet at the pleura.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk  # noqa: N813
from scipy import ndimage

from inference.anatomy import Anatomy, Image, Region
from inference.volume import Floats

Vectors = npt.NDArray[np.float32]

_BODY_WINDOW_HU = (-300.0, 250.0)
_DETAIL_MM = 10.0
_LEAST_DETAIL_HU = 40.0
_LUNG_LEVEL = 3.0
_MARGIN_MM = 15.0
_BODY_LEVELS = ((4, 50, 1.2), (2, 30, 1.5), (1, 10, 1.3))
_LUNG_LEVELS = ((4, 40, 1.2), (2, 30, 1.3), (1, 18, 1.2))


def deform(current: Anatomy, prior: Anatomy, rigid: Floats) -> Vectors:
    """Displacements in mm, (slices, rows, columns, 3) x, y, z on the current grid: the prior point of x is
    ``rigid @ (x + displacement)``."""
    moved = in_frame_of(current, prior, rigid)
    current, moved = _completed(current, moved), _completed(moved, current)
    coarse, moved_coarse = current.coarser(2), moved.coarser(2)
    everywhere = _coarse_to_fine(coarse, moved_coarse, _shape, _BODY_LEVELS, None)
    body = _on_grid(everywhere, coarse, current)
    if not (current.has_lungs and moved.has_lungs):
        return body
    box = _box(current.lungs | moved.lungs, round(_MARGIN_MM / current.spacing_mm))
    inside, moved_inside = _cut(current, box), _cut(moved, box)
    lungs = _coarse_to_fine(inside, moved_inside, lung_detail, _LUNG_LEVELS, body[box])
    share = ndimage.gaussian_filter(current.lungs[box].astype(np.float32), 1.0)[..., None]
    body[box] += share * (lungs - body[box])
    return body


def in_frame_of(current: Anatomy, prior: Anatomy, rigid: Floats, vectors: Vectors | None = None) -> Anatomy:
    """The prior on the current grid, under the rigid motion and, where given, displacements on that grid."""
    to_index = np.linalg.inv(prior.affine) @ rigid
    index = np.moveaxis(np.indices(current.hu.shape, np.float32), 0, -1)
    points = index[..., ::-1] * np.float32(current.spacing_mm) + current.affine[:3, 3].astype(np.float32)
    if vectors is not None:
        points = points + vectors
    where = points @ to_index[:3, :3].T.astype(np.float32) + to_index[:3, 3].astype(np.float32)
    at = np.moveaxis(where, -1, 0)
    hu = ndimage.map_coordinates(prior.hu, at, order=1, cval=-1000.0)
    scanned, body, lungs = (
        ndimage.map_coordinates(region.astype(np.float32), at, order=1) >= least
        for region, least in ((prior.scanned, 0.99), (prior.body, 0.5), (prior.lungs, 0.5))
    )
    return Anatomy(hu, scanned, body, lungs, current.affine)


def lung_detail(anatomy: Anatomy) -> Image:
    """Vessels and nodules inside the lungs, each against its surroundings, so that breathing's density does
    not matter; a step at the pleura."""
    sigma = _DETAIL_MM / anatomy.spacing_mm
    return np.where(
        anatomy.lungs, local_detail(anatomy.hu, anatomy.lungs, (-1000.0, 100.0), sigma) + _LUNG_LEVEL, 0
    )


def local_detail(hu: Image, region: Region, window: tuple[float, float], sigma: float) -> Image:
    """Values of a region less their local mean, over their local deviation, limited to -2 … 3."""
    inside = region.astype(np.float32)
    value = np.clip(hu, *window) * inside
    near = np.maximum(ndimage.gaussian_filter(inside, sigma, truncate=2.5), 1e-3)
    mean = ndimage.gaussian_filter(value, sigma, truncate=2.5) / near
    square = ndimage.gaussian_filter(value**2, sigma, truncate=2.5) / near
    spread = np.sqrt(np.maximum(square - mean**2, 0) + _LEAST_DETAIL_HU**2)
    return np.asarray(np.clip((value - mean * inside) / spread, -2, 3), np.float32)


def _completed(one: Anatomy, other: Anatomy) -> Anatomy:
    """What ``one`` does not show is taken from the other, so that the end of a scan pulls at nothing."""
    seen = one.scanned | ~other.scanned
    hu = np.where(seen, one.hu, other.hu)
    body, lungs = np.where(seen, one.body, other.body), np.where(seen, one.lungs, other.lungs)
    return replace(one, hu=hu, body=body, lungs=lungs)


def _shape(anatomy: Anatomy) -> Image:
    """Soft tissue, bone and what is air, as one picture."""
    low, high = _BODY_WINDOW_HU
    return (np.clip(anatomy.hu, low, high) - np.float32(low)) / np.float32((high - low) / 4)


def _coarse_to_fine(
    current: Anatomy,
    moved: Anatomy,
    picture: object,
    levels: tuple[tuple[int, int, float], ...],
    start: Vectors | None,
) -> Vectors:
    """``levels``: how much coarser, how many rounds, and sigma of the field in that level's voxels."""
    assert callable(picture)
    field, on = start, current
    for times, rounds, sigma in levels:
        fixed, moving = (a.coarser(times) if times > 1 else a for a in (current, moved))
        begin = None if field is None else _on_grid(field, on, fixed)
        field, on = _demons(picture(fixed), picture(moving), fixed, begin, rounds, sigma), fixed
    assert field is not None
    return field


def _demons(
    fixed: Image, moving: Image, grid: Anatomy, start: Vectors | None, rounds: int, sigma: float
) -> Vectors:
    """Symmetric demons (Vercauteren et al., NeuroImage 2009)."""
    demons = sitk.FastSymmetricForcesDemonsRegistrationFilter()
    demons.SetNumberOfIterations(rounds)
    demons.SetStandardDeviations(sigma)
    demons.SetSmoothDisplacementField(True)
    demons.SetSmoothUpdateField(False)
    demons.SetMaximumUpdateStepLength(1.5)
    begin = np.zeros((*fixed.shape, 3), np.float64) if start is None else start.astype(np.float64)
    images = [_placed(array, grid) for array in (fixed.astype(np.float32), moving.astype(np.float32))]
    found = demons.Execute(*images, _placed(begin, grid))
    return np.asarray(sitk.GetArrayFromImage(found), np.float32)


def _placed(array: npt.NDArray[np.floating], grid: Anatomy) -> sitk.Image:
    image = sitk.GetImageFromArray(array, isVector=array.ndim == 4)
    image.SetOrigin(grid.affine[:3, 3].tolist())
    image.SetSpacing((grid.spacing_mm,) * 3)
    return image


def _on_grid(vectors: Vectors, source: Anatomy, target: Anatomy) -> Vectors:
    """Displacements of one grid read on another one, beyond the border as at the border."""
    step = target.spacing_mm / source.spacing_mm
    start = source.index(target.affine[:3, 3])
    axes = [
        np.clip(first + step * np.arange(n), 0, limit - 1)
        for first, n, limit in zip(start, target.hu.shape, source.hu.shape, strict=True)
    ]
    out: Vectors = vectors
    for axis, where in enumerate(axes):
        low = np.minimum(where.astype(int), vectors.shape[axis] - 2 if vectors.shape[axis] > 1 else 0)
        high = np.minimum(low + 1, vectors.shape[axis] - 1)
        part = (where - low).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(4)])
        out = np.take(out, low, axis) * (1 - part) + np.take(out, high, axis) * part
    return out


def _box(region: Region, margin: int) -> tuple[slice, slice, slice]:
    found = ndimage.find_objects(region.astype(np.uint8))[0]
    z, y, x = (
        slice(max(s.start - margin, 0), min(s.stop + margin, n))
        for s, n in zip(found, region.shape, strict=True)
    )
    return z, y, x


def _cut(anatomy: Anatomy, box: tuple[slice, slice, slice]) -> Anatomy:
    affine = anatomy.affine.copy()
    affine[:3, 3] += np.array([s.start for s in box])[::-1] * anatomy.spacing_mm
    return Anatomy(anatomy.hu[box], anatomy.scanned[box], anatomy.body[box], anatomy.lungs[box], affine)
