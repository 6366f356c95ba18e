"""Findings of chest radiographs, from those that hardly show to gross ones, and the likes of them in
healthy chests.

A recipe says how much of what there is; what is drawn lies in the aerated lung that the beam passes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.phantoms.fields import Array
from training.phantoms.radiograph_body import Thorax, waves
from training.phantoms.radiograph_patient import SIDES, Change
from training.phantoms.tubes import Tubes

FINDINGS = ("cardiomegaly", "effusion", "atelectasis", "consolidation", "edema")
_HEALTHY_SHARE = 0.36
_SHARES = {"cardiomegaly": 0.36, "effusion": 0.36, "atelectasis": 0.36, "consolidation": 0.34, "edema": 0.24}
_LIKES_SHARE = 0.26
_FULL = 0.92
_ANGLE_MM = 46.0  # of the ribs with the diaphragm, below its dome


@dataclass(frozen=True)
class Patch:
    """An opacity: place across (0 midline to 1 ribs) and high (0 diaphragm to 1 apex) in the lung of
    ``side``; its half sizes on the same scales, how much of the lung it fills, and how ragged it is."""

    side: int
    across: float
    high: float
    wide: float
    tall: float
    filled: float
    ragged: float


@dataclass(frozen=True)
class Plate:
    """A band of collapsed lung: its middle as a patch's, length and thickness mm, slope, and depth, mm."""

    side: int
    across: float
    high: float
    length_mm: float
    thick_mm: float
    slope: float
    deep_mm: float


@dataclass(frozen=True)
class Disease:
    """What there is. fluid: height of an effusion over the right and the left diaphragm, mm. patches: of
    consolidation. lobes: those that lost volume. haze: how much of the right and the left lung about the hila
    is filled. lines: how many septal lines. cuffs: how many bronchi have one."""

    change: Change
    fluid: tuple[float, float] = (0.0, 0.0)
    patches: tuple[Patch, ...] = ()
    lobes: tuple[Patch, ...] = ()
    plates: tuple[Plate, ...] = ()
    haze: tuple[float, float] = (0.0, 0.0)
    lines: int = 0
    cuffs: int = 0


def random_findings(seed: int) -> frozenset[str]:
    """The findings of the radiograph ``seed``, none in about a third; from nothing of the anatomy."""
    rng = np.random.default_rng([seed, 85])
    if rng.random() < _HEALTHY_SHARE:
        return frozenset()
    found: set[str] = set()
    while not found:
        shares = dict(_SHARES)
        if rng.random() < shares["edema"]:
            found.add("edema")
            shares["effusion"] += 0.15
            shares["cardiomegaly"] += 0.15
        for name in ("cardiomegaly", "effusion", "consolidation"):
            if rng.random() < shares[name]:
                found.add(name)
        if rng.random() < shares["atelectasis"] + (0.08 if "effusion" in found else 0):
            found.add("atelectasis")
    return frozenset(found)


def disease(seed: int, findings: frozenset[str]) -> Disease:
    """How the findings of the radiograph ``seed`` show, and the lesser likes of them that those without have.

    Each kind has a generator of its own, so that one finding alters no other, and one scale: what is drawn of
    a grade is the same whether it counts as a finding or not.
    """
    streams = [np.random.default_rng([seed, 86, kind]) for kind in range(len(FINDINGS))]
    heart = streams[0].normal(0.098, 0.036) if "cardiomegaly" in findings else 0.0
    fluid, collapse, filled, wet = (
        (_grade(rng, name in findings), rng) for rng, name in zip(streams[1:], FINDINGS[1:], strict=True)
    )
    plates, raised, pulled, lobes = _collapse(*collapse)
    congested, haze, lines, cuffs = _congestion(*wet)
    change = Change(float(max(heart, 0.0)), raised, pulled, congested)
    return Disease(change, _fluid(*fluid), _patches(*filled), lobes, plates, haze, lines, cuffs)


def _grade(rng: np.random.Generator, is_finding: bool) -> float:
    """From 0, nothing, to 1, gross. Some without the finding have more of its likes than some who have it."""
    finding, like = 0.2 + 0.8 * rng.beta(1.7, 1.3), 0.08 + 0.6 * rng.beta(1.5, 2.0)
    has_like = rng.random() < _LIKES_SHARE
    return float(finding if is_finding else like if has_like else 0.0)


def _fluid(grade: float, rng: np.random.Generator) -> tuple[float, float]:
    if grade == 0:
        return 0.0, 0.0
    height = 4 + 95 * grade**1.4
    kind, other = rng.random(), height * rng.uniform(0.4, 1.1)
    return (height, 0.0) if kind < 0.33 else (0.0, height) if kind < 0.66 else (height, other)


def _collapse(
    grade: float, rng: np.random.Generator
) -> tuple[tuple[Plate, ...], tuple[float, float], float, tuple[Patch, ...]]:
    """Plates, how far the diaphragms are raised and the mediastinum is pulled, and lobes that lost volume."""
    side, shifted = int(rng.choice(SIDES)), float(rng.normal(0, 2))
    raised = [0.0, 0.0]
    if grade == 0:
        return (), (0.0, 0.0), shifted, ()
    lobar = rng.random() < 0.5
    count = int(rng.poisson(0.4)) if lobar else 1 + int(rng.poisson(1.6 * grade))
    plates = tuple(
        _plate(rng, side if rng.random() < 0.65 else -side, 0.5 + 1.1 * grade) for _ in range(count)
    )
    raised[(side + 1) // 2] = float((28 if lobar else 18) * grade * rng.uniform(0.3, 1.2))
    shifted += float(side * (16 if lobar else 4) * grade * rng.uniform(0.2, 1))
    lobes: tuple[Patch, ...] = ()
    if lobar:
        high = rng.choice([0.06, 0.75], p=[0.8, 0.2])
        lobes = (Patch(side, rng.uniform(0.2, 0.45), high, 0.28, 0.2, 0.2 + 0.7 * grade, 0.25),)
    return plates, (raised[0], raised[1]), shifted, lobes


def _plate(rng: np.random.Generator, side: int, strong: float) -> Plate:
    return Plate(
        side=side,
        across=float(rng.uniform(0.3, 0.8)),
        high=float(rng.uniform(0.03, 0.4)),
        length_mm=float(rng.uniform(22, 70) * min(1.0, strong)),
        thick_mm=float(rng.uniform(1.6, 4.0) * strong),
        slope=float(rng.normal(0, 0.25)),
        deep_mm=float(rng.uniform(22, 50) * strong),
    )


def _patches(grade: float, rng: np.random.Generator) -> tuple[Patch, ...]:
    if grade == 0:
        return ()
    count = 1 + int(rng.poisson(1.6 * grade))
    first = int(rng.choice(SIDES))
    at, high, spread = rng.uniform(0.25, 0.75), rng.beta(1.2, 1.8), 0.13 + 0.2 * grade
    found = []
    for number in range(count):
        side = first if number == 0 or rng.random() < 0.6 else -first
        size = spread * rng.uniform(0.7, 1.3) * (1 if number == 0 else 0.7)
        found.append(
            Patch(
                side,
                float(np.clip(at + rng.normal(0, 0.15), 0.15, 0.9)),
                float(np.clip(high + rng.normal(0, 0.15), 0.02, 0.95)),
                float(size * rng.uniform(0.8, 1.4)),
                float(size * rng.uniform(0.6, 1.2)),
                float((0.1 + 0.62 * grade) * rng.uniform(0.75, 1.2)),
                float(rng.uniform(0.2, 0.9)),
            )
        )
    return tuple(found)


def _congestion(grade: float, rng: np.random.Generator) -> tuple[float, tuple[float, float], int, int]:
    """Fullness of the vessels, haze of the right and the left lung, septal lines, cuffs."""
    uneven = rng.normal(1, 0.2, 2).clip(0.4, 1.6)
    haze = 0.44 * grade**1.2 + max(0.0, rng.normal(0, 0.025))
    return (
        float(np.clip(rng.normal(0.05 + 0.9 * grade, 0.22), -0.3, 1.3)),
        (float(haze * uneven[0]), float(haze * uneven[1])),
        int(rng.poisson(0.5 + 11 * grade)) if rng.random() < 0.75 else 0,
        int(rng.poisson(0.8 + 4 * grade)),
    )


def opacities(chest: Thorax, what: Disease, seed: int) -> Array:
    """Path in what fills the lungs, mm of water on top of the aerated lung (rows, columns)."""
    rng = np.random.default_rng([seed, 87])
    share = np.zeros((2, *chest.soft.shape), np.float32)
    rough = waves(rng, (4, *chest.soft.shape), 14)
    fine = waves(rng, (2, *chest.soft.shape), 34)
    for k in range(2):
        empty = 1 - share[k]
        for cover in _covers(chest, what, k, rough, fine):
            empty = empty * (1 - np.clip(cover, 0, 1))
        share[k] = 1 - empty
    filled = np.minimum(share, _FULL) * chest.air * (1 - chest.patient.lung)
    lines = _lines(rng, chest, what)
    plates = sum(_drawn_plate(chest, plate, rough[2]) for plate in what.plates)
    return np.asarray(filled.sum(0) + plates + lines, np.float32)


def _covers(chest: Thorax, what: Disease, k: int, rough: Array, fine: Array) -> list[Array]:
    """What part of the lung behind each pixel each opacity of a side fills."""
    covers = []
    if what.fluid[k] > 0:
        covers.append(_meniscus(chest, what.fluid[k], rough[3]))
    for patch in (*what.patches, *what.lobes):
        if patch.side == SIDES[k]:
            away = ((chest.across - patch.across) / patch.wide) ** 2
            away = away + ((chest.high - patch.high) / patch.tall) ** 2
            edge = 1.15 - np.sqrt(away) + patch.ragged * (0.35 * rough[0] + 0.22 * fine[0])
            covers.append(patch.filled * np.clip(edge / (0.55 + 0.5 * patch.ragged), 0, 1))
    haze = what.haze[k]
    if haze > 0:
        about = np.exp(-(((chest.across - 0.35) / 0.34) ** 2) - ((chest.high - 0.36) / 0.34) ** 2)
        covers.append(haze * (0.3 + about) * np.clip(1 + 0.3 * rough[1] + 0.22 * fine[1], 0.1, 2))
    return covers


def _meniscus(chest: Thorax, height: float, rough: Array) -> Array:
    """Fluid fills the angle below the dome first and climbs along the ribs; where one lies, it spreads."""
    climb = np.clip((chest.across - 0.3) / 0.7, 0, 1.1) ** 2
    upright = height * (0.55 if chest.supine else 1.0)
    surface = upright * (0.5 + 0.9 * climb) - _ANGLE_MM + 1.5 * rough
    below = np.clip((surface - chest.level) / (4 + 0.25 * height) + 0.3, 0, 1)
    if not chest.supine:
        return below
    veil = min(0.5, height / 130) * np.clip(1 - 0.8 * chest.high, 0, 1) * np.clip(chest.above / 15, 0, 1)
    return np.asarray(1 - (1 - below) * (1 - veil))


def _drawn_plate(chest: Thorax, plate: Plate, rough: Array) -> Array:
    width = chest.patient.build.half_width
    tall = 150.0
    along = chest.x * plate.side - plate.across * width
    up = chest.above - plate.high * tall - plate.slope * along - 1.3 * rough
    near = np.clip((plate.length_mm / 2 - np.abs(along)) / 8 + 0.5, 0, 1) * (chest.x * plate.side > 0)
    band = np.exp(-((up / plate.thick_mm) ** 2)) * near
    return np.asarray(np.minimum(plate.deep_mm * band, 0.6 * chest.air.sum(0)), np.float32)


def _lines(rng: np.random.Generator, chest: Thorax, what: Disease) -> Array:
    """Septal lines of any length, most short ones at the ribs below, and cuffs about bronchi by the hila."""
    build, tubes = chest.patient.build, []
    for _ in range(what.lines):
        side, z = rng.choice(SIDES), build.base + rng.uniform(0, 90)
        width, depth = build.cavity(np.float32(z))
        outer = float(width) * rng.uniform(0.86, 0.99)
        long = float(np.clip(rng.gamma(2.0, 6.0), 3, 60))
        start = np.array([side * outer, rng.uniform(-0.4, 0.5) * float(depth), z])
        end = start + [-side * long, rng.normal(0, 4), rng.normal(0, 0.25) * long]
        tubes.append(Tubes.along([start, end], rng.uniform(0.7, 1.3)))
    for _ in range(what.cuffs):
        side, turn = rng.choice(SIDES), np.linspace(0, 2 * np.pi, 13)
        at = np.array([side * rng.uniform(38, 70), 0, rng.uniform(-15, 45)])
        size = rng.uniform(2.5, 5.5)
        ring = at + size * np.stack([np.cos(turn), 0 * turn, np.sin(turn)], 1)
        tubes.append(Tubes.along(ring, rng.uniform(0.6, 1.5)))
    return chest.beam.through((Tubes.joined(tubes), 1.0)) if tubes else np.zeros_like(chest.soft)
