"""One chest CT phantom with its truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from inference.findings import Mask
from training.phantoms.nodules import Lesion, Nodule


@dataclass(frozen=True, eq=False)
class Phantom:
    """voxels: HU, int16, (slices, rows, columns). affine: (slice, row, column, 1) to LPS mm."""

    voxels: npt.NDArray[np.int16]
    affine: npt.NDArray[np.float64]
    lesions: tuple[Lesion, ...]


def chest_phantom(
    seed: int,
    shape: tuple[int, int, int] = (200, 200, 256),
    spacing_mm: float | tuple[float, float, float] = 1.5,
    lesions: int | Sequence[Nodule] = 2,
) -> Phantom:
    """An axial chest CT, slices from the diaphragm upwards, centred on (0, 0, 0) mm LPS.

    shape, spacing_mm: (slices, rows, columns). lesions: how many to draw at random in the lungs, or the
    recipes themselves (take them from another phantom's truth to let them grow).
    """
    spacing = np.broadcast_to(np.asarray(spacing_mm, float), 3)
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2], affine[3, 3] = *spacing, 1.0
    affine[:3, 3] = [-spacing[a] * (shape[a] - 1) / 2 for a in (2, 1, 0)]
    z, y, x = (
        (np.arange(n) - (n - 1) / 2).reshape([-1 if a == b else 1 for b in range(3)]) * s
        for a, (n, s) in enumerate(zip(shape, spacing, strict=True))
    )
    rng = np.random.default_rng([seed, 1])
    hu = np.full(shape, -1000.0, np.float32)
    hu[np.broadcast_to((x / 185) ** 2 + (y / 125) ** 2 < 1, shape)] = 40
    for side in (-1, 1):
        hu[((x - side * 80) / 62) ** 2 + (y / 90) ** 2 + (z / 140) ** 2 < 1] = -860
    recipes = lesions if not isinstance(lesions, int) else _random(seed, lesions)
    truths = []
    for nodule in recipes:
        cx, cy, cz = nodule.center_mm
        inside = (x - cx) ** 2 + (y - cy) ** 2 + (z - cz) ** 2 < (nodule.diameter_mm / 2) ** 2
        hu[inside] = 30
        truths.append(_truth(nodule, inside, float(np.prod(spacing))))
    hu += rng.normal(0, 25, shape).astype(np.float32)
    return Phantom(np.clip(hu, -1024, 3071).astype(np.int16), affine, tuple(truths))


def _random(seed: int, count: int) -> list[Nodule]:
    rng = np.random.default_rng([seed, 2])
    return [
        Nodule(
            (
                float((-1) ** i * rng.uniform(60, 100)),
                float(rng.uniform(-50, 50)),
                float(rng.uniform(-80, 80)),
            ),
            float(rng.uniform(6, 20)),
            seed=int(rng.integers(2**31)),
        )
        for i in range(count)
    ]


def _truth(nodule: Nodule, inside: npt.NDArray[np.bool_], voxel_mm3: float) -> Lesion:
    where = np.argwhere(inside)
    low, high = (where.min(0), where.max(0) + 1) if len(where) else (np.zeros(3, int), np.zeros(3, int))
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    return Lesion(
        nodule,
        nodule.center_mm,
        nodule.diameter_mm,
        len(where) * voxel_mm3,
        nodule.kind,
        nodule.malignant,
        Mask((int(low[0]), int(low[1]), int(low[2])), inside[box]),
    )
