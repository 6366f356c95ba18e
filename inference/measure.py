"""Size, place and density of a lesion, from its mask and the volume it was drawn on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist, squareform

from inference.findings import Axis, Box, Code, Finding, Mask, Point
from inference.volume import Floats, Volume

_DECIMALS = 6  # of a mm; lengths that differ by less are one length, and the first of them is taken


@dataclass(frozen=True)
class Measured:
    """What ``measure`` found.

    center_mm: centre of mass, LPS.
    box_mm: lowest and highest corner of the LPS-aligned box around all voxels, their full extent.
    slice_index, image_uid, frame: the key slice, on which both axes lie; see ``Volume.images``. The UID is
        empty where no slice of the volume was sent as an image.
    volume_mm3: of all voxels together.
    mean_hu, std_hu: over all voxels, in the volume's own unit.
    interpolated: the share of voxels in slices that were not sent, 0 to 1.
    cut: some lie in the first or last slice of a stack, beyond which the lesion may go on.
    """

    center_mm: Point
    box_mm: Box
    slice_index: int
    image_uid: str
    frame: int | None
    long_axis: Axis
    short_axis: Axis
    volume_mm3: float
    mean_hu: float
    std_hu: float
    interpolated: float = 0.0
    cut: bool = False

    def finding(self, label: str, code: Code, score: float, mask: Mask) -> Finding:
        """The lesion that was measured; what more is known of it is put in by ``replace``."""
        return Finding(
            label=label,
            code=code,
            center_mm=self.center_mm,
            box_mm=self.box_mm,
            image_uid=self.image_uid,
            frame=self.frame,
            score=score,
            long_axis=self.long_axis,
            short_axis=self.short_axis,
            volume_mm3=self.volume_mm3,
            mean_hu=self.mean_hu,
            interpolated=self.interpolated,
            cut=self.cut,
            mask=mask,
        )


def measure(mask: Mask, volume: Volume) -> Measured:
    """Measures a lesion as RECIST 1.1 asks: the longest diameter in an acquired plane, and the longest
    diameter perpendicular to it in the same plane.

    Both axes are calipers on the convex hull of the outline, which runs half a voxel beyond the outermost
    voxel centres. Slices that were interpolated are counted in the volume but hold no axis while another
    slice can.

    Raises:
        ValueError: the mask is empty or reaches beyond the volume.
    """
    index = np.argwhere(mask.voxels) + mask.origin
    if not len(index):
        raise ValueError("An empty mask cannot be measured.")
    if (index.min(axis=0) < 0).any() or (index.max(axis=0) >= volume.shape).any():
        raise ValueError(f"A mask from {mask.origin} on reaches beyond a volume of {volume.shape}.")
    centers = volume.to_patient(index)
    reach = np.abs(volume.affine[:3, :3]).sum(axis=1) / 2
    values = volume.voxels[tuple(index.T)].astype(np.float64)
    drawn = [int(number) for number in np.unique(index[:, 0])]
    invented = [number for number in drawn if volume.images[number] is None]
    acquired = [number for number in drawn if volume.images[number] is not None]
    axes = {number: _axes(mask, number, volume.spacing_mm[1:]) for number in acquired or drawn}
    longest = max(axes, key=lambda number: round(axes[number][0], _DECIMALS))
    key = _nearest_image(volume, longest)
    ends = [volume.to_patient((key, *end)) for end in axes[longest][1]]
    long_start, long_end, short_start, short_end = map(_point, ends)
    image_uid, frame = volume.images[key] or ("", None)
    return Measured(
        center_mm=_point(centers.mean(axis=0)),
        box_mm=(_point(centers.min(axis=0) - reach), _point(centers.max(axis=0) + reach)),
        slice_index=key,
        image_uid=image_uid,
        frame=frame,
        long_axis=Axis(long_start, long_end),
        short_axis=Axis(short_start, short_end),
        volume_mm3=len(index) * volume.voxel_mm3,
        mean_hu=float(values.mean()),
        std_hu=float(values.std()),
        interpolated=float(np.isin(index[:, 0], invented).mean()),
        cut=is_cut(mask, volume),
    )


def is_cut(mask: Mask, volume: Volume) -> bool:
    """Whether it has voxels in the first or last slice of a stack, beyond which the lesion may go on."""
    slices = volume.shape[0]
    drawn = np.flatnonzero(mask.voxels.any((1, 2))) + mask.origin[0]
    return slices > 1 and bool(np.isin((0, slices - 1), drawn).any())


def _axes(mask: Mask, number: int, spacing: tuple[float, float]) -> tuple[float, Floats]:
    """Length in mm of the long axis on a slice, and the (row, column) ends of both axes, (4, 2)."""
    outline = _outline(mask.voxels[number - mask.origin[0]]) * spacing
    hull = outline[ConvexHull(outline).vertices]
    lengths = squareform(pdist(hull))
    start, end = np.unravel_index(np.argmax(lengths.round(_DECIMALS)), lengths.shape)
    hull = np.roll(hull, -int(start), axis=0)
    opposite = int(end - start) % len(hull)
    ends = np.array([hull[0], hull[opposite], *_widest_across(hull, opposite)])
    return float(lengths[start, end]), ends / spacing + mask.origin[1:]


def _outline(plane: npt.NDArray[np.bool_]) -> Floats:
    """Where the mask ends: the edge midpoints of the first and last voxel of each row, (n, 2)."""
    rows = np.flatnonzero(plane.any(axis=1))
    first = plane[rows].argmax(axis=1)
    last = plane.shape[1] - 1 - plane[rows, ::-1].argmax(axis=1)
    middles = np.concatenate([np.column_stack([rows, first]), np.column_stack([rows, last])])
    edges = np.array([(0.0, -0.5), (0.0, 0.5), (-0.5, 0.0), (0.5, 0.0)])
    points: Floats = (middles[:, None] + edges).reshape(-1, 2)
    return points


def _widest_across(hull: Floats, opposite: int) -> Floats:
    """Ends, (2, 2), of the longest chord of a convex polygon perpendicular to its diameter, which runs
    from corner 0 to the corner ``opposite``. That chord passes through a corner."""
    diameter = hull[opposite] - hull[0]
    along = diameter / np.linalg.norm(diameter)
    across = np.array([-along[1], along[0]])
    place, height = hull @ along, hull @ across
    one = np.interp(place, place[: opposite + 1], height[: opposite + 1])
    back = [0, *range(len(hull) - 1, opposite - 1, -1)]
    other = np.interp(place, place[back], height[back])
    widest = int(np.argmax(np.abs(other - one).round(_DECIMALS)))
    return np.array([place[widest] * along + side[widest] * across for side in (one, other)])


def _nearest_image(volume: Volume, number: int) -> int:
    """The slice itself, or where it was interpolated the nearest that was sent as an image."""
    images = [index for index, image in enumerate(volume.images) if image is not None]
    return min(images, key=lambda index: abs(index - number), default=number)


def _point(mm: Floats) -> Point:
    x, y, z = (float(value) for value in mm)
    return x, y, z
