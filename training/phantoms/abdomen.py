"""What lies below the diaphragm of the same patient: organs as distance fields, vessels and bones as tubes.

Coordinates are those of ``training.phantoms.anatomy``; the body reaches down to the thighs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from training.phantoms.anatomy import Anatomy, Build, anatomy_seed, chest_anatomy
from training.phantoms.bowel import Loop, bowel_loops, colon
from training.phantoms.fields import Array, Field, Grid, smooth_noise
from training.phantoms.tubes import Tubes, grow_tree

ABDOMEN_GRID = Grid.centred((124, 76, 100), (4.0, 4.0, 4.0), (-234.0, 0.0, 0.0))
LOWEST_MM = -470.0
_CHEST_ENDS_MM = -150.0


@dataclass(frozen=True, eq=False)
class Abdomen:
    """Fields hold signed distance in mm, positive inside. ``texture``: unit noise, for organs and fat."""

    chest: Anatomy
    fields: Mapping[str, Field]
    tubes: Mapping[str, Tubes]
    loops: tuple[Loop, ...]
    texture: Field
    organ_hu: Mapping[str, float]


@lru_cache(maxsize=4)
def abdomen_anatomy(seed: int) -> Abdomen:
    """The abdomen and pelvis of patient ``seed``, whose chest is ``chest_anatomy(seed)``; about 3 s."""
    chest = chest_anatomy(seed)
    build = Build.drawn(anatomy_seed(seed))
    rng = np.random.default_rng([seed, 12])
    fields = _organs(rng, build, chest)
    on_grid = {name: Field(np.ascontiguousarray(f, np.float32), ABDOMEN_GRID) for name, f in fields.items()}
    tubes = {
        "vessels": _vessels(rng, build, on_grid["liver"]),
        "veins": _veins(rng, build, on_grid["liver"]),
        "bones": _pelvic_bones(rng),
        "muscles": _muscles(rng, build),
        "glands": _glands(rng, build),
        "nodes": _small_nodes(rng, build, on_grid["cavity"]),
        "calcium": _calcium(rng, build),
    }
    loops = (*bowel_loops(rng, on_grid["loops"]), *colon(rng, build.base, build.half_width))
    noise = Field(smooth_noise(rng, ABDOMEN_GRID, 18), ABDOMEN_GRID)
    organ_hu = {
        "liver": float(rng.normal(57, 9)),
        "spleen": float(rng.normal(48, 4)),
        "kidneys": float(rng.normal(33, 4)),
        "muscle": float(rng.normal(52, 6)),
        "bile": float(rng.uniform(2, 18)),
        "urine": float(rng.uniform(-2, 10)),
    }
    return Abdomen(chest, on_grid, tubes, loops, noise, organ_hu)


def _ellipsoid(center: tuple[float, float, float], radii: tuple[float, float, float]) -> Array:
    """About signed distance; ``center`` and ``radii`` are (x, y, z)."""
    z, y, x = ABDOMEN_GRID.axes
    q = np.sqrt(sum(((a - c) / r) ** 2 for a, c, r in zip((x, y, z), center, radii, strict=True)))
    out: Array = (1 - q) * min(radii)
    return out


def spine_y(build: Build) -> float:
    """Where the middle of the vertebral bodies lies from front to back."""
    return build.half_depth * 0.66 + 8


def _organs(rng: np.random.Generator, build: Build, chest: Anatomy) -> dict[str, Array]:
    z, y, x = ABDOMEN_GRID.axes
    zero = np.zeros(ABDOMEN_GRID.shape, np.float32)
    base, back = build.base, spine_y(build)

    def rough(amplitude: float, wavelength: float) -> Array:
        return amplitude * smooth_noise(rng, ABDOMEN_GRID, wavelength)

    def somewhere(x: float, y: float, z: float, spread: float = 5.0) -> tuple[float, float, float]:
        moved = rng.normal((x, y, z), spread)
        return float(moved[0]), float(moved[1]), float(moved[2])

    def sized(*radii: float) -> tuple[float, float, float]:
        a, b, c = (float(r) for r in np.array(radii) * rng.normal(1, 0.1) * rng.normal(1, 0.06, 3))
        return a, b, c

    belly = chest.fields["abdomen"].on(ABDOMEN_GRID)
    narrow = np.clip((-290 - z) / 130, 0, 1)
    pelvis = 1 - np.hypot(x / (build.half_width - 62 * narrow), (y - 4) / (build.half_depth - 26 * narrow))
    cavity = np.minimum(belly, pelvis * 70 + 60 * np.clip((z + 330) / 40, 0, 1) + rough(1.5, 40))
    cavity = np.minimum(cavity, z + 445)
    right = _ellipsoid(somewhere(-62, -6, base - 38), sized(84, 84, 92)) + rough(5, 45)
    left = _ellipsoid(somewhere(8, -42, base - 26), sized(62, 32, 36))
    liver = np.minimum(np.maximum(right, left), np.minimum(cavity - 2, 70 - x + zero))
    spleen = np.minimum(
        cavity - 3, _ellipsoid(somewhere(88, 34, base - 34), sized(27, 46, 52)) + rough(3, 30)
    )
    stomach = np.minimum(
        cavity - 3, _ellipsoid(somewhere(46, -26, base - 36), sized(42, 34, 48)) + rough(4, 30)
    )
    stomach = np.minimum(stomach, np.minimum(-liver, -spleen) - 1)
    kidneys, sinus = zero - 99, zero - 99
    for side in (-1, 1):
        middle = somewhere(side * 62, back - 20, base - 108 - (side < 0) * 12, 4)
        size = sized(28, 26, 54)
        kidneys = np.maximum(kidneys, _ellipsoid(middle, size) + rough(1.5, 22))
        core = (middle[0] - side * 10, middle[1] - 4, middle[2])
        sinus = np.maximum(sinus, _ellipsoid(core, (13, 9, 0.5 * size[2])) + rough(2, 14))
    liver = np.minimum(liver, -kidneys - 1)
    column = 1 - np.sqrt((x / 23) ** 2 + ((y - back) / 18) ** 2)
    liver, spleen = (np.minimum(organ, -column * 18 - 4) for organ in (liver, spleen))
    gallbladder = _ellipsoid(somewhere(-42, -44, base - 98, 6), sized(14, 14, 27))
    gallbladder = gallbladder if rng.random() < 0.8 else zero - 99
    bladder = _ellipsoid(somewhere(0, -30, -400), sized(34, 28, 26 * float(rng.uniform(0.5, 1.3))))
    middle_pelvis = _ellipsoid(somewhere(0, 16, -404, 4), sized(25, 19, 22)) + rough(2, 18)
    spine = column * 18 + 1.5 * np.cos(2 * np.pi * z / 25)
    sacrum = _ellipsoid((0.0, back + 8, -318.0), (50.0, 17.0, 56.0)) + rough(1, 20)
    below = np.minimum(z + 275, -z - 140)
    mesentery = np.minimum(np.minimum(cavity - 16, -26 - y + 50), np.minimum(-liver, -spleen) - 12)
    mesentery = np.minimum(np.minimum(mesentery, -kidneys - 14), np.minimum(-bladder - 8, base - 60 - z))
    mesentery = np.minimum(mesentery, np.minimum(-spine - 14, z + 400))
    return {
        "belly": belly,
        "cavity": cavity,
        "liver": liver,
        "spleen": spleen,
        "stomach": stomach,
        "stomach wall": stomach - 3.5,
        "stomach gas": np.minimum(stomach - 4, -34 - y + float(rng.normal(0, 9))),
        "kidneys": kidneys,
        "sinus": sinus,
        "gallbladder": gallbladder,
        "bladder": bladder,
        "middle pelvis": middle_pelvis,
        "spine": np.minimum(spine, below),
        "sacrum": sacrum,
        "canal": np.minimum(8 - np.hypot(x * 0.85, y - back - 26), below),
        "arch": np.minimum(
            15 - np.hypot(x * 0.8, y - back - 26) + 2.5 * np.cos(2 * np.pi * (z + 8) / 25), below
        ),
        "disc": np.minimum(3.4 - 7.96 * np.arccos(np.cos(np.pi * (z + 12.5) / 25)) + zero, below),
        "loops": mesentery,
    }


def _aorta(build: Build) -> Array:
    """From the diaphragm to the bifurcation, points (n, 3)."""
    back = build.half_depth * 0.66
    z = np.linspace(build.base - 20, -262, 12)
    x = np.linspace(18, 6, 12)
    y = np.full(12, back - 16)
    return np.stack([x, y, z], 1)


def _vessels(rng: np.random.Generator, build: Build, liver: Field) -> Tubes:
    """Arteries: aorta, iliac, coeliac and mesenteric arteries, with their branches."""
    aorta = _aorta(build)
    fork, base = aorta[-1], build.base
    wide = float(rng.normal(1, 0.12))
    parts = [Tubes.along(aorta + rng.normal(0, 0.8, aorta.shape), np.linspace(12, 8.5, 12) * wide)]
    for side in (-1, 1):
        iliac = np.array(
            [
                fork,
                (side * 30, 24, -305),
                (side * 58, 10, -352),
                (side * 78, -34, -410),
                (side * 84, -48, -480),
            ]
        )
        parts.append(Tubes.along(iliac + rng.normal(0, 3, iliac.shape) * (iliac != fork), 5.2 * wide))
        parts.append(Tubes.along([iliac[1], (side * 44, 44, -345), (side * 40, 40, -390)], 3.6 * wide))
        parts.append(Tubes.along([aorta[4], (side * 42, spine_y(build) - 18, base - 106)], 3.0))
        parts.append(Tubes.along([(side * 100, 40, base - 60), (side * 50, 40, -300)], 1.5))
    coeliac, mesenteric = aorta[2] + (0, -12, 0), aorta[3] + (0, -12, 0)
    parts.append(Tubes.along([aorta[2], coeliac, (70, 20, base - 40)], [4.5, 4.0, 3.0]))
    parts.append(Tubes.along([coeliac, (-30, -10, base - 60)], [4.0, 3.0]))
    spread = rng.normal((0, -30, -230), (45, 18, 55), (int(rng.integers(90, 160)), 3)).astype(np.float32)
    parts.append(grow_tree(rng, mesenteric, spread, float(rng.uniform(0.7, 1.0))))
    return Tubes.joined(parts)


def _veins(rng: np.random.Generator, build: Build, liver: Field) -> Tubes:
    """The inferior vena cava with its iliac veins, portal and hepatic veins, mesenteric veins."""
    back, base = build.half_depth * 0.66, build.base
    wide = float(rng.normal(1, 0.15))
    cava = np.stack([np.full(10, -20.0), np.full(10, back - 14), np.linspace(base + 6, -268, 10)], 1)
    parts = [Tubes.along(cava + rng.normal(0, 1, cava.shape), 10.5 * wide)]
    for side in (-1, 1):
        course = [
            (side * 34, 34, -312),
            (side * 64, 20, -360),
            (side * 70, -28, -412),
            (side * 74, -42, -480),
        ]
        parts.append(Tubes.along(np.vstack([cava[-1], course]), 6.5 * wide))
        parts.append(Tubes.along(np.vstack([cava[4], (side * 40, back - 12, base - 104)]), 4.5))
    hilum = np.array([-30.0, -2.0, base - 62])
    leaves = _inside(rng, liver, int(rng.integers(120, 220)), 5.0)
    parts.append(grow_tree(rng, hilum, leaves, float(rng.uniform(0.9, 1.3))))
    parts.append(grow_tree(rng, cava[0] + (0, -6, -4), _inside(rng, liver, 60, 8.0), 1.3))
    parts.append(Tubes.along(np.vstack([hilum, (-4, 4, base - 80), (60, 22, base - 48)]), [7.0, 6.5, 4.5]))
    parts.append(Tubes.along([(-4, 4, base - 80), (-6, -8, base - 130), (0, -22, -230)], [6.0, 5.0, 3.5]))
    spread = rng.normal((0, -28, -225), (45, 18, 55), (int(rng.integers(60, 110)), 3)).astype(np.float32)
    parts.append(grow_tree(rng, (-6, -8, base - 130), spread, float(rng.uniform(0.9, 1.2))))
    return Tubes.joined(parts)


def _inside(rng: np.random.Generator, field: Field, count: int, depth_mm: float) -> Array:
    index = np.argwhere(field.values > depth_mm)
    chosen = index[rng.integers(len(index), size=count)] + rng.uniform(-0.5, 0.5, (count, 3))
    points = chosen * field.grid.spacing_mm + field.grid.origin_mm
    return points[:, ::-1].astype(np.float32)


def _pelvic_bones(rng: np.random.Generator) -> Tubes:
    """Iliac wings, hips, thighs, pubic and sitting bones."""
    parts = []
    for side in (-1, 1):
        root = np.array([side * 44, 62, -300])
        for share in np.linspace(0, 1, 15):
            crest = np.array([side * (62 + 56 * share), 70 - 78 * share**1.3, -226 - 26 * abs(share - 0.4)])
            socket = np.array([side * (58 + 32 * share), 52 - 42 * share, -318 - 24 * share])
            parts.append(Tubes.along([crest, (crest + socket) / 2 + (side * -5, 2, 0), socket], 4.2))
        parts.append(Tubes.along(np.vstack([root, (side * 72, 34, -335), (side * 88, 4, -362)]), 9.0))
        parts.append(Tubes.along([(side * 76, -8, -364), (side * 40, -46, -388), (side * 7, -56, -398)], 7.0))
        parts.append(Tubes.along([(side * 80, 20, -372), (side * 62, 36, -425), (side * 30, -20, -432)], 8.5))
        parts.append(Tubes.along([(side * 30, -20, -432), (side * 8, -50, -408)], 6.0))
        head = np.array([side * 94, 2, -374])
        parts.append(Tubes.along([head, head + (side * 2, 0, -2)], 22.0))
        parts.append(
            Tubes.along([head, head + (side * 40, 8, -26), head + (side * 38, 6, -120)], [16.0, 18.0, 14.0])
        )
    return Tubes.joined(parts)


def _muscles(rng: np.random.Generator, build: Build) -> Tubes:
    back = spine_y(build)
    wide = float(rng.normal(1, 0.15))
    parts = []
    for side in (-1, 1):
        psoas = [(side * 32, back, -150), (side * 44, back - 6, -230), (side * 62, 18, -330)]
        parts.append(Tubes.along([*psoas, (side * 76, -18, -380)], np.array([9.0, 16, 18, 13]) * wide))
        quadratus = [(side * 70, back + 6, -150), (side * 76, back + 4, -225)]
        parts.append(Tubes.along(quadratus, 11 * wide))
        parts.append(Tubes.along([(side * 70, 44, -250), (side * 82, 14, -330)], 9.0))
        crus = [(side * 14, back - 24, build.base - 10), (side * 12, back - 20, build.base - 110)]
        parts.append(Tubes.along(crus, rng.uniform(2.5, 5.0)))
    return Tubes.joined(parts)


def _glands(rng: np.random.Generator, build: Build) -> Tubes:
    """The pancreas and the adrenal glands."""
    base, back = build.base, spine_y(build)
    pancreas = np.array(
        [
            (-28, 2, base - 104),
            (-20, -8, base - 88),
            (8, -12, base - 80),
            (36, 0, base - 70),
            (64, 20, base - 58),
        ]
    )
    pancreas = pancreas + rng.normal(0, 3, pancreas.shape)
    parts = [Tubes.along(pancreas, np.array([13.0, 10, 8, 8, 7]) * rng.normal(1, 0.15))]
    parts += [
        Tubes.along([p + rng.normal(0, 5, 3), p + rng.normal(0, 6, 3)], rng.uniform(3, 6)) for p in pancreas
    ]
    for side in (-1, 1):
        top = np.array([side * 38, back - 26, base - 58]) + rng.normal(0, 4, 3)
        for limb in ((side * 10, 12, -16), (side * -2, 14, -16)):
            parts.append(Tubes.along([top, top + limb], rng.uniform(1.8, 3.4)))
    return Tubes.joined(parts)


def _small_nodes(rng: np.random.Generator, build: Build, cavity: Field) -> Tubes:
    """Lymph nodes of normal size, in the mesentery, beside the great vessels and in the groins: below 10 mm
    across their short axis, so nothing to report."""
    aorta = _aorta(build)
    beside = aorta[rng.integers(3, 12, 10)] + rng.normal((0, -4, 0), (22, 6, 8), (10, 3))
    groin = rng.normal((0, -62, -415), (6, 6, 16), (8, 3)) + rng.choice([-82, 82], 8)[:, None] * (1, 0, 0)
    mesenteric = rng.normal((0, -25, -220), (40, 18, 40), (int(rng.integers(6, 22)), 3))
    iliac = rng.normal((0, 14, -340), (6, 12, 22), (8, 3)) + rng.choice([-62, 62], 8)[:, None] * (1, 0, 0)
    places = np.concatenate([beside, groin, mesenteric, iliac])
    return Tubes.joined([Tubes.along([at, at + rng.normal(0, 3, 3)], rng.uniform(1.5, 3.9)) for at in places])


def _calcium(rng: np.random.Generator, build: Build) -> Tubes:
    """Plaques in the wall of the aorta and its branches; phleboliths in the pelvis."""
    aorta = _aorta(build)
    spots = [Tubes.along([(0, 0, -900), (0, 0, -901)], 0.5)]
    for _ in range(int(rng.poisson(6))):
        turn = rng.uniform(0, 2 * np.pi)
        at = aorta[rng.integers(len(aorta))] + (9 * np.cos(turn), 9 * np.sin(turn), rng.normal(0, 8))
        spots.append(Tubes.along([at, at + rng.normal(0, 2, 3)], rng.uniform(0.6, 2.0)))
    for _ in range(int(rng.poisson(2))):
        at = rng.normal((0, 20, -400), (40, 14, 18))
        spots.append(Tubes.along([at, at + rng.normal(0, 0.8, 3)], rng.uniform(1.0, 2.6)))
    return Tubes.joined(spots)


__all__ = ["ABDOMEN_GRID", "LOWEST_MM", "Abdomen", "abdomen_anatomy", "spine_y"]
