"""A small made-up chest, quick to draw, at different breaths and places; and findings in it."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import ndimage

from inference.findings import Axis, Code, Finding, Mask, Model, Point, Reading
from inference.measure import measure
from inference.resample import cropped
from inference.volume import Volume

STEP_MM = 3.0
SHAPE = (72, 64, 88)
NODULE = Code("SCT", "786838002", "Pulmonary nodule")

_CENTER = (np.array(SHAPE) - 1) / 2


@lru_cache
def reference(seed: int = 0, lungs: bool = True) -> np.ndarray:
    """HU (slices, rows, columns), 3 mm: an oval body, a spine, two lungs full of vessels."""
    rng = np.random.default_rng(seed)
    z, y, x = (axis * STEP_MM for axis in np.indices(SHAPE, float) - _CENTER[:, None, None, None])
    hu = np.full(SHAPE, -1000.0)
    hu[(x / 120) ** 2 + (y / 85) ** 2 < 1] = 30
    hu[(np.abs(np.hypot(x / 112, y / 77) - 1) < 0.04) & (np.abs((z / 24) % 1 - 0.5) < 0.22)] = 500
    hu[np.hypot(x, y - 55) < 14] = 300
    texture = ndimage.gaussian_filter(rng.standard_normal(SHAPE), 2.0)
    hu += np.where(hu > 0, 25 * texture / texture.std(), 0)
    if lungs:
        inside = (((np.abs(x) - 55) / 42) ** 2 + (y / 58) ** 2 + ((z - 12) / 80) ** 2 < 1) & (
            z > -45 + 0.1 * y
        )
        vessels = ndimage.gaussian_filter(rng.standard_normal(SHAPE), 1.1)
        hu[inside] = np.where(vessels > 1.3 * vessels.std(), 20, -860)[inside]
    return ndimage.gaussian_filter(hu, 0.5)


def moved_by(points_mm: np.ndarray, breath_mm: float, shift_mm: Point) -> np.ndarray:
    """Where (n, 3) points of the reference lie in a scan: lower parts of the lungs move down by the breath,
    then all by the shift."""
    points = np.asarray(points_mm, float).reshape(-1, 3)
    out = points.copy()
    for _ in range(30):
        out = points - np.outer(_breath(out, breath_mm), (0, 0, 1))
    return out + shift_mm


def _breath(points: np.ndarray, breath_mm: float) -> np.ndarray:
    x, y, z = points.T
    inner = (
        1
        / (1 + np.exp(-(1 - np.hypot(x / 102, y / 68)) * 12))
        / (1 + np.exp(-(np.hypot(x, y - 55) - 22) / 4))
    )
    return breath_mm * np.clip((90 - z) / 140, 0, 1) * inner


def scan(
    breath_mm: float = 0.0,
    shift_mm: Point = (0.0, 0.0, 0.0),
    *,
    seed: int = 0,
    lungs: bool = True,
    slices: slice = slice(None),
    reverse: tuple[int, ...] = (),
    noise: int = 0,
    spheres: dict[Point, float] | None = None,
) -> Volume:
    """A scan of the chest; ``slices`` keeps a part, ``reverse`` stores axes backwards. ``spheres``: diameter
    by centre, drawn into the scan."""
    index = np.moveaxis(np.indices(SHAPE, float), 0, -1).reshape(-1, 3)
    affine = np.eye(4)
    affine[:3, :3] = np.fliplr(np.eye(3)) * STEP_MM
    affine[:3, 3] = -_CENTER[::-1] * STEP_MM + shift_mm
    still = index @ affine[:3, :3].T + affine[:3, 3] - shift_mm
    from_z = still + np.outer(_breath(still, breath_mm), (0, 0, 1))
    where = (from_z / STEP_MM)[:, ::-1] + _CENTER
    hu = ndimage.map_coordinates(reference(seed, lungs), where.T, order=1, cval=-1000.0).reshape(SHAPE)
    hu += np.random.default_rng(noise).normal(0, 12, SHAPE)
    points = still + shift_mm
    for center, diameter in (spheres or {}).items():
        near = np.linalg.norm(points - center, axis=1).reshape(SHAPE)
        hu = np.where(near <= diameter / 2, 40.0, hu)
    voxels = np.clip(hu, -1024, 2000).astype(np.int16)[slices]
    affine[:3, 3] += affine[:3, 0] * (slices.start or 0)
    for axis in reverse:
        affine[:3, 3] += affine[:3, axis] * (voxels.shape[axis] - 1)
        affine[:3, axis] *= -1
    voxels = np.ascontiguousarray(np.flip(voxels, reverse))
    images = tuple((f"1.2.{breath_mm}.{n}", None) for n in range(len(voxels)))
    return Volume(voxels, affine, f"series {breath_mm} {shift_mm}", "frame", images)


def lung_points(count: int = 80) -> np.ndarray:
    """Points of the reference, well inside the lungs."""
    rng = np.random.default_rng(5)
    side = rng.choice([-1, 1], count)
    x = side * (55 + rng.uniform(-24, 24, count))
    return np.stack([x, rng.uniform(-30, 25, count), rng.uniform(-20, 50, count)], axis=1)


def finding(
    center_mm: Point, diameter_mm: float, uid: str = "", label: str = "Nodule", mean_hu: float = 20.0
) -> Finding:
    """A ball, without a mask."""
    x, y, z = (float(v) for v in center_mm)
    r = diameter_mm / 2
    return Finding(
        label=label,
        code=NODULE,
        center_mm=(x, y, z),
        box_mm=((x - r, y - r, z - r), (x + r, y + r, z + r)),
        image_uid=f"image of {uid}",
        score=0.9,
        long_axis=Axis((x - r, y, z), (x + r, y, z)),
        short_axis=Axis((x, y - r, z), (x, y + r, z)),
        volume_mm3=np.pi / 6 * diameter_mm**3,
        mean_hu=mean_hu,
        kind="solid",
        tracking_uid=uid,
    )


def reading(*findings: Finding, reader: str = "lung-nodules") -> Reading:
    return Reading(reader, "1.2.3", (Model("m", "1", "0" * 64),), findings)


def drawn_on(volume: Volume, center_mm: Point, diameter_mm: float) -> Mask:
    index = np.moveaxis(np.indices(volume.shape), 0, -1)
    near = np.linalg.norm(volume.to_patient(index) - center_mm, axis=-1) <= diameter_mm / 2
    return cropped(near)


__all__ = [
    "NODULE",
    "drawn_on",
    "finding",
    "lung_points",
    "measure",
    "moved_by",
    "reading",
    "reference",
    "scan",
]
