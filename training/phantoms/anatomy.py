"""One chest, drawn from a seed: organs as distance fields, vessels, airways and bones as tubes.

The origin lies in the middle of the chest at the level of the lung roots; LPS millimetres throughout. CT,
projection radiographs and PET are renderings of the same anatomy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from training.phantoms.fields import Array, Field, Grid, smooth_noise
from training.phantoms.tubes import Tubes, grow_tree

FIELD_GRID = Grid.centred((100, 76, 112), (4.0, 4.0, 4.0))


@dataclass(frozen=True, eq=False)
class Anatomy:
    """Fields hold signed distance in mm, positive inside, unless their name says otherwise.

    marrow_hu, lung_hu: mean density of this patient's marrow and aerated lung.
    """

    seed: int
    fields: Mapping[str, Field]
    tubes: Mapping[str, Tubes]
    marrow_hu: float
    lung_hu: float

    def points_in_lung(self, rng: np.random.Generator, count: int, depth_mm: float = 3.0) -> Array:
        """Points (count, 3) in LPS mm, at least ``depth_mm`` below the pleura."""
        return _points_inside(rng, self.fields["lungs"], count, depth_mm)


@dataclass(frozen=True)
class Build:
    """A patient's measures, mm."""

    half_width: float
    half_depth: float
    apex: float
    base: float
    wall: float
    fat: float
    heart: float
    tilt: float

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Build:
        size = rng.normal(1, 0.06)
        return cls(
            half_width=float(128 * size * rng.normal(1, 0.04)),
            half_depth=float(88 * size * rng.normal(1, 0.05)),
            apex=float(118 * size * rng.normal(1, 0.05)),
            base=float(-72 * size * rng.normal(1, 0.12)),
            wall=float(rng.uniform(17, 26)),
            fat=float(np.clip(rng.gamma(3, 5), 4, 45)),
            heart=float(rng.normal(1, 0.1)),
            tilt=float(rng.normal(0, 0.03)),
        )

    def cavity(self, z: Array | np.float32) -> tuple[Array, Array]:
        """Half width and half depth of the thoracic cavity at height ``z``."""
        rise = np.clip((z + 30) / (self.apex + 34), 0, 1)
        dome = np.sqrt(np.maximum(1 - rise**2.6, 0.0))
        return self.half_width * dome, self.half_depth * (0.25 + 0.75 * dome) * np.minimum(1, dome * 3)


def anatomy_seed(seed: int) -> np.random.Generator:
    """What draws the chest of patient ``seed``; the first it draws is the patient's build."""
    return np.random.default_rng([seed, 11])


@lru_cache(maxsize=4)
def chest_anatomy(seed: int) -> Anatomy:
    """The chest of patient ``seed``; about a second."""
    rng = anatomy_seed(seed)
    build = Build.drawn(rng)
    fields = _organs(rng, build)
    lungs = fields["lungs"]
    tubes = {
        "bones": _ribs(rng, build),
        "great vessels": great_vessels(rng, build),
        "airways": trachea(),
    }
    arteries, veins, bronchi = [], [], []
    for side, carina in ((-1, (-14.0, 12.0, 24.0)), (1, (14.0, 12.0, 22.0))):
        inside = Field(np.minimum(lungs.values, FIELD_GRID.axes[2] * side - 8 + 0 * lungs.values), lungs.grid)
        leaves = _points_inside(rng, inside, int(rng.integers(480, 700)), 2.5)
        hilum = np.array([side * 30.0, 2.0, 12.0])
        calibre = rng.uniform(0.5, 0.68)
        arteries.append(grow_tree(rng, hilum, leaves, calibre))
        drained = _points_inside(rng, inside, int(rng.integers(350, 520)), 3.0)
        veins.append(grow_tree(rng, hilum + [-side * 4, -8, -22], drained, calibre))
        reached = leaves[rng.permutation(len(leaves))[: int(rng.integers(50, 90))]]
        tree = grow_tree(rng, hilum + [-side * 4, 8, 6], reached, 0.75)
        bronchi += [Tubes.along(np.array([carina, hilum + [-side * 4, 8, 6]]), [6.0, 5.0]), tree]
    heart = fields["heart"]
    tubes["pulmonary vessels"] = _outside(Tubes.joined(arteries + veins), heart)
    tubes["bronchi"] = _outside(Tubes.joined(bronchi), heart)
    tubes["scars"] = _scars(rng, lungs)
    tubes["spurs"] = _spurs(rng, build)
    return Anatomy(seed, fields, tubes, float(rng.uniform(110, 260)), float(rng.normal(-868, 22)))


def _points_inside(rng: np.random.Generator, field: Field, count: int, depth_mm: float) -> Array:
    inside = np.argwhere(field.values > depth_mm)
    if not len(inside):
        raise ValueError("no part of the lung lies that deep")
    chosen = inside[rng.integers(len(inside), size=count)] + rng.uniform(-0.5, 0.5, (count, 3))
    zyx = chosen * field.grid.spacing_mm + field.grid.origin_mm
    return zyx[:, ::-1].astype(np.float32)


def _ellipsoid(center: tuple[float, float, float], radii: tuple[float, float, float]) -> Array:
    """About signed distance; ``center`` and ``radii`` are (x, y, z)."""
    z, y, x = FIELD_GRID.axes
    q = np.sqrt(
        ((x - center[0]) / radii[0]) ** 2
        + ((y - center[1]) / radii[1]) ** 2
        + ((z - center[2]) / radii[2]) ** 2
    )
    return (1 - q) * min(radii)


def _organs(rng: np.random.Generator, build: Build) -> dict[str, Field]:
    z, y, x = FIELD_GRID.axes
    y = y + build.tilt * z
    zero = np.zeros(FIELD_GRID.shape, np.float32)

    def rough(amplitude: float, wavelength: float) -> Array:
        return amplitude * smooth_noise(rng, FIELD_GRID, wavelength)

    width, depth = build.cavity(z)
    width, depth = np.maximum(width, 1.0), np.maximum(depth, 1.0)
    ring = (np.abs(x) / width) ** 2.4 + (np.abs(y) / depth) ** 2.2
    cavity = (1 - ring ** (1 / 2.3)) * np.minimum(width, depth) + rough(1.5, 50)

    lean = np.clip((z - 20) / 110, 0, 1)
    outer_w = build.half_width + build.wall + 40 * lean**1.5
    outer_d = build.half_depth + build.wall + 4 - 10 * lean
    shell = ((np.abs(x) / outer_w) ** 2.6 + (np.abs(y - 6) / outer_d) ** 2.4) ** (1 / 2.5)
    muscle = (1 - shell) * np.minimum(outer_w, outer_d) + rough(2, 60)
    belly = build.fat * (1 + 0.5 * np.clip(-y / build.half_depth, -0.6, 1))
    body = muscle + belly + rough(1, 80)

    front, back = build.half_depth * -0.55, build.half_depth * 0.66
    heart_c = (16.0 + rng.normal(0, 4), front * 0.5, build.base + 44 + rng.normal(0, 5))
    heart = _ellipsoid(
        heart_c, (58 * build.heart, 48 * build.heart, 48 * build.heart * rng.uniform(0.95, 1.1))
    ) + rough(2, 50)
    slab_half = 24 + 10 * np.clip((y + 20) / 60, 0, 1) - 14 * np.clip((-y - 20) / 50, 0, 1)
    slab_half = slab_half + 12 * np.clip((z - 40) / 60, 0, 1)
    slab = slab_half - np.abs(x - rng.normal(0, 3)) + rough(3, 40)
    spine_y = back + 8
    column = 1 - np.sqrt((x / 20) ** 2 + ((y - spine_y) / 17) ** 2)
    waist = 1.5 * np.cos(2 * np.pi * z / 25)
    spine = column * 17 + waist
    mediastinum = np.maximum(np.maximum(slab, heart + 3), spine + 6 + zero)

    right = build.base + 22 + rng.normal(0, 5) - ((x + 62) / 68) ** 2 * 24 - (y + 5) ** 2 / 150
    left = build.base + 12 + rng.normal(0, 5) - ((x - 62) / 68) ** 2 * 24 - (y + 5) ** 2 / 150
    floor = np.where(x < 0, right, left) + rough(2.5, 45)
    above = (z - floor) * 0.75
    lungs = np.minimum(np.minimum(cavity, -mediastinum), above)
    abdomen = np.minimum(cavity - 2, -above - 3)
    liver = np.minimum(abdomen, 30 - x + 25 * (z - build.base) / 60 + rough(4, 50))
    spleen = np.minimum(abdomen, _ellipsoid((86, 40, build.base - 18), (36, 44, 44)))
    stomach = np.minimum(abdomen, _ellipsoid((56, -18, build.base - 22), (44, 42, 36)))
    gas = np.minimum(stomach - 3, -28 - y + rng.normal(0, 8))

    angle = y * 0.75 - z * 0.66 + rng.normal(0, 8)
    oblique = angle + 12 + rough(5, 70)
    minor = np.where(x < 0, np.where(oblique < 0, z - 10 + rng.normal(0, 6) + 0.1 * y, 99), 99)
    sternum = np.minimum(
        np.minimum(
            17 - np.abs(x) - 4 * np.clip(-z / 60, 0, 1), 7 - np.abs(y + build.half_depth + 8 - 8 * lean)
        ),
        np.minimum(z + 70, build.apex - 12 - z),
    )
    emphysema = smooth_noise(rng, FIELD_GRID, 45) * rng.choice([8, 15, 45], p=[0.55, 0.3, 0.15])
    fields = {
        "body": body,
        "muscle": muscle,
        "cavity": cavity,
        "lungs": lungs,
        "heart": np.minimum(heart, 0.75 * (z - floor) + 4),
        "abdomen": abdomen,
        "liver": liver,
        "spleen": spleen,
        "stomach": stomach,
        "stomach gas": gas,
        "spine": spine + zero,
        "spinal canal": 9 - np.hypot(x * 0.85, y - spine_y - 25) + zero,
        "posterior arch": 15
        - np.hypot(x * 0.8, y - spine_y - 25)
        + 2.5 * np.cos(2 * np.pi * (z + 8) / 25)
        + zero,
        "disc": 3.2 - 7.96 * np.arccos(np.cos(np.pi * (z + 12.5) / 25)) + zero,
        "oblique fissure": oblique,
        "minor fissure": minor + zero,
        "sternum": sternum + rough(0.8, 30),
        "fat planes": smooth_noise(rng, FIELD_GRID, 30),
        "parenchyma hu": emphysema + 0.22 * (y + 20) + 0.06 * np.clip(-z, -80, 80),
    }
    return {name: Field(np.ascontiguousarray(f, np.float32), FIELD_GRID) for name, f in fields.items()}


def _ribs(rng: np.random.Generator, build: Build) -> Tubes:
    """Twelve pairs of ribs round the cavity, clavicles and shoulder blades."""
    parts = []
    for side in (-1, 1):
        for number in range(12):
            path = rib(rng, build, side, number)
            if len(path) > 3:
                parts.append(Tubes.along(path, rng.uniform(3.6, 4.6)))
                parts.append(Tubes.along(path - [0, 0, 4.0], rng.uniform(3.2, 4.2)))
        tip = build.apex - 4 + rng.normal(0, 4)
        parts.append(
            Tubes.along(
                [
                    (side * 22, -build.half_depth * 0.55, tip - 4),
                    (side * 80, -40, tip + 10),
                    (side * 150, 0, tip + 16),
                ],
                rng.uniform(5, 6.5),
            )
        )
        blade = np.array(
            [(side * 105, 72, tip - 4), (side * 128, 52, tip - 50), (side * 108, 80, tip - 110)], float
        )
        parts += [Tubes.along(blade + [side * shift, -shift * 0.7, 0], 3.0) for shift in (-10, 0, 10, 20)]
    return Tubes.joined(parts)


def rib(rng: np.random.Generator, build: Build, side: int, number: int) -> Array:
    """The course of a rib, points (n, 3) in LPS mm from the spine to the front; ``side`` is -1 on the right.
    Ribs above the cavity's dome have few points or none."""
    top = build.apex - 6 - number * (build.apex - build.base + 70) / 12.5 + rng.normal(0, 1)
    reach = np.linspace(0.06, 0.97 if number < 7 else 0.95 - 0.09 * (number - 6), 26)
    theta = np.pi * reach
    z = top - (38 + 4.5 * number) * (1 - np.cos(theta)) / 2 - 4
    width, depth = build.cavity(z.astype(np.float32))
    gap = 5.5
    x = side * (width + gap) * np.abs(np.sin(theta)) ** 0.83
    y = (depth + gap) * np.cos(theta)
    path: Array = np.stack([x, y, z], 1)[width > 18]
    return path


def great_vessels(rng: np.random.Generator, build: Build) -> Tubes:
    """Aorta, caval and central pulmonary vessels, and small nodes of the mediastinum."""
    back = build.half_depth * 0.66
    wide = rng.normal(1, 0.09)
    jitter = rng.normal(0, 2.5, 3)
    aorta = np.array(
        [
            (-6, -22, -10),
            (-16, -28, 22),
            (-14, -24, 48),
            (-2, -8, 64),
            (12, 14, 64),
            (20, 32, 50),
            (22, 42, 20),
        ]
        + [(18, back - 16, z) for z in np.linspace(-5, -190, 12)],
        float,
    )
    parts = [
        Tubes.along(aorta + jitter, 13.5 * wide),
        Tubes.along([(-26, -18, 110), (-28, -16, 60), (-26, -12, 0), (-24, -14, -20)] + jitter, 9 * wide),
        Tubes.along([(6, -30, -8), (8, -20, 18), (2, 0, 24)] + jitter, 13 * wide),
        Tubes.along([(2, 0, 24), (20, 4, 22), (32, 4, 14)], 9.5 * wide),
        Tubes.along([(2, 0, 24), (-18, 4, 16), (-32, 4, 12)], 9.5 * wide),
        Tubes.along([(-8, -14, 66), (-16, -12, 90), (-34, -10, 130)], 6.0 * wide),
        Tubes.along([(6, 4, 66), (14, 0, 95), (26, -4, 130)], 4.5 * wide),
        Tubes.along([(-60, -30, build.apex - 18), (-26, -20, build.apex - 40)], 6.5 * wide),
        Tubes.along([(64, -30, build.apex - 18), (0, -30, 74), (-26, -20, 60)], 6.0 * wide),
    ]
    nodes = rng.normal((0, 8, 20), (18, 16, 28), (int(rng.integers(3, 14)), 3))
    parts += [Tubes.along([n, n + rng.normal(0, 2, 3)], rng.uniform(1.5, 4.5)) for n in nodes]
    return Tubes.joined(parts)


def trachea() -> Tubes:
    """From the neck to the carina."""
    return Tubes.along([(0, 2, 150), (0, 6, 90), (0, 10, 45), (0, 12, 30)], 8.5)


def _outside(tubes: Tubes, field: Field) -> Tubes:
    keep = (field.at(tubes.starts) < 2) & (field.at(tubes.ends) < 2)
    return Tubes(tubes.starts[keep], tubes.ends[keep], tubes.radii[keep])


def _scars(rng: np.random.Generator, lungs: Field) -> Tubes:
    """Bands of scar and atelectasis, and plaques on the pleura: dense, but long or flat, so not nodules."""
    parts: list[Tubes] = []
    for _ in range(int(rng.poisson(3))):
        start = _points_inside(rng, lungs, 1, 1.0)[0]
        direction = rng.normal(size=3) * (1, 1, 0.5)
        direction /= np.linalg.norm(direction)
        bends = np.cumsum(rng.normal(0, 1.5, (6, 3)), 0)
        path = start + np.linspace(0, rng.uniform(14, 45), 6)[:, None] * direction + bends
        across = np.cross(direction, rng.normal(size=3))
        across /= np.linalg.norm(across)
        width = rng.uniform(0.5, 1.4)
        shifts = range(int(rng.integers(1, 5)))
        parts.extend(Tubes.along(path + shift * width * across, width) for shift in shifts)
    surface = np.argwhere(np.abs(lungs.values) < 1.2)
    for _ in range(int(rng.poisson(2.5))):
        middle = surface[rng.integers(len(surface))] * 4.0 + np.array(lungs.grid.origin_mm)
        near = np.abs(surface * 4.0 + np.array(lungs.grid.origin_mm) - middle).max(1) < rng.uniform(8, 16)
        flat = (surface[near] * 4.0 + np.array(lungs.grid.origin_mm))[:, ::-1]
        if len(flat) > 3:
            parts.append(Tubes.along(flat[np.lexsort(flat.T)], rng.uniform(0.8, 2.2)))
    nothing = np.zeros((0, 3), np.float32)
    return Tubes.joined(parts) if parts else Tubes(nothing, nothing, nothing[:, 0])


def _spurs(rng: np.random.Generator, build: Build) -> Tubes:
    """Bone that bulges into the lung: spurs of the spine, ends of the first ribs, healed fractures."""
    parts = []
    for _ in range(int(rng.poisson(3))):
        side, z = rng.choice([-1, 1]), rng.uniform(-90, 80)
        base = np.array([side * 18, build.half_depth * 0.66 + rng.uniform(-14, 8), z])
        parts.append(
            Tubes.along([base, base + [side * rng.uniform(2, 7), -2, rng.normal(0, 3)]], rng.uniform(2, 4))
        )
    for side in (-1, 1):
        z = build.apex - 42 + rng.normal(0, 5)
        width, depth = (float(v) for v in build.cavity(np.float32(z)))
        end = np.array([side * 0.42 * width, -0.86 * depth, z])
        parts.append(Tubes.along([end, end + [side * 5, 3, 6]], rng.uniform(4, 6.5)))
    for _ in range(int(rng.poisson(1))):
        side, theta, z = rng.choice([-1, 1]), rng.uniform(0.3, 0.8) * np.pi, rng.uniform(-60, 70)
        width, depth = (float(v) for v in build.cavity(np.float32(z)))
        spot = np.array([side * (width + 4) * np.sin(theta), (depth + 4) * np.cos(theta), z])
        parts.append(Tubes.along([spot, spot + rng.normal(0, 2, 3)], rng.uniform(4, 7)))
    return Tubes.joined(parts)
