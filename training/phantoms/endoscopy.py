"""Procedural colonoscopy frames with polyps: a colon seen and lit from the tip of an endoscope.

Labels and scenery draw from independent seeds, so that nothing but the polyp tells of the polyp.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.phantoms.colon import FAREST, Colon, Floats, Lump, drawn_colon, polyp_on, stool_on, unit
from training.phantoms.endoscope import USUAL, Camera, drawn_lens, recorded, with_instrument

_COUNTS = (0, 1, 1, 1, 1, 1, 1, 2)
_SHARES = np.log(0.2), np.log(0.95)
"""Half the width of a polyp as a part of half a frame's, logarithmic: two in three of Kvasir-SEG's are wider
than a quarter of the frame (Jha et al., arXiv:1911.07069)."""


@dataclass(frozen=True, eq=False)
class Frame:
    """A frame, uint8 (size, size, 3), and where its polyps are, (size, size)."""

    picture: npt.NDArray[np.uint8]
    mask: npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class _Seen:
    """What the rays meet, (pixels, ...): how far, where, facing where, and on which body."""

    far: Floats
    points: Floats
    normals: Floats
    polyp: npt.NDArray[np.bool_]
    stool: npt.NDArray[np.bool_]


def endoscopy_frame(
    seed: int,
    *,
    size: int = 128,
    polyps: int | None = None,
    camera: Camera = USUAL,
    swollen: bool = False,
) -> Frame:
    """One frame. polyps: how many; None for one mostly, at times two or none, as ``polyp_count`` says.
    swollen: whether the wall bulges between its folds too."""
    scenery = np.random.default_rng((seed, 1))
    lesions = np.random.default_rng((seed, 2))
    recording = np.random.default_rng((seed, 3))
    colon, lens = drawn_colon(scenery), drawn_lens(recording, size, camera)
    if swollen:
        colon = colon.swollen(np.random.default_rng((seed, 4)))
    crumbs = int(scenery.integers(1, 6)) if scenery.random() < 0.3 else 0
    sizes = np.exp(scenery.uniform(-4, -1.9, crumbs))
    stools = tuple(stool_on(colon, lens.ray(scenery), float(share), scenery) for share in sizes)
    count = int(lesions.choice(_COUNTS)) if polyps is None else polyps
    bodies: list[tuple[Lump, ...]] = []
    for _ in range(12 * count):
        share = float(np.tan(np.exp(lesions.uniform(*_SHARES)) * lens.half_angle))
        if len(bodies) < count and (body := polyp_on(colon, lens.ray(lesions), share, lesions)):
            bodies.append(body)
    colon = colon.with_bodies(tuple(bodies), stools)
    seen = _seen(colon, lens.rays)
    lit = _lit(seen, _coloured(colon, seen, scenery, lesions), colon, recording).reshape(size, size, 3)
    lit, mask = with_instrument(lit, seen.polyp.reshape(size, size), recording)
    return Frame(recorded(lit, lens, recording, camera), mask & lens.open)


def polyp_count(seed: int) -> int:
    """How many polyps a frame has unless it is told."""
    return int(np.random.default_rng((seed, 2)).choice(_COUNTS))


def _seen(colon: Colon, rays: Floats) -> _Seen:
    far = colon.seen(rays).ravel()
    points = rays.reshape(-1, 3) * far[:, None]
    wall = colon.wall(points)
    polyp = colon.bodies(points, colon.polyps) if colon.polyps else np.full(len(points), FAREST)
    stool = colon.bodies(points, colon.stools) if colon.stools else np.full(len(points), FAREST)
    return _Seen(
        far,
        points,
        colon.normals(points),
        (polyp < wall) & (polyp <= stool) & (far < FAREST),
        (stool < wall) & (stool < polyp),
    )


def _coloured(
    colon: Colon, seen: _Seen, scenery: np.random.Generator, lesions: np.random.Generator
) -> Floats:
    """Albedo (pixels, 3): mucosa with its vessels; polyps a little redder or paler, with pits."""
    noise, points = colon.noise, seen.points
    base = np.array((0.86, scenery.uniform(0.36, 0.58), scenery.uniform(0.24, 0.44)), np.float32)
    mottled = noise.at(points, 3.1)[:, None] * scenery.uniform(0.0, 0.05, 3)
    mottled += noise.at(points + 5, 9.3)[:, None] * scenery.uniform(0, 0.03)
    mottled += noise.at(points + 9, 31.0)[:, None] * scenery.uniform(0, 0.025)
    bent = points + 0.05 * np.stack([noise.at(points + k, 6.0) for k in (1, 2, 3)], 1)
    ridges = np.abs(noise.at(bent, scenery.uniform(2, 4)))
    fine = np.abs(noise.at(bent + 3, scenery.uniform(5, 9)))
    vessels = np.exp(-((ridges / 0.05) ** 2)) + 0.6 * np.exp(-((fine / 0.07) ** 2))
    vessels *= scenery.uniform(0, 0.3) * np.clip(0.5 + noise.at(points, 1.3), 0, 1)
    mucosa = base + mottled - vessels[:, None] * np.array((0.35, 1.0, 0.8))
    if scenery.random() < 0.2:  # bile or dye that pools
        pool = 1 / (1 + np.exp(-5 * (noise.at(points, scenery.uniform(0.8, 2)) - scenery.uniform(0.6, 1.5))))
        tone = np.array(((0.75, 0.6, 0.15), (0.15, 0.35, 0.5), (0.8, 0.7, 0.4))[int(scenery.integers(3))])
        mucosa = mucosa * (1 - 0.6 * pool[:, None]) + 0.6 * pool[:, None] * tone
    shift = lesions.normal(0, 1, 3) * (0.04, 0.04, 0.03) + np.array((0.02, -0.05, -0.03)) * lesions.uniform(
        -0.8, 2.0
    )
    cells = np.exp(lesions.uniform(np.log(12), np.log(45)))
    pits = np.abs(noise.at(points, cells)) - 0.7
    pits = pits[:, None] * lesions.uniform(0, 0.16) * np.array((0.5, 1.0, 0.9))
    patches = noise.at(points + 7, lesions.uniform(3, 10))[:, None] * lesions.uniform(0, 0.06)
    own = base + 0.5 * mottled + shift + pits + patches
    stool = np.array((0.6, 0.47, 0.16)) * scenery.uniform(0.5, 1.2) + 0.06 * noise.at(points, 25.0)[:, None]
    colour = np.where(seen.polyp[:, None], own, np.where(seen.stool[:, None], stool, mucosa))
    return np.asarray(np.clip(colour, 0.02, 1), np.float32)


def _lit(seen: _Seen, colour: Floats, colon: Colon, rng: np.random.Generator) -> Floats:
    """Under the light guides beside the lens: bright where it is near and faces them, wet everywhere."""
    noise, points = colon.noise, seen.points
    lamp = rng.normal(0, 0.06, 3).astype(np.float32) * (1, 1, 0)
    toward = lamp - points
    away = np.linalg.norm(toward, axis=1) + 0.05
    light = unit(toward.astype(np.float32))
    view = unit(-points)
    bump = np.stack([noise.at(points + k, 14.0) for k in (11, 12, 13)], 1) * rng.uniform(0.0, 0.1)
    bump += np.stack([noise.at(points + k, 45.0) for k in (14, 15, 16)], 1) * rng.uniform(0.0, 0.12)
    normal = unit((seen.normals + bump).astype(np.float32))
    facing = np.clip((normal * light).sum(1), 0, 1)
    scattered = rng.uniform(0.05, 0.3)
    bright = (scattered + (1 - scattered) * facing) / away ** rng.uniform(1.2, 2.0)
    bright[seen.far >= FAREST] = 0
    bright *= rng.uniform(0.75, 1.3) / (np.percentile(bright, rng.uniform(60, 85)) + 1e-6)
    bright = np.where(bright > 1, 1 + 0.6 * np.log(np.maximum(bright, 1)), bright) ** rng.uniform(0.55, 0.95)
    wet = np.clip((normal * unit(light + view)).sum(1), 0, 1) ** np.exp(rng.uniform(np.log(40), np.log(400)))
    wet *= (noise.at(points + 21, 20.0) > rng.uniform(-0.5, 1.2)) * np.clip(bright, 0.2, 1)
    glint = rng.uniform(0.5, 2.5) * (1 - 0.9 * seen.stool)
    return np.asarray(colour * bright[:, None] + (wet * glint)[:, None], np.float32)
