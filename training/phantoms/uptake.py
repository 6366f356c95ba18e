"""Where healthy tissue takes up FDG: a patient's physiology, painted over an anatomy.

Activity is in SUV of body weight, g/ml, before the scanner's blur and noise. Uptake that the chest's anatomy
has no organ for (kidneys, larynx, brown fat, bowel, the brain or the bladder at the edge of the field) is
drawn here, into the activity and where it shows into the CT as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from inference.findings import Point
from training.phantoms.anatomy import Anatomy
from training.phantoms.fields import Array, Field, Grid, coverage, smooth_noise
from training.phantoms.tubes import Tubes

_FAT_HU, _KIDNEY_HU, _BRAIN_HU, _SKULL_HU, _URINE_HU = -95.0, 32.0, 34.0, 800.0, 8.0


@dataclass(frozen=True)
class Focus:
    """An ellipsoid that is hot by nature. ``radii_mm``: (x, y, z). ``hu``: its density, None for that of
    what lies there."""

    center_mm: Point
    radii_mm: Point
    suv: float
    hu: float | None = None


@dataclass(frozen=True)
class Physiology:
    """SUV of one patient's tissues at the time of the scan.

    foci, ducts: hot places and hot tubes (each with its SUV) the anatomy has no organ for.
    unevenness: relative deviation of uptake within a tissue. seed: of its pattern.
    """

    blood: float
    liver: float
    spleen: float
    marrow: float
    muscle: float
    fat: float
    lung: float
    myocardium: float
    stomach: float
    unevenness: float
    foci: tuple[Focus, ...]
    ducts: tuple[tuple[Tubes, float, float | None], ...]
    seed: int

    @classmethod
    def drawn(cls, rng: np.random.Generator, anatomy: Anatomy, shifted: bool = False) -> Self:
        """As nuclear medicine sees it an hour or two after injection. ``shifted``: late, after a meal, or
        under growth factors: colder blood, brighter heart, muscle and marrow."""
        late = rng.uniform(0, 1) if not shifted else rng.uniform(0.8, 1.4)
        bright = 1.5 if shifted else 1.0

        def about(middle: float, spread: float) -> float:
            return float(middle * np.exp(rng.normal(0, spread)))

        heart = about(1.8, 0.25) if rng.random() < 0.35 else about(5.5, 0.45) * bright
        marrow = about(1.3, 0.2) if rng.random() < 0.9 else about(3.0, 0.25)
        foci = [*_kidneys(rng), *_neck(rng, anatomy), *_edges(rng), *_spots(rng, anatomy)]
        return cls(
            blood=about(1.9 - 0.8 * late, 0.12),
            liver=about(2.3 - 0.3 * late, 0.18),
            spleen=about(1.8, 0.18),
            marrow=marrow * bright**0.5,
            muscle=about(0.75, 0.18) * bright,
            fat=about(0.32, 0.25),
            lung=about(0.5, 0.2),
            myocardium=heart,
            stomach=about(2.0, 0.35),
            unevenness=float(rng.uniform(0.05, 0.2)),
            foci=tuple(foci),
            ducts=tuple(_ducts(rng, anatomy)),
            seed=int(rng.integers(2**31)),
        )


def activity(anatomy: Anatomy, grid: Grid, physiology: Physiology) -> Array:
    """SUV on ``grid``, sharp and free of noise."""
    p = physiology
    out = np.zeros(grid.shape, np.float32)
    edge = float(np.mean(grid.spacing_mm))

    def organ(name: str, value: float, shrunk_mm: float = 0.0) -> None:
        filled = coverage(_read(anatomy.fields[name], grid) - np.float32(shrunk_mm), edge)
        out[...] += filled * (np.float32(value) - out)

    organ("body", 0.6 * p.muscle)
    organ("body", p.fat, 2.0)
    organ("muscle", p.muscle)
    organ("cavity", 0.65 * p.blood, -1.0)
    organ("abdomen", 0.35 + p.fat)
    organ("stomach", p.stomach)
    organ("stomach", 0.5 * p.stomach, 9.0)
    organ("liver", p.liver)
    organ("spleen", p.spleen)
    _heart(anatomy, grid, p, out, edge)
    organ("spine", p.marrow)
    organ("spinal canal", 1.1)
    organ("sternum", 0.8 * p.marrow)
    _lay(out, anatomy.tubes["great vessels"].fill(grid), p.blood)
    organ("lungs", p.lung)
    _lay(out, 0.6 * anatomy.tubes["pulmonary vessels"].fill(grid), p.blood)
    _lay(out, 0.8 * anatomy.tubes["bones"].fill(grid), 0.7 * p.marrow)
    _lay(out, anatomy.tubes["airways"].fill(grid), 0.1)
    body = coverage(_read(anatomy.fields["body"], grid), edge)
    rng = np.random.default_rng([p.seed, 71])
    out *= np.exp(np.float32(p.unevenness) * smooth_noise(rng, grid, 28))
    for tubes, suv, _ in p.ducts:
        _lay(out, tubes.fill(grid) * body, suv)
    for focus in p.foci:
        box, filled = _filled(focus, grid)
        _lay(out[box], filled, focus.suv)
    return out


def into_ct(hu: Array, grid: Grid, physiology: Physiology) -> None:
    """Draw, in place, what of the physiology a CT shows and the anatomy has not."""
    for tubes, _, density in physiology.ducts:
        if density is not None:
            inside = tubes.fill(grid) * (hu > -300)
            _lay(hu, inside, density)
    for focus in physiology.foci:
        if focus.hu is not None:
            box, filled = _filled(focus, grid)
            _lay(hu[box], filled, focus.hu)


def _read(field: Field, grid: Grid) -> Array:
    """``field.on(grid)``, at once where ``grid`` is a part of the field's own."""
    start = [
        (o - fo) / s for o, fo, s in zip(grid.origin_mm, field.grid.origin_mm, grid.spacing_mm, strict=True)
    ]
    first = np.rint(start).astype(int)
    last = first + grid.shape
    if (
        grid.spacing_mm != field.grid.spacing_mm
        or np.abs(start - first).max() > 1e-3
        or first.min() < 0
        or (last > field.grid.shape).any()
    ):
        return field.on(grid)
    return field.values[tuple(map(slice, first, last))]


def _heart(anatomy: Anatomy, grid: Grid, p: Physiology, out: Array, edge: float) -> None:
    """The wall of the left ventricle, brighter here and darker there, round blood; the right side is thin
    and takes up less."""
    field = _read(anatomy.fields["heart"], grid)
    inside = np.argwhere(anatomy.fields["heart"].values > 0)
    if not len(inside):
        return
    source = anatomy.fields["heart"].grid
    middle = inside.mean(0) * source.spacing_mm + source.origin_mm
    _, y, x = grid.axes
    left = 1 / (1 + np.exp(-((x - middle[2]) * 0.6 + (y - middle[1]) * 0.5 - 4) / 8))
    rng = np.random.default_rng([p.seed, 72])
    pattern = np.clip(0.75 + 0.35 * smooth_noise(rng, grid, 70), 0.15, 1.4) * (0.25 + 0.75 * left)
    wall = coverage(field, edge) - coverage(field - np.float32(11), edge)
    out += coverage(field, edge) * (np.float32(p.blood) - out)
    out += np.clip(wall, 0, 1) * np.maximum(np.float32(p.myocardium) * pattern - out, 0)


def _lay(out: Array, filled: Array, value: float) -> None:
    out += filled * (np.float32(value) - out)


def _filled(focus: Focus, grid: Grid) -> tuple[tuple[slice, slice, slice], Array]:
    reach = np.array(focus.radii_mm[::-1]) + 6
    middle = np.array(focus.center_mm[::-1])
    box = grid.box_around(middle - reach, middle + reach)
    here = grid.part(box)
    z, y, x = here.axes
    (cx, cy, cz), (rx, ry, rz) = focus.center_mm, focus.radii_mm
    q = np.sqrt(((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 + ((z - cz) / rz) ** 2)
    return box, coverage((1 - q) * np.float32(min(focus.radii_mm)), float(np.mean(grid.spacing_mm)))


def _kidneys(rng: np.random.Generator) -> list[Focus]:
    """Cortex, sinus of fat, and urine in the calyces, anywhere from drained to full."""
    foci = []
    full = rng.lognormal(np.log(12), 0.6)
    for side in (-1, 1):
        x, y, z = side * rng.normal(58, 5), rng.normal(42, 6), rng.normal(-152, 9)
        cortex = float(rng.uniform(2.0, 3.6))
        foci.append(Focus((x, y, z), (25.0, 25.0, 48.0), cortex, _KIDNEY_HU))
        foci.append(Focus((x - side * 6, y, z), (11.0, 11.0, 26.0), 1.5, _FAT_HU + 60))
        for _ in range(int(rng.integers(2, 7))):
            at = (x + rng.normal(-side * 5, 6), y + rng.normal(0, 5), z + rng.normal(0, 16))
            size = float(rng.uniform(3.5, 8))
            suv = float(full * np.exp(rng.normal(0, 0.4)))
            foci.append(Focus(at, (size, size, size * float(rng.uniform(1, 1.8))), suv, _URINE_HU))
    return foci


def _neck(rng: np.random.Generator, anatomy: Anatomy) -> list[Focus]:
    """Larynx and thyroid, and brown fat or tense muscle in pairs about the shoulders."""
    foci = []
    voice = rng.lognormal(np.log(2.6), 0.6)
    z = float(rng.uniform(148, 178))
    foci.append(Focus((0.0, 2.0, z + 6), (8.0, 8.0, 45.0), 0.1, -980.0))
    for side in (-1, 1):
        lobe = rng.lognormal(np.log(1.6), 0.5)
        foci.append(Focus((side * 17.0, 0.0, float(z - 26)), (8.0, 9.0, 20.0), float(lobe), 95.0))
        suv = float(voice * rng.uniform(0.8, 1.25))
        foci.append(Focus((side * 8.0, -4.0, z), (4.5, 10.0, 7.0), suv, 45.0))
    kind = rng.choice(["none", "brown fat", "muscle"], p=[0.62, 0.24, 0.14])
    if kind == "none":
        return foci
    suv = float(rng.lognormal(np.log(5.0 if kind == "brown fat" else 3.0), 0.45))
    for _ in range(int(rng.integers(1, 5))):
        x, y, z = float(rng.uniform(35, 100)), float(rng.uniform(-20, 45)), float(rng.uniform(95, 170))
        for side in (-1, 1):
            at = (side * x + rng.normal(0, 4), y + rng.normal(0, 4), z + rng.normal(0, 5))
            if float(anatomy.fields["lungs"].at([at])[0]) > -12:
                continue
            radii = (rng.uniform(4, 9), rng.uniform(4, 9), rng.uniform(6, 18))
            its = float(suv * np.exp(rng.normal(0, 0.25)))
            foci.append(Focus(at, radii, its, _FAT_HU if kind == "brown fat" else 55.0))
    return foci


def _edges(rng: np.random.Generator) -> list[Focus]:
    """The brain that reaches in from above, or the bladder from below, as a field may cut them."""
    foci = []
    if rng.random() < 0.2:
        z, tall = float(rng.uniform(190, 225)), float(rng.uniform(55, 75))
        foci.append(Focus((0.0, 5.0, z), (76.0, 92.0, tall + 8), 0.6, _SKULL_HU))
        foci.append(Focus((0.0, 5.0, z), (68.0, 84.0, tall), float(rng.uniform(5, 11)), _BRAIN_HU))
    if rng.random() < 0.15:
        z, wide = float(rng.uniform(-225, -195)), float(rng.uniform(25, 45))
        suv = float(rng.lognormal(np.log(15), 0.5))
        foci.append(Focus((0.0, -20.0, z), (wide, 0.8 * wide, 0.8 * wide), suv, _URINE_HU))
    return foci


def _spots(rng: np.random.Generator, anatomy: Anatomy) -> list[Focus]:
    """Small things: the cardia, worn joints of the spine and shoulders, nipples, clots of noise."""
    foci = []
    if rng.random() < 0.35:
        foci.append(Focus((8.0, 22.0, float(rng.normal(-62, 8))), (7.0, 7.0, 9.0), float(rng.uniform(2, 5))))
    spine = np.argwhere(anatomy.fields["spine"].values > 1)
    source = anatomy.fields["spine"].grid
    for _ in range(int(rng.poisson(0.8))):
        at = spine[rng.integers(len(spine))] * np.array(source.spacing_mm) + source.origin_mm
        side = float(rng.choice([-1, 1]))
        place = (side * float(rng.uniform(16, 30)), float(at[1] + 14), float(at[0]))
        suv = float(rng.lognormal(np.log(2.8), 0.3))
        foci.append(Focus(place, (4.0, 5.0, 5.0), suv, 450.0))
    for side in (-1, 1):
        if rng.random() < 0.25:
            place = (
                side * float(rng.uniform(140, 165)),
                float(rng.uniform(-5, 15)),
                float(rng.uniform(95, 125)),
            )
            foci.append(Focus(place, (12.0, 12.0, 14.0), float(rng.uniform(1.5, 3.2)), 300.0))
    return foci


def _ducts(rng: np.random.Generator, anatomy: Anatomy) -> list[tuple[Tubes, float, float | None]]:
    """Bowel that wanders through the abdomen, the gullet, and the ureters; each with SUV and HU."""
    ducts: list[tuple[Tubes, float, float | None]] = []
    room = np.argwhere(anatomy.fields["abdomen"].values > 12)
    liver = anatomy.fields["liver"].values
    room = room[liver[tuple(room.T)] < -4] if len(room) else room
    source = anatomy.fields["abdomen"].grid
    loops = int(rng.integers(2, 6)) if len(room) else 0
    level = rng.lognormal(np.log(2.0), 0.55)
    for _ in range(loops):
        near = room[rng.integers(len(room))]
        close = room[np.abs(room - near).max(1) < 16]
        path = close[rng.integers(len(close), size=6)] * np.array(source.spacing_mm) + source.origin_mm
        path = path[np.argsort(path @ rng.normal(size=3))][:, ::-1]
        suv = float(level * np.exp(rng.normal(0, 0.35)))
        ducts.append((Tubes.along(path, rng.uniform(6, 11)), suv, 20.0))
    gullet = [(3.0, 26.0, 100.0), (4.0, 30.0, 40.0), (8.0, 36.0, 0.0), (10.0, 30.0, -60.0)]
    ducts.append((Tubes.along(gullet, 5.5), float(rng.lognormal(np.log(1.7), 0.3)), None))
    for side in (-1, 1):
        if rng.random() < 0.5:
            z = float(rng.uniform(-198, -185))
            path = [(side * 46.0, 38.0, z + 26), (side * 42.0, 36.0, z), (side * 40.0, 34.0, z - 30)]
            ducts.append((Tubes.along(path, 3.0), float(rng.lognormal(np.log(9), 0.6)), None))
    return ducts
