"""Procedural colonoscopy frames with polyps: a wall as a height field, lit from the camera.

Labels and scenery draw from independent seeds, so that nothing but the polyp tells of the polyp.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Frame:
    """A frame, uint8 (size, size, 3), and where its polyps are, (size, size)."""

    picture: npt.NDArray[np.uint8]
    mask: npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class _Wall:
    """height: in pixels towards the camera; colour: (size, size, 3) in 0..1; gloss: (size, size)."""

    height: Floats
    colour: Floats
    gloss: Floats


def endoscopy_frame(seed: int, *, size: int = 128, polyps: int | None = None) -> Frame:
    """One frame. polyps: how many; None for one mostly, at times two or none."""
    scenery = np.random.default_rng((seed, 1))
    lesions = np.random.default_rng((seed, 2))
    camera = np.random.default_rng((seed, 3))
    wall = _wall(size, scenery)
    mask = np.zeros((size, size), bool)
    count = int(lesions.choice((0, 1, 1, 1, 1, 1, 1, 2))) if polyps is None else polyps
    for _ in range(count):
        wall, inside = _with_polyp(wall, lesions)
        mask |= inside
    wall = _soiled(wall, scenery)
    lit = _lit(wall, camera)
    lit, mask = _with_instrument(lit, mask, camera)
    return Frame(_recorded(lit, camera), mask & (_field(size, camera) > 0))


def smooth(rng: np.random.Generator, size: int, cells: int) -> Floats:
    """Noise of mean 0 and deviation 1 that changes over ``size / cells`` pixels."""
    coarse = rng.normal(size=(cells + 3, cells + 3))
    fine = ndimage.zoom(coarse, (size + 2) / cells, order=3)
    start = int(rng.integers(0, max(fine.shape[0] - size, 1)))
    part = fine[start : start + size, :size]
    return np.asarray((part - part.mean()) / (part.std() + 1e-6), np.float32)


def _grid(size: int) -> tuple[Floats, Floats]:
    axis = (np.arange(size, dtype=np.float32) - (size - 1) / 2) / (size / 2)
    y, x = np.meshgrid(axis, axis, indexing="ij")
    return y, x


def _wall(size: int, rng: np.random.Generator) -> _Wall:
    y, x = _grid(size)
    height = smooth(rng, size, 3) * size * rng.uniform(0.01, 0.05)
    height += smooth(rng, size, 10) * size * rng.uniform(0.001, 0.006)
    height += smooth(rng, size, 40) * size * rng.uniform(0.0002, 0.0012)
    for _ in range(rng.integers(0, 5)):
        centre = rng.uniform(-1.8, 1.8, 2)
        radius = rng.uniform(0.5, 2.0)
        away = np.hypot(y - centre[0], (x - centre[1]) * rng.uniform(0.7, 1.4))
        away = away - radius + 0.08 * smooth(rng, size, 4)
        width = rng.uniform(0.04, 0.16)
        ridge = np.exp(-(np.where(away > 0, away / width, away / (width * rng.uniform(0.6, 2.5))) ** 2))
        reach = 1 / (1 + np.exp(-6 * (smooth(rng, size, 2) + rng.uniform(0, 1.5))))
        height += ridge * reach * size * rng.uniform(0.03, 0.12)
    if rng.random() < 0.6:  # the lumen
        centre = rng.uniform(-0.9, 0.9, 2)
        away = np.hypot((y - centre[0]) * rng.uniform(0.7, 1.4), x - centre[1]) + 0.06 * smooth(rng, size, 5)
        height -= size * rng.uniform(0.3, 0.9) * np.exp(-((away / rng.uniform(0.2, 0.6)) ** 2))
    base = np.array((rng.uniform(0.65, 0.95), rng.uniform(0.30, 0.55), rng.uniform(0.18, 0.42)), np.float32)
    tone = smooth(rng, size, 3)[..., None] * rng.uniform(0.01, 0.07, 3)
    vessels = np.exp(-((smooth(rng, size, int(rng.integers(5, 14))) / 0.10) ** 2)) * rng.uniform(0, 0.25)
    vessels *= 1 / (1 + np.exp(-3 * smooth(rng, size, 3)))
    fine = smooth(rng, size, 45)[..., None] * rng.uniform(0.005, 0.03)
    colour = base + tone + fine - vessels[..., None] * np.array((0.5, 1.0, 0.7))
    return _Wall(
        height.astype(np.float32),
        np.clip(colour, 0.03, 1).astype(np.float32),
        np.full((size, size), rng.uniform(0.3, 1.0), np.float32),
    )


def _with_polyp(wall: _Wall, rng: np.random.Generator) -> tuple[_Wall, npt.NDArray[np.bool_]]:
    size = len(wall.height)
    y, x = _grid(size)
    centre = rng.normal(0, 0.33, 2).clip(-0.75, 0.75)
    radius = float(np.exp(rng.uniform(np.log(0.18), np.log(0.75))))
    turn, flat = rng.uniform(0, np.pi), rng.uniform(0.6, 1.0)
    dy, dx = y - centre[0], x - centre[1]
    u = (dx * np.cos(turn) + dy * np.sin(turn)) / radius
    v = (-dx * np.sin(turn) + dy * np.cos(turn)) / (radius * flat)
    angle = np.arctan2(v, u)
    rim = np.ones_like(u)
    for order in range(2, 6):
        rim += rng.normal(0, 0.09 / order) * np.cos(order * angle + rng.uniform(0, 2 * np.pi))
    away = np.hypot(u, v) / rim + 0.03 * smooth(rng, size, 12)
    inside = away < 1
    steep = rng.uniform(1.6, 4.0)
    dome = np.clip(1 - np.clip(away, 0, 1) ** steep, 0, 1) ** rng.uniform(0.45, 0.9)
    lobes = 1 + rng.uniform(0, 0.16) * smooth(rng, size, int(rng.integers(6, 16)))
    tall = radius * size / 2 * rng.uniform(0.12, 0.75)
    groove = -rng.uniform(0, 0.15) * tall * np.exp(-(((away - 1.05) / 0.09) ** 2))
    level = wall.height * (1 - 0.7 * dome)
    height = level + dome * lobes * tall + groove
    shift = rng.normal(0, 1, 3) * (0.06, 0.05, 0.04) + np.array((0.02, -0.03, -0.01)) * rng.uniform(-1, 2.5)
    soft = ndimage.gaussian_filter(inside.astype(np.float32), rng.uniform(0.5, 1.6))[..., None]
    grain = smooth(rng, size, int(rng.integers(18, 50)))[..., None] * rng.uniform(0.005, 0.05)
    own = wall.colour.mean((0, 1)) * 0.6 + wall.colour * 0.4 + shift + grain
    shade = 1 - rng.uniform(0, 0.35) * np.exp(-(((away - 1.08) / 0.1) ** 2))[..., None]
    colour = np.clip((wall.colour * (1 - soft) + own * soft) * shade, 0.03, 1)
    return _Wall(height.astype(np.float32), colour.astype(np.float32), wall.gloss), inside


def _soiled(wall: _Wall, rng: np.random.Generator) -> _Wall:
    """Stool, mucus and bubbles on the wall."""
    size = len(wall.height)
    y, x = _grid(size)
    colour, height, gloss = wall.colour.copy(), wall.height.copy(), wall.gloss
    if rng.random() < 0.25:
        where = 1 / (1 + np.exp(-8 * (smooth(rng, size, int(rng.integers(4, 12))) - rng.uniform(1.2, 2.2))))
        stool = np.array((0.62, 0.5, 0.18)) * rng.uniform(0.6, 1.2)
        colour = colour * (1 - 0.8 * where[..., None]) + 0.8 * where[..., None] * stool
    for _ in range(int(rng.integers(0, 12)) if rng.random() < 0.25 else 0):
        centre, radius = rng.uniform(-1, 1, 2), rng.uniform(0.02, 0.06)
        away = np.hypot(y - centre[0], x - centre[1]) / radius
        height = height + np.clip(1 - away**2, 0, 1) * radius * size / 3
    return _Wall(height.astype(np.float32), colour.astype(np.float32), gloss)


def _lit(wall: _Wall, rng: np.random.Generator) -> Floats:
    """The wall under the light beside the lens, brighter where it is near and faces the camera."""
    size = len(wall.height)
    y, x = _grid(size)
    down, across = np.gradient(ndimage.gaussian_filter(wall.height, 0.7))
    steep = rng.uniform(0.7, 1.4)
    normal = np.stack([-across * steep, -down * steep, np.ones_like(down)], -1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    at = rng.normal(0, 0.5, 2)
    far = rng.uniform(0.7, 1.6)
    light = np.stack([at[0] - x, at[1] - y, np.full_like(x, far)], -1)
    distance = np.linalg.norm(light, axis=-1)
    light /= distance[..., None]
    view = np.stack([-x, -y, np.full_like(x, far * 1.2)], -1)
    view /= np.linalg.norm(view, axis=-1, keepdims=True)
    facing = np.clip((normal * light).sum(-1), 0, 1)
    depth = np.exp(np.clip(wall.height - np.median(wall.height), -size, size) / size * rng.uniform(1.0, 3.0))
    bright = (
        (rng.uniform(0.08, 0.3) + facing**0.9)
        * (far / distance) ** rng.uniform(0.5, 2)
        * np.clip(depth, 0.03, 1.8)
    )
    half = light + view
    half /= np.linalg.norm(half, axis=-1, keepdims=True)
    wet = np.clip((normal * half).sum(-1), 0, 1) ** rng.uniform(60, 300)
    wet *= wall.gloss * (smooth(rng, size, 20) > rng.uniform(-0.5, 1.5))
    bright *= rng.uniform(0.75, 1.15) / np.percentile(bright, 75)
    lit = wall.colour * bright[..., None] + ndimage.gaussian_filter(wet, 0.6)[..., None] * rng.uniform(
        0.5, 1.3
    )
    return np.asarray(lit, np.float32)


def _with_instrument(
    lit: Floats, mask: npt.NDArray[np.bool_], rng: np.random.Generator
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    if rng.random() > 0.1:
        return lit, mask
    y, x = _grid(len(lit))
    angle = rng.uniform(0, 2 * np.pi)
    along = x * np.cos(angle) + y * np.sin(angle)
    across = -x * np.sin(angle) + y * np.cos(angle) - rng.uniform(-0.5, 0.5)
    width = rng.uniform(0.04, 0.12)
    there = (np.abs(across) < width) & (along > rng.uniform(0.0, 0.6))
    round_shade = np.sqrt(np.clip(1 - (across / width) ** 2, 0, 1))[..., None]
    tone = np.array((0.8, 0.82, 0.85)) * rng.uniform(0.2, 1.1)
    return np.where(there[..., None], tone * round_shade, lit).astype(np.float32), mask & ~there


def _field(size: int, rng: np.random.Generator) -> Floats:
    """1 where the lens shows anything: a square with cut corners, or all of the frame."""
    y, x = _grid(size)
    cut = np.random.default_rng(int(rng.integers(1 << 30))).uniform(1.25, 2.2)
    return ((np.abs(x) + np.abs(y)) < cut).astype(np.float32)


def _recorded(lit: Floats, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """What the camera makes of it: blur, colour balance, exposure, noise."""
    blurred = ndimage.gaussian_filter(lit, (*[abs(rng.normal(0, 0.7))] * 2, 0))
    if rng.random() < 0.15:
        blurred = ndimage.uniform_filter1d(blurred, int(rng.integers(2, 6)), axis=int(rng.integers(0, 2)))
    exposed = np.clip(blurred * rng.uniform(0.85, 1.15, 3), 0, None) ** rng.uniform(0.75, 1.25)
    noisy = exposed + rng.normal(0, rng.uniform(0.002, 0.025), exposed.shape)
    return np.asarray(np.clip(noisy, 0, 1) * 255, np.uint8)
