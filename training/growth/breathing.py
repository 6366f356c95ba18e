"""A chest at another breath and in another place on the table: where each point went, known exactly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk  # noqa: N813
from scipy import ndimage, special
from scipy.spatial.transform import Rotation

from training.phantoms.anatomy import Anatomy
from training.phantoms.fields import Array, Field, Grid

Points = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Pose:
    """diaphragm_mm: how much lower the diaphragm stands than in the reference (negative: higher).
    chest_mm: how far the front of the chest has risen. shift_mm, turn_deg: of the patient, x, y, z."""

    diaphragm_mm: float = 0.0
    chest_mm: float = 0.0
    shift_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    turn_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @classmethod
    def drawn(cls, rng: np.random.Generator, most_mm: float = 20.0) -> Self:
        """Up to ``most_mm`` of diaphragm to either side of the reference."""
        depth = float(rng.uniform(-most_mm, most_mm))
        x, y, z = (float(v) for v in rng.uniform(-25, 25, 3))
        a, b, c = (float(v) for v in np.clip(rng.normal(0, 2, 3), -5, 5))
        return cls(depth, depth / 8, (x, y, z), (a, b, c))


@dataclass(frozen=True, eq=False)
class Motion:
    """A pose carried out on one anatomy; ``field``: what to add to a point of the unturned, moved chest to
    find it in the reference. ``pivot_mm``: what the patient turns about."""

    pose: Pose
    field: tuple[Field, Field, Field]
    pivot_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def to_reference(self, points_mm: npt.ArrayLike) -> Points:
        """(n, 3) LPS points of the scan, in the reference."""
        still = self._still(np.asarray(points_mm, np.float64).reshape(-1, 3))
        return still + self._moved(still)

    def to_scan(self, points_mm: npt.ArrayLike) -> Points:
        """The inverse, to 0.01 mm."""
        wanted = np.asarray(points_mm, np.float64).reshape(-1, 3)
        still = wanted.copy()
        for _ in range(40):
            still = wanted - self._moved(still)
        turn = Rotation.from_euler("xyz", self.pose.turn_deg, degrees=True)
        return np.asarray(turn.apply(still - self.pivot_mm) + self.pivot_mm + self.pose.shift_mm, np.float64)

    def warped(self, hu: Array, source: Grid, target: Grid) -> Array:
        """``hu`` of the reference as it lies on ``target`` after the motion; air thins as lungs widen."""
        coarse = Grid(
            tuple(int(np.ceil(n * s / 4)) + 1 for n, s in zip(target.shape, target.spacing_mm, strict=True)),  # type: ignore[arg-type]
            (4.0, 4.0, 4.0),
            target.origin_mm,
        )
        z, y, x = np.meshgrid(*[a.ravel() for a in coarse.axes], indexing="ij")
        points = np.stack([x, y, z], -1).reshape(-1, 3).astype(np.float64)
        vectors = (self.to_reference(points) - points).reshape(*coarse.shape, 3)
        field = sitk.GetImageFromArray(vectors, isVector=True)
        field.SetOrigin(coarse.origin_mm[::-1])
        field.SetSpacing(coarse.spacing_mm[::-1])
        image = sitk.GetImageFromArray(np.asarray(hu, np.float32))
        image.SetOrigin(source.origin_mm[::-1])
        image.SetSpacing(source.spacing_mm[::-1])
        frame = sitk.Image([int(n) for n in target.shape[::-1]], sitk.sitkFloat32)
        frame.SetOrigin(target.origin_mm[::-1])
        frame.SetSpacing(target.spacing_mm[::-1])
        out = sitk.Resample(image, frame, sitk.DisplacementFieldTransform(field), sitk.sitkLinear, -1000.0)
        return _thinned(np.asarray(sitk.GetArrayFromImage(out)), vectors, coarse, target)

    def _still(self, points: Points) -> Points:
        turn = Rotation.from_euler("xyz", self.pose.turn_deg, degrees=True)
        return np.asarray(
            turn.inv().apply(points - self.pose.shift_mm - self.pivot_mm) + self.pivot_mm, np.float64
        )

    def _moved(self, points: Points) -> Points:
        return np.stack([field.at(points) for field in self.field], -1).astype(np.float64)


def motion_of(anatomy: Anatomy, pose: Pose) -> Motion:
    """The pose on a phantom's own chest cavity and spine."""
    return motion_within(anatomy.fields["cavity"], anatomy.fields["spine"], anatomy.fields["lungs"], pose)


def motion_within(cavity: Field, spine: Field, lungs: Field, pose: Pose) -> Motion:
    """The pose in a chest given by signed distances, positive inside, on one grid: lungs and abdomen move
    with the diaphragm, the more the lower; spine and ribs stay; the front of the chest rises."""
    grid = cavity.grid
    z, y, _ = grid.axes
    rows = np.flatnonzero((lungs.values > 0).any(axis=(1, 2)))
    low, high = (grid.origin_mm[0] + grid.spacing_mm[0] * float(rows[i]) for i in (0, -1))
    height = np.clip((high - 10 - z) / (high - 30 - low), 0, 1)
    height = height**2 * (3 - 2 * height) * 0.4 + 0.6 * height
    inside = special.expit((cavity.values + 3) / 3.0) * special.expit(-(spine.values + 7) / 3.0)
    down = ndimage.gaussian_filter((pose.diaphragm_mm * height * inside).astype(np.float32), 0.8)
    front = pose.chest_mm * np.clip((40 - y) / 120, 0, 1) + 0 * cavity.values
    still = np.zeros_like(down)
    return Motion(pose, (Field(still, grid), Field(front.astype(np.float32), grid), Field(down, grid)))


def _thinned(hu: Array, vectors: Points, coarse: Grid, target: Grid) -> Array:
    """Lung tissue keeps its mass: its density goes with the volume it fills."""
    slopes: list[list[Points]] = [
        [np.gradient(vectors[..., of], 4.0, axis=along) for along in (2, 1, 0)] for of in range(3)
    ]
    jacobian = np.stack([np.stack(rows, -1) for rows in slopes], -2) + np.eye(3)
    denser = np.clip(np.linalg.det(jacobian), 0.5, 2.0).astype(np.float32)
    factor = Field(ndimage.gaussian_filter(denser, 1.0), coarse).on(target)
    aerated = (hu < -600) & (hu > -985)
    return np.where(aerated, np.minimum((hu + 1000) * factor - 1000, -500), hu).astype(np.float32)
