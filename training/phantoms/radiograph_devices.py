"""What lies on and in a patient who is X-rayed: leads, lines, pacemakers, wires, and the marks on the film.

Nothing of it is drawn from the findings.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from training.phantoms.fields import Array
from training.phantoms.radiograph_body import Thorax
from training.phantoms.radiograph_patient import SIDES, Pose
from training.phantoms.tubes import Tubes


def devices(chest: Thorax, pose: Pose, rng: np.random.Generator) -> Array:
    """Path in metal and plastics, as mm of compact bone (rows, columns)."""
    build = chest.patient.build
    ill = 0.65 if pose.supine else 0.15
    front, tubes = -build.half_depth - 20, []
    if rng.random() < ill:
        for _ in range(int(rng.integers(2, 6))):
            tubes += _lead(rng, front, build.apex)
    if rng.random() < 0.5 * ill:
        side = rng.choice(SIDES)
        course = [(side * 130, -40, build.apex - 6), (side * 70, -40, build.apex - 16), (-20, -20, 70)]
        tubes.append(_bent(rng, [*course, (-26, -14, rng.uniform(-10, 45))], 0.9, 4))
    if rng.random() < 0.3 * ill:
        tubes.append(_bent(rng, [(0, 0, 190), (0, 4, 110), (0, 9, rng.uniform(38, 70))], 1.6, 1))
    if rng.random() < 0.3 * ill:
        tubes.append(_bent(rng, [(3, 8, 190), (6, 14, 60), (14, 10, -60), (60, -10, -110)], 1.3, 4))
    if rng.random() < 0.06:
        tubes += _pacemaker(rng, build.apex, front)
    if rng.random() < 0.08:
        for z in np.linspace(70, -45, int(rng.integers(5, 8))):
            turn = np.linspace(0, 2 * np.pi, 9)
            loop = np.stack([7 * np.cos(turn), 0 * turn - 75, z + 4 * np.sin(turn)], 1)
            tubes.append(Tubes.along(loop + rng.normal(0, 1, 3), 0.55))
    return chest.beam.through((Tubes.joined(tubes), 2.6)) if tubes else np.zeros_like(chest.soft)


def _bent(
    rng: np.random.Generator, course: list[tuple[float, float, float]], radius: float, by: float
) -> Tubes:
    points = np.array(course, float)
    points[1:-1] += rng.normal(0, by, points[1:-1].shape)
    share = np.linspace(0, len(points) - 1, 8 * len(points))
    at = np.minimum(share.astype(int), len(points) - 2)
    t = (share - at)[:, None]
    smooth = t * t * (3 - 2 * t)
    path = points[at] * (1 - smooth) + points[at + 1] * smooth
    return Tubes.along(0.5 * path + 0.5 * (points[at] * (1 - t) + points[at + 1] * t), radius)


def _lead(rng: np.random.Generator, front: float, apex: float) -> list[Tubes]:
    """An electrode and its wire that leaves the picture."""
    at = np.array([rng.choice(SIDES) * rng.uniform(30, 140), front, rng.uniform(-90, apex - 10)])
    way = rng.normal(0, 60, (3, 3)).cumsum(0) * (1, 0, 1)
    leave = np.array([rng.choice(SIDES) * 260, front, rng.uniform(-250, 200)])
    wire = _bent(rng, [tuple(at), *(tuple(at + w) for w in way[:2]), tuple(leave)], 0.7, 10)
    button = Tubes.along([at, at + (0, 2, 1)], rng.uniform(3.5, 6))
    return [wire, Tubes(button.starts, button.ends, button.radii)]


def _pacemaker(rng: np.random.Generator, apex: float, front: float) -> list[Tubes]:
    side = -1 if rng.random() < 0.2 else 1
    at = np.array([side * rng.uniform(85, 115), front + 10, apex - rng.uniform(35, 55)])
    box = [Tubes.along([at + (-16, 0, s), at + (16, 0, s)], 4.0) for s in np.linspace(-14, 14, 8)]
    lead = [tuple(at), (side * 60, -40, apex - 20), (-24, -20, 60), (-24, -20, 10), (30, -40, -45)]
    return [*box, _bent(rng, lead, 1.1, 3)]


def marked(picture: Array, view: str, rng: np.random.Generator) -> Array:
    """``picture`` (0 to 1) with the letters that tell the side, and at times the view, in a corner."""
    rows, columns = picture.shape
    canvas = Image.new("F", (columns, rows), 0.0)
    pen = ImageDraw.Draw(canvas)
    left = rng.random() < 0.6
    at = (
        columns * (rng.uniform(0.86, 0.95) if left else rng.uniform(0.02, 0.1)),
        rows * rng.uniform(0.02, 0.2),
    )
    pen.text(at, "L" if left else "R", fill=1.0, font_size=float(rng.uniform(0.03, 0.06) * rows))
    if rng.random() < (0.35 if view == "AP" else 0.05):
        pen.text((at[0] - 20, at[1] + 0.07 * rows), "PORTABLE", fill=1.0, font_size=float(0.025 * rows))
    return np.asarray(np.maximum(picture, np.asarray(canvas) * rng.uniform(0.85, 1.0)), np.float32)
