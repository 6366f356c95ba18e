"""Lesions outside of the lungs: what they are made of, how they are drawn, how often which is malignant.

They are drawn by what lies there already, so that a phantom and a real scan take them alike: a mass of the
liver replaces what is as dense as the liver, a lymph node what is fat, a metastasis in bone what is bone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from inference.findings import Point
from training.phantoms.fields import Array, Grid, coverage
from training.phantoms.nodules import Drawn, lobulated, texture

Site = Literal["bone", "abdomen", "mediastinum", "liver", "lung", "kidney", "soft tissue", "pelvis"]
SITES: tuple[Site, ...] = (
    "bone",
    "abdomen",
    "mediastinum",
    "liver",
    "lung",
    "kidney",
    "soft tissue",
    "pelvis",
)
"""The coarse types of DeepLesion, in its own order."""

Substrate = Literal["organ", "fat", "bone"]
Make = Literal["hypodense", "hyperdense", "cyst", "necrotic"]
MAKES: tuple[Make, ...] = ("hypodense", "hyperdense", "cyst", "necrotic")


@dataclass(frozen=True)
class Mass:
    """A lesion's recipe.

    diameter_mm: of the sphere with its volume. host_hu: what surrounds it. delta_hu: how it differs from
    that, except in a cyst, whose density is its own. margin_mm: over how many millimetres it fades out.
    mottle_hu: deviation of its texture. seed: of its shape and texture.
    """

    center_mm: Point
    diameter_mm: float
    site: Site = "liver"
    substrate: Substrate = "organ"
    make: Make = "hypodense"
    malignant: bool = False
    host_hu: float = 60.0
    delta_hu: float = -30.0
    margin_mm: float = 1.5
    mottle_hu: float = 8.0
    lobulation: float = 0.2
    seed: int = 0


def random_mass(
    rng: np.random.Generator, site: Site, substrate: Substrate, diameter_mm: float | None = None
) -> Mass:
    """A lesion as an oncology clinic sees them, its place and host still open. Benign and malignant ones
    differ on average in size, margin, outline, texture and make, and overlap in each."""
    malignant = bool(rng.random() < 0.5)
    size = rng.lognormal(np.log(23), 0.45) if malignant else rng.lognormal(np.log(15), 0.45)
    least = 10.0 if substrate == "fat" else 6.0
    odds = (0.52, 0.14, 0.07, 0.27) if malignant else (0.28, 0.22, 0.43, 0.07)
    make = MAKES[int(rng.choice(4, p=odds))]
    if substrate == "bone":
        make = "hyperdense" if rng.random() < (0.4 if malignant else 0.6) else "hypodense"
    depth = float(rng.uniform(20, 62))
    if substrate == "bone":
        depth = float(rng.uniform(90, 260))
    return Mass(
        (0.0, 0.0, 0.0),
        float(np.clip(size, least, 85)) if diameter_mm is None else diameter_mm,
        site,
        substrate,
        make,
        malignant,
        delta_hu=depth if make == "hyperdense" else -depth,
        margin_mm=float(np.clip(rng.lognormal(np.log(3.0 if malignant else 1.4), 0.5), 0.5, 9)),
        mottle_hu=float(rng.gamma(2.2, 7.0 if malignant else 3.2)),
        lobulation=float(rng.beta(2.4, 2.6) if malignant else rng.beta(1.3, 4.5)),
        seed=int(rng.integers(2**31)),
    )


def draw_mass(hu: Array, grid: Grid, mass: Mass, enhancement_hu: float = 0.0) -> Drawn:
    """Draw ``mass`` into ``hu`` in place, where there is room for it.

    enhancement_hu: what the contrast agent adds to soft tissue; for masses that lie in fat.
    """
    radius = mass.diameter_mm / 2
    box = grid.box_about(mass.center_mm, radius * 1.9 + 6)
    here, part = grid.part(box), hu[box]
    if not part.size:
        return Drawn(box, np.zeros(part.shape, np.float32))
    edge = float(np.mean(grid.spacing_mm))
    signed = lobulated(mass, here)
    filled = coverage(signed, max(edge, mass.margin_mm)) * _room(part, mass)
    grain = texture(mass, here)
    value = _density(mass, signed, radius, enhancement_hu) + np.float32(mass.mottle_hu) * grain
    part += filled * (value - part)
    return Drawn(box, filled)


def _room(part: Array, mass: Mass) -> Array:
    """Where the mass may lie, 0 to 1, by what is there."""
    if mass.substrate == "fat":
        return np.clip((part + 190) / 20, 0, 1) * np.clip((25 - part) / 40, 0, 1)
    if mass.substrate == "bone":
        return np.clip((part - 75) / 40, 0, 1)
    return np.clip(1.9 - np.abs(part - mass.host_hu) / 70, 0, 1)


def _density(mass: Mass, signed: Array, radius: float, enhancement_hu: float) -> Array:
    rng = np.random.default_rng([mass.seed, 36])
    own = float(rng.uniform(2, 22))
    solid = float(rng.uniform(28, 50)) + enhancement_hu * float(rng.uniform(0.4, 1.2))
    if mass.make == "cyst":
        return np.full_like(signed, own)
    if mass.substrate == "fat":
        tissue = solid + (12 if mass.make == "hyperdense" else 0)
    elif mass.substrate == "bone" and mass.make == "hypodense":
        tissue = solid
    else:
        tissue = mass.host_hu + mass.delta_hu
    out = np.full_like(signed, tissue)
    if mass.make == "necrotic":
        rim = tissue + 0.6 * abs(mass.delta_hu)
        core = np.clip((signed - 0.3 * radius) / 3, 0, 1)
        out = rim + core * (own + 8 - rim)
    return out.astype(np.float32)
