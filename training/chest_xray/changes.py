"""How a radiograph might have been taken otherwise: where each pixel comes from, and what blurs it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from inference.readers.radiograph import Floats


def places(
    size: int,
    rng: np.random.Generator,
    *,
    turn: float = 6,
    stretch: float = 0.2,
    shift: float = 0.08,
    bend: float = 0.05,
) -> Floats:
    """Where each pixel is taken from, (size, size, 2): columns and rows, -1 to 1.

    turn: degrees, a standard deviation as ``shift`` is one. stretch, bend: at most.
    """
    angle = np.deg2rad(rng.normal(0, turn))
    turned = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    axis = np.linspace(-1, 1, size)
    grid = np.stack(np.meshgrid(axis, axis, indexing="xy"), -1)
    scales = rng.uniform(1 - stretch, 1 + stretch, 2)
    moved = grid @ (turned * scales).T + rng.normal(0, shift, 2)
    bent = np.stack([smooth(size, 6, rng), smooth(size, 6, rng)], -1) * rng.uniform(0, bend)
    return np.asarray(moved + bent, np.float32)


def smooth(size: int, points: int, rng: np.random.Generator) -> Floats:
    """Noise of standard deviation 1 at ``points`` x ``points`` places, and between them, (size, size)."""
    coarse = Image.fromarray(rng.normal(size=(points, points)).astype(np.float32))
    return np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC))


def blurred(picture: npt.NDArray[np.floating], points: int) -> Floats:
    """A picture (size, size), size > ``points``, with no more detail than ``points`` x ``points`` places
    hold."""
    whole = Image.fromarray(np.asarray(picture, np.float32))
    coarse = whole.resize((points, points), Image.Resampling.BOX)
    return np.asarray(coarse.resize(whole.size, Image.Resampling.BICUBIC))
