"""Lung nodules: recipes, how they are drawn, and how often which kind is malignant."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Protocol, Self

import numpy as np

from inference.findings import Mask, Point
from training.phantoms.fields import Array, Field, Grid, coverage
from training.phantoms.tubes import Tubes

NoduleType = Literal["solid", "part-solid", "ground-glass", "calcified"]
NODULE_TYPES: tuple[NoduleType, ...] = ("solid", "part-solid", "ground-glass", "calcified")


@dataclass(frozen=True)
class Nodule:
    """A nodule's recipe; the same recipe renders to the same nodule on any grid.

    diameter_mm: of the sphere with the nodule's volume. lobulation and spiculation: 0 to 1.
    seed: of its shape and texture.
    """

    center_mm: Point
    diameter_mm: float
    kind: NoduleType = "solid"
    malignant: bool = False
    lobulation: float = 0.2
    spiculation: float = 0.0
    seed: int = 0

    def grown(self, volume_factor: float) -> Self:
        """The same nodule at another date, its volume times ``volume_factor``."""
        return replace(self, diameter_mm=self.diameter_mm * volume_factor ** (1 / 3))


class Shape(Protocol):
    """What settles a lesion's outline: see ``Nodule``."""

    @property
    def center_mm(self) -> Point: ...
    @property
    def diameter_mm(self) -> float: ...
    @property
    def lobulation(self) -> float: ...
    @property
    def seed(self) -> int: ...


@dataclass(frozen=True, eq=False)
class Lesion:
    """What is true of a nodule on a rendered grid: ``mask`` indexes the phantom's voxels.

    volume_mm3 and diameter_mm (of the sphere of that volume) count voxels by the part that is filled; a
    nodule that meets the pleura ends there, so both can be less than the recipe's.
    """

    nodule: Nodule
    center_mm: Point
    diameter_mm: float
    volume_mm3: float
    kind: NoduleType
    malignant: bool
    mask: Mask


@dataclass(frozen=True, eq=False)
class Extent:
    """Where something drawn lies; see ``Lesion``."""

    center_mm: Point
    diameter_mm: float
    volume_mm3: float
    mask: Mask


@dataclass(frozen=True, eq=False)
class Drawn:
    """Where a nodule was drawn: ``filled`` is the part of each voxel of ``box`` that it fills."""

    box: tuple[slice, slice, slice]
    filled: Array

    def extent(self, grid: Grid) -> Extent | None:
        """What of it can be seen on ``grid``; None where less than one voxel was drawn."""
        inside = self.filled >= 0.5
        if not inside.any():
            return None
        volume = float(self.filled.sum()) * grid.voxel_mm3
        here = grid.part(self.box)
        z, y, x = (float((axis * self.filled).sum() / self.filled.sum()) for axis in here.axes)
        where = np.argwhere(inside)
        low, high = where.min(0), where.max(0) + 1
        cut = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        origin = tuple(int(s.start + a) for s, a in zip(self.box, low, strict=True))
        mask = Mask((origin[0], origin[1], origin[2]), inside[cut])
        return Extent((x, y, z), float((6 * volume / np.pi) ** (1 / 3)), volume, mask)

    def lesion(self, nodule: Nodule, grid: Grid) -> Lesion | None:
        """Its truth on ``grid``; None where less than one voxel was drawn."""
        extent = self.extent(grid)
        if extent is None:
            return None
        size = (extent.center_mm, extent.diameter_mm, extent.volume_mm3)
        return Lesion(nodule, *size, nodule.kind, nodule.malignant, extent.mask)


def draw_nodule(
    hu: Array, grid: Grid, nodule: Nodule, lungs: Field | None, contrast_hu: float = 0.0
) -> Drawn:
    """Draw ``nodule`` into ``hu`` in place.

    lungs: keeps the nodule within the pleura; None where the anatomy is not known (a real scan): it is
    then drawn over what is darker than soft tissue.
    """
    radius = nodule.diameter_mm / 2
    box = grid.box_about(nodule.center_mm, radius * 1.9 + 3)
    here, part = grid.part(box), hu[box]
    if not part.size:
        return Drawn(box, np.zeros(part.shape, np.float32))
    edge = float(np.mean(grid.spacing_mm))
    look = _Look.of(nodule)
    signed = lobulated(nodule, here)
    grain = texture(nodule, here)
    filled = coverage(signed, max(edge, look.margin_mm))
    if lungs is None:
        room: Array = np.clip((-200 - part) / 200, 0, 1)
    else:
        room = coverage(lungs.on(here) + np.float32(0.3), edge)
    filled = filled * room
    spicules = _spicules(nodule).fill(here) * room
    solid = look.solid_hu + 0.35 * contrast_hu
    glass = look.glass_hu + 60 * grain
    if nodule.kind == "ground-glass":
        _lay(part, filled, glass)
        _lay(part, spicules * 0.5, glass)
        return Drawn(box, filled)
    _lay(part, spicules * look.spicule_share, solid - 40)
    if nodule.kind == "part-solid":
        _lay(part, filled, glass)
        core = coverage(signed - radius * (1 - look.core) + 0.12 * radius * grain, edge) * room
        _lay(part, core, solid - 20)
    else:
        _lay(part, filled, solid + 8 * grain)
    if nodule.kind == "calcified":
        _lay(part, filled * _calcium(look, signed, radius, grain, edge), look.calcium_hu)
    if look.hollow:
        cave = coverage(signed - radius * (1 - look.core) + 0.1 * radius * grain, edge)
        part += cave * (-900 - part)
    return Drawn(box, filled)


@dataclass(frozen=True)
class _Look:
    """What a recipe's seed settles besides the shape: densities in HU, parts as shares of the radius."""

    margin_mm: float
    solid_hu: float
    glass_hu: float
    spicule_share: float
    core: float
    hollow: bool
    calcium: str
    calcium_hu: float

    @classmethod
    def of(cls, nodule: Nodule) -> _Look:
        rng = np.random.default_rng([nodule.seed, 31])
        margin = float(rng.uniform(0.3, 1.2))
        chance = 0.12 if nodule.malignant else 0.05
        return cls(
            margin_mm=margin * (1.8 if nodule.kind == "ground-glass" else 1.0),
            solid_hu=float(rng.normal(30, 14)),
            glass_hu=float(rng.uniform(-700, -480)),
            spicule_share=float(rng.uniform(0.4, 0.9)),
            core=float(rng.uniform(0.35, 0.7)),
            hollow=bool(rng.random() < chance) and nodule.kind == "solid" and nodule.diameter_mm > 10,
            calcium=str(rng.choice(["central", "diffuse", "laminated", "popcorn"], p=[0.35, 0.4, 0.1, 0.15])),
            calcium_hu=float(rng.uniform(160, 900)),
        )


def _lay(part: Array, filled: Array, value: float | Array) -> None:
    """Blend ``value`` in where it is denser than what lies there."""
    part += filled * np.maximum(np.asarray(value, np.float32) - part, 0)


def _from_center(nodule: Shape, here: Grid) -> Array:
    cx, cy, cz = nodule.center_mm
    z, y, x = here.axes
    return np.stack(np.broadcast_arrays(z - cz, y - cy, x - cx), -1).astype(np.float32)


def lobulated(nodule: Shape, here: Grid) -> Array:
    """Signed distance to a lobulated ellipsoid of the recipe's volume."""
    rng = np.random.default_rng([nodule.seed, 32])
    ratios = np.exp(rng.normal(0, 0.12, 3))
    ratios /= np.prod(ratios) ** (1 / 3)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    waves = rng.normal(0, 1.0, (10, 3)) * np.array([1.6] * 4 + [3.4] * 6)[:, None]
    phases = rng.uniform(0, 2 * np.pi, 10)
    heights = (0.03 + 0.22 * nodule.lobulation) * rng.normal(0, 1, 10) / np.sqrt(10) * 1.4

    def relief(unit: Array) -> Array:
        bumps = np.cos(unit @ waves.T.astype(np.float32) + phases.astype(np.float32))
        return np.clip(1 + bumps @ heights.astype(np.float32), 0.45, 1.8)

    sphere = rng.normal(size=(400, 3))
    sphere /= np.linalg.norm(sphere, axis=1, keepdims=True)
    scale = nodule.diameter_mm / 2 / float(np.mean(relief(sphere.astype(np.float32)) ** 3)) ** (1 / 3)
    q = _from_center(nodule, here) @ (turn / ratios).astype(np.float32)
    length = np.maximum(np.sqrt((q**2).sum(-1)), 1e-3)
    out: Array = np.float32(scale) * relief(q / length[..., None]) - length
    return out


def texture(nodule: Shape, here: Grid) -> Array:
    """Texture of about unit deviation, bumps about 4 mm long, the same on every grid."""
    rng = np.random.default_rng([nodule.seed, 33])
    waves = rng.normal(0, 1.3, (14, 3)).astype(np.float32)
    phases = rng.uniform(0, 2 * np.pi, 14).astype(np.float32)
    out: Array = np.cos(_from_center(nodule, here) @ waves.T + phases).sum(-1) / np.float32(np.sqrt(7))
    return out


def _spicules(nodule: Nodule) -> Tubes:
    rng = np.random.default_rng([nodule.seed, 34])
    radius, count = nodule.diameter_mm / 2, round(nodule.spiculation * 26)
    direction = rng.normal(size=(count, 3))
    direction /= np.maximum(np.linalg.norm(direction, axis=1, keepdims=True), 1e-6)
    center = np.array(nodule.center_mm)
    reach = radius + np.minimum(rng.uniform(0.25, 0.9, (count, 1)) * radius, 9)
    middle = center + direction * (radius * 0.8 + reach) / 2
    end = center + direction * reach + rng.normal(0, 0.06, (count, 3)) * radius
    start = center + direction * radius * 0.7
    wide = rng.uniform(0.35, 0.8, count)
    return Tubes(
        np.concatenate([start, middle]).astype(np.float32),
        np.concatenate([middle, end]).astype(np.float32),
        np.concatenate([wide * 1.3, wide * 0.7]).astype(np.float32),
    )


def _calcium(look: _Look, signed: Array, radius: float, grain: Array, edge: float) -> Array:
    """Where calcium lies: central, diffuse, laminated or popcorn."""
    if look.calcium == "central":
        return coverage(signed - radius * (1 - look.core), edge)
    if look.calcium == "diffuse":
        return coverage(signed - np.float32(0.4), edge)
    if look.calcium == "laminated":
        return coverage(radius * 0.15 - np.abs(signed - radius * 0.25), edge)
    out: Array = np.clip(grain - 0.2, 0, 1)
    return out


def random_nodule(rng: np.random.Generator, center_mm: Point, diameter_mm: float | None = None) -> Nodule:
    """A nodule drawn from what a chest clinic sees. Size, kind, margin and lobulation differ between benign
    and malignant on average and overlap widely, so that no reader of images could part them fully.
    """
    malignant = bool(rng.random() < 0.42)
    size = rng.lognormal(np.log(12.5), 0.5) if malignant else rng.lognormal(np.log(6.6), 0.45)
    odds = (0.6, 0.2, 0.15, 0.05) if malignant else (0.56, 0.1, 0.14, 0.2)
    return Nodule(
        center_mm,
        float(np.clip(size, 3, 60)) if diameter_mm is None else diameter_mm,
        NODULE_TYPES[int(rng.choice(4, p=odds))],
        malignant,
        float(rng.beta(2.2, 2.8) if malignant else rng.beta(1.3, 4.5)),
        float(rng.beta(1.6, 2.8) if malignant else rng.beta(0.7, 6.5)),
        int(rng.integers(2**31)),
    )
