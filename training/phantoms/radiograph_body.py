"""What a beam passes in a chest, from the measures of ``training.phantoms.anatomy``: millimetres of tissue,
air and bone behind each pixel of a detector.

Organs that are smooth are integrated in closed form at the depth where their edge lies; ribs, vessels and
airways are the tubes of the anatomy, thrown on the detector one by one.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from training.phantoms.anatomy import Build, great_vessels, trachea
from training.phantoms.fields import Array
from training.phantoms.radiograph_beam import Beam
from training.phantoms.radiograph_bones import bones
from training.phantoms.radiograph_patient import SIDES, Breathing, Change, Patient, Pose
from training.phantoms.tubes import Tubes, grow_tree

_HEART_Y = -18.0
_OUTLINED = 0.6
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Thorax:
    """Maps of (rows, columns), lungs (2, rows, columns) for the right and the left.

    x, z: LPS mm in the middle of the chest. soft: path in all but bone and air, mm of water. bone: path in
    compact bone, mm. air: aerated lung behind each pixel, mm. lungs: their outlines, with the part behind the
    heart. across: from the midline (0) to the ribs (1). above: mm over the diaphragm, level: over the
    top of its dome. high: from the diaphragm (0) to the apex (1). supine: whether the patient lies.
    """

    patient: Patient
    beam: Beam
    x: Array
    z: Array
    soft: Array
    bone: Array
    air: Array
    lungs: Mask
    heart: Mask
    across: Array
    above: Array
    level: Array
    high: Array
    supine: bool


def thorax(patient: Patient, pose: Pose, beam: Beam, change: Change) -> Thorax:
    """``patient`` as ``beam`` passes."""
    rng = np.random.default_rng([patient.seed, 82])
    build = Breathing(**asdict(patient.build) | {"base": patient.build.base + pose.breath})
    x, z = (np.broadcast_to(axis, beam.shape) for axis in beam.plane(0.0))
    ripple = _ripple(rng, beam.shape)
    x, z = x + 2.5 * ripple[0], z + 2.5 * ripple[1]
    middle = change.pulled * np.clip((build.apex - z) / 150, 0, 1) + 3 * ripple[2]

    air, outlines, above, level = _lungs(patient, build, change, x, z, middle)
    width, _ = build.cavity(z)
    across = np.clip(np.abs(x - middle) / np.maximum(width, 1), 0, 1.2)
    heart_depth, heart = _heart(patient, build, change, pose, beam)
    in_lungs = air.sum(0)
    vessels = beam.through((_moved(great_vessels(rng, build), change.pulled), 1.0))
    resting = np.clip(heart_depth / 60, 0, 1) * np.clip(1 - above / 22, 0, 1)
    inside = np.maximum(heart_depth + np.minimum(vessels, 60), resting * in_lungs)
    inside = np.minimum(inside, 0.97 * in_lungs)
    left_air = air * (1 - inside / np.maximum(in_lungs, 1e-3))

    body = _body(build, pose, x, z, ripple)
    grain = (
        0.12 * ripple[3]
        + 0.1 * waves(rng, (1, *beam.shape), 40)[0]
        + 0.14 * waves(rng, (1, *beam.shape), 90)[0]
    )
    soft = body - (1 - patient.lung * (1 + grain)) * left_air.sum(0)
    soft -= _gas(rng, patient, build, change, pose, beam)
    tree = _tree(rng, patient, build, change, pose, min(1.0, beam.shape[1] / 200))
    soft += 0.9 * np.minimum(beam.through((tree, 1.0)), 0.5 * left_air.sum(0))
    if patient.breasts:
        soft += _breasts(rng, patient, build, pose, beam)
    bone = patient.bone * bones(rng, patient, build, pose, beam)
    airway = (_moved(trachea(), change.pulled), -0.95)
    soft += beam.through(
        airway, *(_arms(np.random.default_rng([patient.seed, 84]), build) if pose.arms else ())
    )
    rise = np.maximum(build.apex - z + above, 60)
    return Thorax(
        patient=patient,
        beam=beam,
        x=x - middle,
        z=z,
        soft=np.maximum(soft, 0),
        bone=bone,
        air=left_air,
        lungs=outlines,
        heart=heart,
        across=across,
        above=above,
        level=level,
        supine=pose.supine,
        high=np.clip(above / rise, -0.2, 1),
    )


def _ripple(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    """Four maps of smooth noise of unit spread."""
    return waves(rng, (4, *shape), 9)


def waves(rng: np.random.Generator, shape: tuple[int, ...], knots: int) -> Array:
    """Maps (n, rows, columns) of smooth noise of about unit spread with ``knots`` bumps along each side."""
    coarse = rng.standard_normal((shape[0], knots + 3, knots + 3)).astype(np.float32)
    down, right = (_spline(n, knots) for n in shape[1:])
    return np.asarray(np.matmul(np.matmul(down, coarse), right.T) * 1.9, np.float32)


@lru_cache(maxsize=32)
def _spline(count: int, knots: int) -> Array:
    """(count, knots + 3): the cubic B-splines at ``count`` places over ``knots`` bumps."""
    at = np.linspace(0, knots - 1e-4, count)[:, None] - (np.arange(knots + 3)[None] - 1)
    t = np.abs(at)
    near, far = 2 / 3 - t**2 + t**3 / 2, (2 - t) ** 3 / 6
    return np.where(t < 1, near, np.where(t < 2, far, 0)).astype(np.float32)


def _moved(tubes: Tubes, by: float) -> Tubes:
    step = np.array([by, 0, 0], np.float32)
    return Tubes(tubes.starts + step, tubes.ends + step, tubes.radii)


def _lungs(
    patient: Patient, build: Build, change: Change, x: Array, z: Array, middle: Array
) -> tuple[Array, Mask, Array, Array]:
    """Air and outlines (2, rows, columns), mm over the diaphragm, and mm over the top of its dome. Below
    that the lung goes on behind it, and less so before it.

    Beside the spine an outline ends where less than ``_OUTLINED`` of a ray's depth is lung, as whoever draws
    lungs on films leaves the part behind the mediastinum out: in 83 films with masks (ieee8023 collection,
    V7) the lungs lie 0.13 to 0.17 of the chest's width apart (medians from a tenth to seven tenths of their
    height), here 0.14 to 0.16.
    """
    width, depth = build.cavity(z)
    across = np.clip(np.abs(x) / np.maximum(width, 1), 0, 1)
    half = depth * (1 - across**2.4) ** (1 / 2.2) * (width > 8)
    off = np.abs(x - middle)
    waist = np.clip((z - 30) / 60, 0, 1)
    air, outlines, heights, levels = [], [], [], []
    for side, dome, raised in zip(SIDES, patient.domes, change.raised, strict=True):
        place = np.abs(x) / build.half_width
        drop = 70 * np.abs(place - 0.42) ** 2 + 24 * np.clip((place - 0.6) / 0.4, 0, 1) ** 2
        floor = build.base + dome + raised - drop
        above = z - floor
        behind = np.sqrt(500 * np.maximum(-above, 0))
        chord = np.where(
            above > 0, 2 * half, np.maximum(half + 5 - behind, 0) + np.maximum(half - 8 - behind, 0)
        )
        here = (x - middle) * side > 0
        border = 12 + (3 if side > 0 else 0) - 2 * waist
        near = np.clip((off - border + 6) / 22, 0, 1)
        share = near**2 * (3 - 2 * near)
        air.append(chord * here * share)
        outlines.append(here & (half > 10) & (above > -3) & (share > _OUTLINED))
        heights.append(above)
        levels.append(above - drop)
    above, level = (np.where(x < middle, *both) for both in (heights, levels))
    return np.array(air), np.array(outlines), above, level


def _heart(patient: Patient, build: Build, change: Change, pose: Pose, beam: Beam) -> tuple[Array, Mask]:
    """How deep the heart is behind each pixel, mm, and its silhouette."""
    x, z = beam.plane(_HEART_Y)
    rng = np.random.default_rng([patient.seed, 83])
    wide = (patient.heart + change.heart) * 2 * build.half_width
    floor = build.base + patient.domes[1] + 0.4 * max(change.raised)
    flat = np.clip(patient.upright - 0.004 * pose.breath - 1.2 * change.heart, 0.2, 0.95)
    right = wide * (0.32 + 0.02 * rng.standard_normal())
    left = wide - right
    turn = 1.08 - 0.5 * flat
    long, short = 0.53 * wide * (1 + 0.12 * flat), 0.38 * wide * rng.normal(1, 0.04)
    reach = np.hypot(long * np.sin(turn), short * np.cos(turn))
    rise = floor + 0.56 * np.hypot(long * np.cos(turn), short * np.sin(turn))
    x = x - change.pulled
    main = _ellipse(x, z, (left - reach, rise), (short, long), turn)
    atrium = (0.7 * right, 0.38 * wide)
    appendage = (left - reach - 0.02 * wide, rise + 0.36 * wide)
    parts = [
        (main, 0.56 * wide),
        (_ellipse(x, z, (-right + atrium[0], rise - 0.1 * wide), atrium, 0.1), 0.46 * wide),
        (_ellipse(x, z, appendage, (0.21 * wide, 0.24 * wide), 0.3), 0.42 * wide),
    ]
    inside = sum(np.maximum(1 - part, 0) ** 1.5 for part, _ in parts) ** (1 / 1.5)
    depth = np.max([2 * deep * np.sqrt(np.maximum(1 - part, 0)) for part, deep in parts], 0)
    depth = np.maximum(depth, 1.5 * 0.48 * wide * np.sqrt(np.maximum(inside, 0)))
    silhouette = (inside > 0) & (z > floor - 22)
    fat = np.zeros_like(depth)
    for side in SIDES:
        size = 22 * rng.gamma(1.5, 0.4)
        edge = -right if side < 0 else left
        fat += size * np.exp(-(((x - side * abs(edge) * 0.85) / 18) ** 2) - ((z - floor) / 14) ** 2)
    return np.asarray(depth + fat, np.float32), silhouette


def _ellipse(
    x: Array, z: Array, center: tuple[float, float], radii: tuple[float, float], turn: float
) -> Array:
    """Squared distance in radii; ``turn`` leans the second axis from upright to the right above."""
    cos, sin = np.cos(turn), np.sin(turn)
    across = (x - center[0]) * cos + (z - center[1]) * sin
    along = -(x - center[0]) * sin + (z - center[1]) * cos
    out: Array = (across / radii[0]) ** 2 + (along / radii[1]) ** 2
    return out


def _body(build: Build, pose: Pose, x: Array, z: Array, ripple: Array) -> Array:
    """Depth of the whole trunk with shoulders and neck, mm."""
    lean = np.clip((z - 20) / 110, 0, 1.3)
    wide = build.half_width + build.wall + 0.9 * build.fat + 40 * lean**1.5
    wide = wide + 0.25 * build.fat * np.clip((build.base - z) / 80, 0, 1)
    deep = build.half_depth + build.wall + 0.75 * build.fat + 2 - 12 * lean + 2 * ripple[3]
    trunk = 2 * deep * (1 - np.clip(np.abs(x) / wide, 0, 1) ** 2.6) ** (1 / 2.4)
    top = build.apex + 42 + pose.shrug - 0.45 * np.maximum(np.abs(x) - 50, 0)
    trunk = trunk * np.sqrt(np.clip((top - z) / 60, 0, 1))
    neck = 2 * 58 * np.sqrt(np.clip(1 - (x / (60 + 0.3 * build.fat)) ** 2, 0, 1)) * (z > build.apex - 20)
    return np.asarray(np.maximum(trunk, neck) * 0.97, np.float32)


def _gas(
    rng: np.random.Generator, patient: Patient, build: Build, change: Change, pose: Pose, beam: Beam
) -> Array:
    """Air in the stomach and the colon's bends, mm."""
    x, z = beam.plane(-30.0)
    out = np.zeros(beam.shape, np.float32)
    left = build.base + patient.domes[1] + change.raised[1]
    for _ in range(int(rng.poisson(1.3)) + 1):
        at = (float(rng.normal(66, 16)), left - float(rng.uniform(20, 50)))
        radii = (float(rng.uniform(12, 40)), float(rng.uniform(8, 20)))
        bubble = 1 - _ellipse(x, z, at, radii, float(rng.normal(0, 0.3)))
        level = at[1] - radii[1] * rng.uniform(-0.2, 0.6) if not pose.supine else -1e3
        out += rng.uniform(8, 45) * np.sqrt(np.maximum(bubble, 0)) * np.clip((z - level) / 3, 0, 1)
    return out


def _tree(
    rng: np.random.Generator, patient: Patient, build: Build, change: Change, pose: Pose, share: float
) -> Tubes:
    """Vessels of both lungs from their hila; full ones are wider, and those above no longer thinner.
    ``share``: how many of the smallest there are, by those that a fine detector shows."""
    parts = []
    for side, dome in zip(SIDES, np.add(patient.domes, change.raised), strict=True):
        hilum = np.array([side * 30.0 + change.pulled, 2.0, 14.0])
        for count, start, calibre in ((170, (0, 0, 0), 0.85), (100, (-side * 4, -8, -20), 0.8)):
            leaves = _leaves(rng, build, side, build.base + dome, int(count * share))
            tree = grow_tree(rng, hilum + start, leaves, calibre * patient.vessels)
            height = np.clip(((tree.starts + tree.ends)[:, 2] / 2 - 10) / 70, -1, 1)
            full = 0.75 * change.congested + (0.35 if pose.supine else 0)
            radii = tree.radii * (1 + 0.3 * change.congested) * (1 + 0.3 * height * (full - 0.45))
            parts.append(Tubes(tree.starts, tree.ends, radii.astype(np.float32)))
        trunk = [hilum + (-side * 10, 2, 10), hilum + (side * 10, 2, -6), hilum + (side * 20, 10, -50)]
        parts.append(Tubes.along(trunk, np.array([10.0, 9.0, 5.5]) * patient.vessels))
    return Tubes.joined(parts)


def _leaves(rng: np.random.Generator, build: Build, side: int, floor: float, count: int) -> Array:
    """Points (count, 3) about even in a lung."""
    z = rng.uniform(floor - 8, build.apex - 8, 3 * count).astype(np.float32)
    width, depth = build.cavity(z)
    keep = np.flatnonzero(rng.random(3 * count) < width * depth / (build.half_width * build.half_depth))[
        :count
    ]
    across = np.sqrt(rng.uniform(0.04, 0.92, len(keep)))
    room = np.sqrt(1 - across**2) * 0.95
    x = side * np.maximum(across * width[keep], 20)
    y = rng.uniform(-1, 1, len(keep)) * room * depth[keep]
    return np.stack([x, y, z[keep]], 1).astype(np.float32)


def _breasts(rng: np.random.Generator, patient: Patient, build: Build, pose: Pose, beam: Beam) -> Array:
    """Soft tissue of both breasts, mm: sharp below, fading above."""
    x, z = beam.plane(-build.half_depth - 20)
    out = np.zeros(beam.shape, np.float32)
    hang = float(rng.normal(-40, 18)) - (0 if not pose.supine else -15)
    size = 42 + 0.9 * patient.breasts
    for side in SIDES:
        at = (side * float(rng.normal(82, 6)), hang + float(rng.normal(0, 5)))
        stretched = np.where(z > at[1], (z - at[1]) * 0.7, z - at[1])
        inside = 1 - ((x - at[0]) / size) ** 2 - (stretched / (0.8 * size)) ** 2
        out += patient.breasts * np.sqrt(np.maximum(inside, 0))
    return out


def _arms(rng: np.random.Generator, build: Build) -> list[tuple[Tubes, float]]:
    """The flesh of arms that hang beside the chest."""
    parts = []
    for side in SIDES:
        top = np.array([side * (build.half_width + 52), 10, build.apex - 40])
        elbow = top + (side * (rng.uniform(10, 70) + 0.6 * build.fat), 15, -230)
        radius = rng.uniform(30, 40) + 0.3 * build.fat
        parts.append((Tubes.along([top, elbow], [radius * 1.1, radius * 0.85]), 1.0))
    return parts
