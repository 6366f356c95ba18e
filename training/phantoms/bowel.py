"""Bowel: winding tubes, each with a wall and something in it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from training.phantoms.fields import Array, Field
from training.phantoms.tubes import Tubes


@dataclass(frozen=True, eq=False)
class Loop:
    """A piece of bowel; ``wall_mm`` thick, ``content_hu`` inside; stool is ``grainy``."""

    tubes: Tubes
    wall_mm: float
    content_hu: float
    grainy: bool = False


def bowel_loops(rng: np.random.Generator, room: Field) -> list[Loop]:
    """Small bowel that winds through ``room``: collapsed, filled with fluid, gas or oral contrast."""
    index = np.argwhere(room.values > 4)
    oral = float(rng.choice([15.0, rng.uniform(120, 320)], p=[0.65, 0.35]))
    loops = []
    for _ in range(int(rng.integers(26, 40))):
        start = index[rng.integers(len(index))] * room.grid.spacing_mm + room.grid.origin_mm
        path = _winding(rng, start[::-1], int(rng.integers(5, 12)), room)
        if len(path) < 3:
            continue
        radius = float(rng.uniform(5.5, 13))
        state = rng.choice(["collapsed", "fluid", "gas", "oral"], p=[0.3, 0.4, 0.12, 0.18])
        content = {
            "collapsed": 40.0,
            "fluid": float(rng.uniform(5, 25)),
            "gas": -900.0,
            "oral": oral,
        }[str(state)]
        radius = radius * 0.7 if state == "collapsed" else radius
        loops.append(Loop(Tubes.along(path, radius), float(rng.uniform(1.8, 3.4)), content))
    return loops


def _winding(rng: np.random.Generator, start: Array, steps: int, room: Field) -> Array:
    """A path of steps of 14 mm that stays inside ``room``, points (n, 3)."""
    path = [np.asarray(start, np.float64)]
    heading = rng.normal(size=3)
    for _ in range(steps):
        for _ in range(6):
            heading = heading / np.linalg.norm(heading) + rng.normal(0, 0.55, 3)
            there = path[-1] + 14 * heading / np.linalg.norm(heading)
            if room.at(there)[0] > 2:
                path.append(there)
                break
            heading = rng.normal(size=3)
    return np.array(path)


def colon(rng: np.random.Generator, base: float, half_width: float) -> list[Loop]:
    """The large bowel round the abdomen, from the caecum to the rectum, with gas and stool."""
    w = half_width - 34
    frame = np.array(
        [
            (-w, 0, -310),
            (-w, 6, -260),
            (-w + 2, 10, base - 130),
            (-w + 18, -22, base - 112),
            (-40, -56, base - 122),
            (0, -64, base - 132),
            (44, -56, base - 112),
            (w - 6, -4, base - 82),
            (w, 30, base - 130),
            (w, 30, -240),
            (w - 16, 10, -310),
            (46, 0, -350),
            (14, 10, -330),
            (-8, 30, -350),
            (0, 52, -390),
            (0, 50, -436),
        ],
        float,
    )
    frame += rng.normal(0, 6, frame.shape)
    loops = []
    for a, b in pairwise(frame):
        path = np.linspace(a, b, 5) + rng.normal(0, 2.5, (5, 3)) * np.array([0, 1, 1, 1, 0])[:, None]
        radius = rng.uniform(9, 21) * (1 + 0.22 * np.array([0, 1, -0.6, 1, 0]) * rng.random())
        stool = rng.random() < 0.55
        content = float(rng.uniform(10, 60)) if stool else float(rng.choice([-920.0, 20.0], p=[0.6, 0.4]))
        loops.append(Loop(Tubes.along(path, radius), float(rng.uniform(1.5, 3.0)), content, bool(stool)))
    return loops
