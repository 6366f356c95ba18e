"""Volumes on another grid: whole, in crops around points, and back again as masks.

Every grid made here is LPS-axis-aligned: array axes run along +z, +y, +x, and spacings and sizes are given
in that order. The source may lie as it likes, oblique or sheared: its affine is followed exactly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk  # noqa: N813

from inference.decode import Voxels
from inference.errors import UnreadableSeriesError
from inference.findings import Mask, Point
from inference.volume import Floats, Volume

AIR_HU = -1024.0
MOST_VOXELS = 1_000_000_000
"""Of a grid: 2 GB of HU. A spacing that was sent wrong makes a grid of any size out of a few images."""

Spacing = float | tuple[float, float, float]
Size = tuple[int, int, int]


def resample(volume: Volume, spacing_mm: Spacing, *, fill: float = AIR_HU, threads: int = 0) -> Volume:
    """The whole volume on an axis-aligned grid, linearly interpolated; dtype is kept.

    The grid covers the box around all voxel centres and starts at its lowest corner. Where the source is
    at least twice as fine as the grid along one of its own axes, neighbours are averaged first, so that
    noise and thin structures do not alias.

    Args:
        spacing_mm: one spacing, or three along z, y, x.
        fill: the value of grid points outside the source (for PET give 0).
        threads: 0 for all cores.

    Raises:
        UnreadableSeriesError: the grid would have more than ``MOST_VOXELS``.
    """
    spacing = _three(spacing_mm)
    corners = volume.to_patient(_corners(volume.shape))
    low, high = corners.min(axis=0)[::-1], corners.max(axis=0)[::-1]
    size = tuple(int(n) for n in np.floor((high - low) / spacing + 1e-4) + 1)
    if math.prod(size) > MOST_VOXELS:
        reach = " × ".join(f"{mm / 1000:.1f}" for mm in high - low)
        raise UnreadableSeriesError(
            f"The series reaches over {reach} m, more than can be searched. Send it again with the pixel "
            "spacing and positions the scanner gave, or in parts."
        )
    affine = _aligned(low, spacing)
    voxels = _sampled(volume.voxels, volume.affine, affine, size, fill, threads)
    return replace(volume, voxels=voxels, affine=affine, images=(None,) * size[0])


def crop_affine(center_mm: Point | npt.ArrayLike, size: Size, spacing_mm: Spacing) -> Floats:
    """The (4, 4) affine of an axis-aligned crop: (z, y, x) index to LPS mm. ``center_mm`` lies in the
    middle of the crop, at index ``(size - 1) / 2``: between two voxels where a size is even."""
    spacing = _three(spacing_mm)
    middle = np.asarray(center_mm, np.float64)[::-1]
    return _aligned(middle - spacing * (np.asarray(size) - 1) / 2, spacing)


def sample_crops(
    volume: Volume, centers_mm: npt.ArrayLike, size: Size, spacing_mm: Spacing, *, fill: float = AIR_HU
) -> npt.NDArray[np.float32]:
    """Axis-aligned crops around points, interpolated from the source as in ``resample``.

    Args:
        centers_mm: (n, 3) LPS millimetres, x, y, z.
        size: depth, height, width of a crop.

    Returns:
        (n, depth, height, width).
    """
    centers = np.asarray(centers_mm, np.float64).reshape(-1, 3)
    crops = np.full((len(centers), *size), fill, np.float32)
    for crop, center in zip(crops, centers, strict=True):
        affine = crop_affine(center, size, spacing_mm)
        start, stop = _covering(volume, affine, size)
        if np.any(stop <= start):
            continue
        block = volume.voxels[tuple(map(slice, start, stop))]
        crop[:] = _sampled(block, _shifted(volume.affine, start), affine, size, fill, threads=1)
    return crops


def mask_from_crop(
    probabilities: npt.NDArray[np.floating], affine: Floats, volume: Volume, *, threshold: float = 0.5
) -> Mask | None:
    """A probability map put back on the voxels of its source.

    Args:
        probabilities: (depth, height, width) on any grid, outside of which they are taken as 0.
        affine: that grid's index to LPS mm, e.g. from ``crop_affine``.

    Returns:
        the source voxels whose interpolated probability reaches ``threshold``, cropped to their box, or
        None where there are none (a lesion that lies wholly between two slices).
    """
    size: Size = probabilities.shape
    start, stop = _covering(volume, affine, size)
    if np.any(stop <= start):
        return None
    padded = np.pad(np.asarray(probabilities, np.float32), 1)
    extent: Size = tuple(int(n) for n in stop - start)  # type: ignore[assignment]
    grid = _shifted(volume.affine, start)
    sampled = _sampled(padded, _shifted(affine, (-1, -1, -1)), grid, extent, 0, 1, smooth=False)
    inside = sampled >= threshold
    if not inside.any():
        return None
    return cropped(inside, origin=(int(start[0]), int(start[1]), int(start[2])))


def cropped(voxels: npt.NDArray[np.bool_], origin: Size = (0, 0, 0)) -> Mask:
    """A mask cropped to the box of its true voxels, of which there must be one."""
    low, high = [], []
    for axis in range(3):
        hit = np.flatnonzero(voxels.any(axis=tuple(a for a in range(3) if a != axis)))
        low.append(int(hit[0]))
        high.append(int(hit[-1]) + 1)
    box = np.ascontiguousarray(voxels[tuple(map(slice, low, high))])
    return Mask((origin[0] + low[0], origin[1] + low[1], origin[2] + low[2]), box)


def union(masks: Sequence[Mask]) -> Mask:
    """What any of these masks of one volume holds; there must be one."""
    low = np.min([mask.origin for mask in masks], axis=0)
    high = np.max([np.add(mask.origin, mask.voxels.shape) for mask in masks], axis=0)
    voxels = np.zeros(high - low, bool)
    for mask in masks:
        start = mask.origin - low
        box = tuple(slice(a, a + n) for a, n in zip(start, mask.voxels.shape, strict=True))
        voxels[box] |= mask.voxels
    return Mask((int(low[0]), int(low[1]), int(low[2])), voxels)


def _sampled(
    voxels: npt.NDArray[np.generic],
    source: Floats,
    target: Floats,
    size: Sequence[int],
    fill: float,
    threads: int,
    smooth: bool = True,
) -> Voxels:
    """``voxels``, placed by the affine ``source``, at each index of a ``target`` grid of this size."""
    to_source = np.linalg.inv(source) @ target
    steps = np.linalg.norm(to_source[:3, :3], axis=1) if smooth else np.ones(3)
    image, bins = _binned(voxels, steps)
    # Index space as ITK sees it (x fastest): sampling index -> binned source index.
    matrix = to_source[:3, :3] / bins[:, None]
    offset = (to_source[:3, 3] - (bins - 1) / 2) / bins
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(matrix[::-1, ::-1].ravel().tolist())
    transform.SetTranslation(offset[::-1].tolist())
    sampling = sitk.ResampleImageFilter()
    sampling.SetSize([int(n) for n in size[::-1]])
    sampling.SetTransform(transform)
    sampling.SetInterpolator(sitk.sitkLinear)
    sampling.SetDefaultPixelValue(fill)
    if threads:
        sampling.SetNumberOfThreads(threads)
    out: Voxels = sitk.GetArrayFromImage(sampling.Execute(image))
    return out


def _binned(voxels: npt.NDArray[np.generic], steps: Floats) -> tuple[sitk.Image, Floats]:
    """The image with whole numbers of voxels averaged along each axis on which the target's step
    (in voxels) is larger than that number; and those numbers."""
    bins = np.clip(np.floor(steps + 1e-6), 1, voxels.shape).astype(int)
    short = [(0, int(-length % n)) for length, n in zip(voxels.shape, bins, strict=True)]
    if any(after for _, after in short):
        voxels = np.pad(voxels, short, mode="edge")
    image = sitk.GetImageFromArray(voxels)
    if (bins > 1).any():
        image = sitk.BinShrink(image, bins[::-1].tolist())
        image.SetOrigin((0, 0, 0))
        image.SetSpacing((1, 1, 1))
    return image, bins.astype(np.float64)


def _covering(
    volume: Volume, affine: Floats, size: Size
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Start and stop of the volume's voxels that a grid touches, one voxel to spare."""
    corners = _corners(size) @ affine[:3, :3].T + affine[:3, 3]
    index = volume.to_index(corners)
    start = np.floor(index.min(axis=0)).astype(np.int64) - 1
    stop = np.ceil(index.max(axis=0)).astype(np.int64) + 2
    return np.maximum(start, 0), np.minimum(stop, volume.shape)


def _corners(size: Sequence[int]) -> Floats:
    """(8, 3) indices of a grid's corner voxels."""
    return np.stack(np.meshgrid(*[(0.0, n - 1.0) for n in size], indexing="ij"), axis=-1).reshape(8, 3)


def _aligned(origin_zyx: Floats, spacing_zyx: Floats) -> Floats:
    affine = np.eye(4)
    affine[:3, :3] = np.fliplr(np.diag(spacing_zyx[::-1]))
    affine[:3, 3] = origin_zyx[::-1]
    return affine


def _shifted(affine: Floats, start: npt.ArrayLike) -> Floats:
    """The affine of a block that begins at index ``start``."""
    moved = affine.copy()
    moved[:3, 3] += affine[:3, :3] @ np.asarray(start, np.float64)
    return moved


def _three(spacing_mm: Spacing) -> Floats:
    spacing = np.broadcast_to(np.asarray(spacing_mm, np.float64), 3)
    if not (np.isfinite(spacing).all() and (spacing > 0).all()):
        raise ValueError(f"A grid needs a spacing above 0 mm, not {spacing_mm}.")
    return spacing
