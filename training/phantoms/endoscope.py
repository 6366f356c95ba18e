"""What an endoscope adds to what is before it: lens, instrument, exposure, noise, and the writing around."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from scipy import ndimage

from training.phantoms.colon import Floats, unit

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Camera:
    """What kinds of endoscopes there are. half_angle: of the lens, least and most, radians. blur: deviation,
    pixels of 128. balance: of the colours, either way. noise: least and most, of full scale. jpeg: quality of
    what is kept, None for lossless."""

    half_angle: tuple[float, float] = (0.75, 1.15)
    blur: float = 0.6
    balance: float = 0.07
    noise: tuple[float, float] = (0.002, 0.02)
    jpeg: int | None = None


USUAL = Camera()
OTHER = Camera((1.1, 1.35), 0.9, 0.14, (0.02, 0.04), 50)


@dataclass(frozen=True, eq=False)
class Lens:
    """An equidistant fish-eye. rays: (size, size, 3), unit; half_angle: from the middle to the middle of a
    side, radians; open: where the frame shows what is seen, and not its black surround."""

    rays: Floats
    half_angle: float
    open: Flags

    def ray(self, rng: np.random.Generator) -> Floats:
        """The ray of a pixel in the open part of the frame."""
        rows, columns = np.nonzero(ndimage.binary_erosion(self.open, iterations=max(len(self.open) // 14, 1)))
        at = int(rng.integers(len(rows)))
        return np.asarray(self.rays[rows[at], columns[at]], np.float32)


def grid(size: int) -> tuple[Floats, Floats]:
    """y and x of every pixel, from -1 to 1."""
    axis = (np.arange(size, dtype=np.float32) - (size - 1) / 2) / (size / 2)
    y, x = np.meshgrid(axis, axis, indexing="ij")
    return y, x


def drawn_lens(rng: np.random.Generator, size: int, camera: Camera = USUAL) -> Lens:
    y, x = grid(size)
    half = rng.uniform(*camera.half_angle)
    stretch = rng.uniform(0.75, 1.0)  # frames are wider than high, and are made square
    away = np.hypot(y * stretch, x)
    angle, where = away * half, np.arctan2(y * stretch, x)
    rays = np.stack([np.sin(angle) * np.cos(where), np.sin(angle) * np.sin(where), np.cos(angle)], -1)
    shape = rng.choice(("corners", "round", "whole"), p=(0.55, 0.2, 0.25))
    centre = rng.normal(0, 0.05, 2)
    dy, dx = np.abs(y - centre[0]), np.abs(x - centre[1])
    is_open = np.ones((size, size), bool)
    if shape == "corners":
        is_open = (
            (dy + dx < rng.uniform(1.25, 1.75)) & (dy < rng.uniform(0.93, 1.2)) & (dx < rng.uniform(0.9, 1.2))
        )
    elif shape == "round":
        is_open = np.hypot(dy, dx) < rng.uniform(0.95, 1.25)
    if rng.random() < 0.4:  # the picture of the scope's position, or a blank for it
        high, wide = rng.uniform(0.2, 0.36, 2)
        is_open &= ~((y > 1 - 2 * high) & (x < -1 + 2 * wide))
    return Lens(unit(rays.astype(np.float32)), half, is_open)


def with_instrument(lit: Floats, mask: Flags, rng: np.random.Generator) -> tuple[Floats, Flags]:
    """At times a forceps, a snare's sheath, or the rim of a cap, before everything else."""
    kind = rng.random()
    if kind > 0.16:
        return lit, mask
    y, x = grid(len(lit))
    angle = rng.uniform(0, 2 * np.pi)
    along = x * np.cos(angle) + y * np.sin(angle)
    if kind > 0.1:
        from_middle = np.hypot(x - 0.5 * np.cos(angle), y - 0.5 * np.sin(angle))
        across = (from_middle - rng.uniform(1.1, 1.5)) / 0.3
        there = (along < -0.1) & (np.abs(across) < 1)
        shade, tone = (
            np.sqrt(np.clip(1 - across**2, 0, 1)),
            np.array((0.75, 0.85, 0.9)) * rng.uniform(0.3, 1.2),
        )
    else:
        width = rng.uniform(0.04, 0.13)
        across = (-x * np.sin(angle) + y * np.cos(angle) - rng.uniform(-0.5, 0.5)) / width
        there = (np.abs(across) < 1) & (along > rng.uniform(0.0, 0.6))
        shade = np.sqrt(np.clip(1 - across**2, 0, 1))
        tone = np.array(((0.8, 0.82, 0.85), (0.2, 0.45, 0.75), (0.9, 0.85, 0.3))[int(rng.integers(3))])
        tone = tone * rng.uniform(0.2, 1.1)
    return np.where(there[..., None], tone * shade[..., None], lit).astype(np.float32), mask & ~there


def recorded(
    lit: Floats, lens: Lens, rng: np.random.Generator, camera: Camera = USUAL
) -> npt.NDArray[np.uint8]:
    """Blur, colour balance, exposure and noise; then the surround and what is written on it."""
    blurred = ndimage.gaussian_filter(lit, (*[abs(rng.normal(0, camera.blur)) * len(lit) / 128] * 2, 0))
    if rng.random() < 0.12:
        blurred = ndimage.uniform_filter1d(blurred, int(rng.integers(2, 6)), axis=int(rng.integers(0, 2)))
    balance = rng.uniform(1 - camera.balance, 1 + camera.balance, 3)
    exposed = np.clip(blurred * balance, 0, None) ** rng.uniform(0.8, 1.2)
    noisy = exposed + rng.normal(0, rng.uniform(*camera.noise), exposed.shape)
    picture = np.asarray(np.clip(noisy, 0, 1) * 255, np.uint8)
    picture[~lens.open] = int(rng.integers(0, 14))
    shown = _written_on(picture, rng) if rng.random() < 0.5 else picture
    if camera.jpeg is None:
        return shown
    file = io.BytesIO()
    Image.fromarray(shown).save(file, "JPEG", quality=camera.jpeg)
    return np.asarray(Image.open(file))


def _written_on(picture: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Date, time and settings, as on the screen, along the left side."""
    size = len(picture)
    fine = Image.new("L", (3 * size, 3 * size))
    draw, at = ImageDraw.Draw(fine), float(rng.uniform(0.2, 1.2)) * size
    for _ in range(int(rng.integers(1, 6))):
        draw.text(
            (rng.uniform(0, 8), at),
            "".join(rng.choice(list("0123456789:/ACPQ. "), int(rng.integers(4, 14)))),
            255,
        )
        at += rng.uniform(14, 24)
    if rng.random() < 0.4:
        draw.rectangle((0, at, rng.uniform(0.1, 0.4) * size, at + 8), fill=220)
    ink = np.asarray(fine.resize((size, size), Image.Resampling.BOX), np.float32)[..., None] / 255
    return np.asarray(picture * (1 - ink) + 240 * ink, np.uint8)
