"""The inside of a colon as a distance field: a bent tube with folds, and lumps that sit on its wall.

Points are (n, 3) with the camera at the origin looking along +z; the unit is the tube's radius. Rays are
marched as far as the nearest surface allows (Hart, "Sphere tracing", The Visual Computer 1996).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Floats = npt.NDArray[np.float32]

FAREST = 9.0
_STEPS = 56
_SHORTENED = 0.5  # folds are steeper than a distance field may be
_LATTICE = 24


@dataclass(frozen=True, eq=False)
class Noise:
    """Smooth periodic noise in space, mean 0 and deviation 1."""

    values: Floats

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Noise:
        rough = ndimage.gaussian_filter(rng.normal(size=(_LATTICE,) * 3), 0.8, mode="wrap")
        return cls(np.asarray((rough - rough.mean()) / rough.std(), np.float32))

    def at(self, points: Floats, cells: float) -> Floats:
        """Changes over ``1 / cells`` units."""
        found = ndimage.map_coordinates(self.values, points.T * cells, order=1, mode="grid-wrap")
        return np.asarray(found, np.float32)


@dataclass(frozen=True)
class Fold:
    """A semilunar fold: where along the tube, how its ridge leans, and which part of the round it takes."""

    along: float
    lean: float
    toward: float
    reach: float
    height: float
    width: float


@dataclass(frozen=True)
class Swelling:
    """The wall swells and narrows by ``height``, ``waves`` times around and ``rate`` radians a unit along."""

    height: float
    rate: float
    waves: int
    phase: float


@dataclass(frozen=True, eq=False)
class Lump:
    """An ellipsoid on the wall; ``axes``: rows are its own axes, the last one along the wall's normal."""

    centre: Floats
    axes: Floats
    radii: Floats
    rough: float
    cells: float

    def distance(self, points: Floats, noise: Noise) -> Floats:
        """From far off that from the ball around it."""
        offset = points - self.centre
        widest = float(self.radii.max())
        away = np.sqrt(np.einsum("ij,ij->i", offset, offset)) - widest
        near = np.flatnonzero(away < 0.6 * widest)
        own = (offset[near] @ self.axes.T) / self.radii
        outer = np.sqrt(np.einsum("ij,ij->i", own, own))
        own /= self.radii
        inner = np.sqrt(np.einsum("ij,ij->i", own, own)) + 1e-6
        bumps = self.rough * float(self.radii.min()) * noise.at(points[near], self.cells)
        away[near] = outer * (outer - 1) / inner + bumps
        return np.asarray(away, np.float32)


@dataclass(frozen=True, eq=False)
class Colon:
    """``turn``, ``place``: from the camera's to the tube's coordinates, z along it. ``bend``: of its axis,
    per unit squared. polyps, stools: groups of lumps, each group one body."""

    turn: Floats
    place: Floats
    bend: Floats
    corners: tuple[float, float]
    folds: tuple[Fold, ...]
    noise: Noise
    uneven: float
    swellings: tuple[Swelling, ...] = ()
    polyps: tuple[tuple[Lump, ...], ...] = ()
    stools: tuple[tuple[Lump, ...], ...] = ()

    def swollen(self, rng: np.random.Generator) -> Colon:
        """With haustra: sacs and ridges that bulge as a polyp does, and are none."""
        drawn = tuple(
            Swelling(
                rng.uniform(0.02, 0.09), rng.uniform(1, 5), int(rng.integers(0, 4)), rng.uniform(0, 2 * np.pi)
            )
            for _ in range(3)
        )
        return replace(self, swellings=drawn)

    def with_bodies(
        self, polyps: tuple[tuple[Lump, ...], ...], stools: tuple[tuple[Lump, ...], ...]
    ) -> Colon:
        return replace(self, polyps=polyps, stools=stools)

    def wall(self, points: Floats) -> Floats:
        """How far inside of the wall, about."""
        own = points @ self.turn.T + self.place
        along = own[:, 2]
        x = own[:, 0] - self.bend[0] * along**2
        y = own[:, 1] - self.bend[1] * along**2
        round_ = np.arctan2(y, x)
        radius = 1 + self.corners[0] * np.cos(3 * round_ + self.corners[1] + 0.3 * along)
        for fold in self.folds:
            across = (along - fold.along - fold.lean * np.cos(round_ - fold.toward)) / fold.width
            part = np.clip(0.5 + fold.reach * (np.cos(round_ - fold.toward) + 0.6), 0, 1)
            radius -= fold.height * part * np.exp(-(across**2))
        for swelling in self.swellings:
            waves = swelling.rate * along + swelling.waves * round_ + swelling.phase
            radius += swelling.height * np.cos(waves)
        radius += self.uneven * self.noise.at(own, 1.7)
        return np.asarray(radius - np.hypot(x, y), np.float32)

    def bodies(self, points: Floats, groups: tuple[tuple[Lump, ...], ...]) -> Floats:
        """The distance from the nearest of these bodies; lumps of one body run into one another."""
        nearest = np.full(len(points), FAREST, np.float32)
        for group in groups:
            body = np.full(len(points), FAREST, np.float32)
            for lump in group:
                body = blended(body, lump.distance(points, self.noise), 0.25 * float(lump.radii.min()))
            nearest = np.minimum(nearest, body)
        return nearest

    def distance(self, points: Floats) -> Floats:
        nearest = self.wall(points)
        if self.polyps:
            nearest = blended(nearest, self.bodies(points, self.polyps), 0.02)
        if self.stools:
            nearest = np.minimum(nearest, self.bodies(points, self.stools))
        return nearest

    def seen(self, rays: Floats) -> Floats:
        """How far each ray of a lens, (rows, columns, 3), gets: (rows, columns). Every second one of both is
        marched first, and the others go on from where their neighbours still saw nothing."""
        rows, columns = rays.shape[:2]
        few = rays[::2, ::2]
        rough = self.marched(few.reshape(-1, 3)).reshape(few.shape[:2])
        near = 0.94 * ndimage.minimum_filter(rough, 3, mode="nearest")
        start = near.repeat(2, 0).repeat(2, 1)[:rows, :columns]
        return self.marched(rays.reshape(-1, 3), start.ravel()).reshape(rows, columns)

    def marched(self, rays: Floats, start: Floats | None = None) -> Floats:
        """How far each ray of (n, 3) gets, at most ``FAREST``. start: how far the way is free for certain."""
        far = np.full(len(rays), 0.02, np.float32) if start is None else start.astype(np.float32)
        moving = np.arange(len(rays))
        for _ in range(_STEPS):
            step = self.distance(rays[moving] * far[moving, None]) * _SHORTENED
            far[moving] += np.maximum(step, 0)
            moving = moving[(step > 0.0015 * far[moving]) & (far[moving] < FAREST)]
            if not len(moving):
                break
        return np.minimum(far, FAREST)

    def normals(self, points: Floats, reach: float = 0.01) -> Floats:
        """Towards the inside; by the four corners of a tetrahedron."""
        corners = np.array(((1, -1, -1), (-1, -1, 1), (-1, 1, -1), (1, 1, 1)), np.float32)
        found = sum(corner * self.distance(points + reach * corner)[:, None] for corner in corners)
        return unit(np.asarray(found, np.float32))


def blended(one: Floats, other: Floats, width: float) -> Floats:
    """The smaller of two distances, rounded where they meet."""
    near = np.clip(1 - np.abs(one - other) / width, 0, 1)
    return np.asarray(np.minimum(one, other) - near**2 * width / 4, np.float32)


def unit(vectors: Floats) -> Floats:
    return np.asarray(vectors / (np.linalg.norm(vectors, axis=-1, keepdims=True) + 1e-9), np.float32)


def frame_on(normal: Floats, turn: float) -> Floats:
    """Rows: two axes along the wall, turned by ``turn``, and ``normal``."""
    helper = np.eye(3, dtype=np.float32)[int(np.argmin(np.abs(normal)))]
    first = unit(np.cross(normal, helper).astype(np.float32))
    second = np.cross(normal, first)
    u = np.cos(turn) * first + np.sin(turn) * second
    return np.stack([u, np.cross(normal, u), normal]).astype(np.float32)


def drawn_colon(rng: np.random.Generator) -> Colon:
    """A stretch of colon with the camera anywhere in it, looking along it or at its wall."""
    tilt, around = abs(rng.normal(0, 0.55)), rng.uniform(0, 2 * np.pi)
    axis = np.array((np.sin(tilt) * np.cos(around), np.sin(tilt) * np.sin(around), np.cos(tilt)), np.float32)
    turn = frame_on(axis, rng.uniform(0, 2 * np.pi))
    away, where = rng.uniform(0, 0.55), rng.uniform(0, 2 * np.pi)
    place = np.array((away * np.cos(where), away * np.sin(where), 0), np.float32)
    folds, along = [], rng.uniform(0.2, 1.0)
    while along < 6:
        folds.append(
            Fold(
                along,
                rng.normal(0, 0.12),
                rng.uniform(0, 2 * np.pi),
                rng.uniform(0.3, 1.2),
                rng.uniform(0.05, 0.45),
                rng.uniform(0.08, 0.25),
            )
        )
        along += rng.uniform(0.35, 1.4)
    return Colon(
        turn,
        place,
        rng.normal(0, 0.13, 2).astype(np.float32),
        (rng.uniform(0, 0.12), rng.uniform(0, 2 * np.pi)),
        tuple(folds),
        Noise.drawn(rng),
        rng.uniform(0.005, 0.03),
    )


def polyp_on(colon: Colon, ray: Floats, share: float, rng: np.random.Generator) -> tuple[Lump, ...] | None:
    """A polyp where ``ray`` meets the wall: flat, sessile, on a stalk, or of several lobes.

    share: half its width, as the tangent of the angle it is seen under; never so wide that it fills the
    frame. None where the wall is too far.
    """
    far = float(colon.marched(ray[None])[0])
    if far > 0.7 * FAREST:
        return None
    foot = ray * far
    normal = colon.normals(foot[None], 0.05)[0]
    wide = min(share * far, 0.5 * far, 0.8)
    kind = rng.choice(("flat", "sessile", "lobed", "stalked"), p=(0.2, 0.4, 0.25, 0.15))
    rough, cells = rng.uniform(0, 0.12), rng.uniform(1.0, 4.0) / wide
    axes = frame_on(unit((normal + rng.normal(0, 0.2, 3)).astype(np.float32)), rng.uniform(0, np.pi))

    def lump(at: Floats, radii: tuple[float, float, float]) -> Lump:
        return Lump(at.astype(np.float32), axes, np.array(radii, np.float32), rough, cells)

    long, short = wide, wide * rng.uniform(0.6, 1.0)
    if kind == "flat":
        return (lump(foot, (long, short, wide * rng.uniform(0.15, 0.35))),)
    if kind == "sessile":
        tall = wide * rng.uniform(0.4, 1.0)
        return (lump(foot + normal * tall * rng.uniform(0, 0.5), (long, short, tall)),)
    if kind == "stalked":
        head = foot + axes[2] * min(wide * rng.uniform(1.1, 1.9), 0.45 * far)
        stalk = wide * rng.uniform(0.25, 0.5)
        return (
            lump(head, (long, short, wide * rng.uniform(0.7, 1.1))),
            lump((foot + head) / 2, (stalk, stalk, float(np.linalg.norm(head - foot)) * 0.75)),
        )
    lobes = [lump(foot, (0.7 * long, 0.7 * short, 0.45 * wide))]
    for _ in range(int(rng.integers(3, 8))):
        at = rng.uniform(0, 2 * np.pi)
        out = rng.uniform(0.2, 0.75)
        place = foot + axes[0] * long * out * np.cos(at) + axes[1] * short * out * np.sin(at)
        size = wide * rng.uniform(0.25, 0.55)
        lobes.append(lump(place + normal * wide * rng.uniform(0, 0.4), (size, size, size)))
    return tuple(lobes)


def stool_on(colon: Colon, ray: Floats, share: float, rng: np.random.Generator) -> tuple[Lump, ...]:
    """A crumb of stool or a bubble where ``ray`` meets the wall."""
    far = float(colon.marched(ray[None])[0])
    size = min(share * far, 0.3)
    axes = frame_on(colon.normals(ray[None] * far, 0.05)[0], rng.uniform(0, np.pi))
    radii = (size * rng.uniform(0.5, 1, 3)).astype(np.float32)
    return (Lump(ray * far, axes, radii, rng.uniform(0.1, 0.3), 2 / size),)
