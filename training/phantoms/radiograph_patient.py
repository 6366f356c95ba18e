"""Who is X-rayed, how, and what disease does to the shape of the chest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.phantoms.anatomy import Build, anatomy_seed
from training.phantoms.fields import Array

SIDES = (-1, 1)  # the patient's right and left, along x


class Breathing(Build):
    """A chest in deep breath, whose upper end is more pointed than that of one who lies in a scanner."""

    def cavity(self, z: Array | np.float32) -> tuple[Array, Array]:
        rise = np.clip((z + 60) / (self.apex + 64), 0, 1)
        dome = np.sqrt(np.maximum(1 - rise**2.3, 0.0))
        return self.half_width * dome, self.half_depth * (0.25 + 0.75 * dome) * np.minimum(1, dome * 3)


@dataclass(frozen=True)
class Patient:
    """One who is X-rayed. ``build`` is that of the CT of the same seed.

    heart: width of the heart by that of the chest. domes: height of the right and the left diaphragm over the
    base, mm. lung: density of aerated lung. breasts: thickness, mm, 0 for none. bone: by the usual density.
    vessels: calibre of those in the lungs by the usual one.
    """

    seed: int
    build: Build
    heart: float
    upright: float
    domes: tuple[float, float]
    lung: float
    breasts: float
    bone: float
    vessels: float

    @classmethod
    def drawn(cls, seed: int) -> Patient:
        build = Build.drawn(anatomy_seed(seed))
        rng = np.random.default_rng([seed, 81])
        return cls(
            seed=seed,
            build=build,
            heart=float(np.clip(rng.normal(0.445, 0.034), 0.35, 0.54)),
            upright=float(rng.normal(0.62, 0.12)),
            domes=(float(22 + rng.normal(0, 6)), float(12 + rng.normal(0, 6))),
            lung=float(np.clip(rng.normal(0.135, 0.025), 0.08, 0.22)),
            breasts=float(rng.uniform(8, 45)) if rng.random() < 0.5 else 0.0,
            bone=float(rng.uniform(0.65, 1.15)),
            vessels=float(rng.normal(1, 0.1)),
        )


@dataclass(frozen=True)
class Pose:
    """How the patient stands or lies: ``breath`` lifts the diaphragm (mm); ``arms`` hang beside the chest;
    ``blades``: how far the shoulder blades are turned out of the lungs, mm; ``shrug``: lift of the shoulders;
    ``supine``: the stomach's gas lies in front and the vessels of the upper lungs are full."""

    breath: float
    arms: bool
    blades: float
    shrug: float
    supine: bool


@dataclass(frozen=True)
class Change:
    """What disease does to the shape: ``heart`` adds to its share of the chest; ``raised`` lifts the right
    and left diaphragm, ``pulled`` moves the mediastinum to the left, mm; ``congested``: how full the vessels
    are."""

    heart: float = 0.0
    raised: tuple[float, float] = (0.0, 0.0)
    pulled: float = 0.0
    congested: float = 0.0
