"""How far the volumes that a reader measures differ when nothing grew: phantom nodules scanned many times.

``python -m training.growth.repeats`` prints the within-nodule coefficient of variation (wCV) by size, on
slices of up to 2.5 mm, as the card of ``lung-nodules-characteriser`` has it, and what the reader's suspicion
of malignancy is made of, as ``training.growth.series`` draws it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from inference.catalogue import Catalogue
from inference.engine.embedded import EmbeddedEngine
from inference.growth.forecast import logit
from inference.growth.look import look_of
from inference.growth.partners import Look
from inference.readers import lung_nodules
from training.growth.breathing import Pose, motion_of
from training.growth.patients import REFERENCE, Backdrop, scanned
from training.growth.series import Suspicion
from training.phantoms.chest import random_nodules
from training.phantoms.nodules import Nodule

FIRST_ANATOMY = 6_000
SIZES_MM = ((4.0, 6.0), (6.0, 8.0), (8.0, 12.0), (12.0, 20.0))
THIN_MM = 2.6
_PLACE_MM, _SIZE = 1.0, 0.15  # how far off the place and, as a log, the size are that the reader is told


@dataclass(frozen=True)
class Measured:
    """One nodule in one scan. ``nodule``: the same number in all scans of it; mm: its true diameter.
    malignancy: as the reader suspects it; malignant: as it is."""

    nodule: tuple[int, int]
    kind: str
    mm: float
    slice_mm: float
    true_mm3: float
    mm3: float
    malignancy: float = 0.5
    malignant: bool = False

    @property
    def error(self) -> float:
        """Of the log volume."""
        return float(np.log(self.mm3 / self.true_mm3))


def repeats(anatomies: int, nodules: int, scans: int, look: Look) -> Iterator[Measured]:
    """Each anatomy's nodules in scans of other breaths, places, scanners and slices."""
    for anatomy in range(FIRST_ANATOMY, FIRST_ANATOMY + anatomies):
        backdrop = Backdrop.of(anatomy)
        rng = np.random.default_rng([anatomy, 91])
        drawn = dict(
            enumerate(_of_all_sizes(random_nodules(backdrop.anatomy, nodules, anatomy, REFERENCE), rng))
        )
        for scan in range(scans):
            motion = motion_of(backdrop.anatomy, Pose.drawn(rng))
            visit = scanned(backdrop, motion, drawn, "20240101", f"{anatomy}.{scan}", rng)
            for truth in visit.truths:
                x, y, z = (float(v) for v in np.add(truth.center_mm, rng.normal(0, _PLACE_MM, 3)))
                told_mm = truth.diameter_mm * float(np.exp(rng.normal(0, _SIZE)))
                seen = look(visit.volume, (x, y, z), told_mm)
                if seen is not None:
                    yield Measured(
                        (anatomy, truth.number),
                        truth.kind,
                        truth.diameter_mm,
                        visit.volume.slice_mm,
                        truth.volume_mm3,
                        seen.volume_mm3,
                        0.5 if seen.malignancy is None else seen.malignancy,
                        drawn[truth.number].malignant,
                    )


def within_nodule_cv(measured: Sequence[Measured]) -> float:
    """Of the errors of one nodule about their own mean, over all nodules seen twice or more."""
    of: dict[tuple[int, int], list[float]] = {}
    for one in measured:
        of.setdefault(one.nodule, []).append(one.error)
    squares = [np.var(errors, ddof=1) * (len(errors) - 1) for errors in of.values() if len(errors) > 1]
    freedom = sum(len(errors) - 1 for errors in of.values() if len(errors) > 1)
    return float(np.sqrt(np.expm1(np.sum(squares) / freedom))) if freedom else float("nan")


def suspicion(measured: Sequence[Measured]) -> Suspicion:
    """What the logit of the suspicion is made of, by least squares; nodules and scans: components of the
    variance of what is left over."""
    logits = np.array([logit(one.malignancy) for one in measured])
    terms = np.array([(1.0, one.malignant, np.log2(one.mm / 8)) for one in measured], np.float64)
    told = np.linalg.lstsq(terms, logits, rcond=None)[0]
    left = logits - terms @ told
    _, nodule, scans = np.unique(
        [one.nodule for one in measured], axis=0, return_inverse=True, return_counts=True
    )
    nodule = nodule.ravel()
    means = np.bincount(nodule, left) / scans
    within = np.sum((left - means[nodule]) ** 2) / max(len(left) - len(means), 1)
    between = max(float(np.mean(means**2) - within * np.mean(1 / scans)), 0.0)
    benign, malignant, growth = map(float, told)
    return Suspicion(benign, malignant, growth, float(np.sqrt(between)), float(np.sqrt(within)))


def _of_all_sizes(nodules: Sequence[Nodule], rng: np.random.Generator) -> list[Nodule]:
    low, high = np.log(SIZES_MM[0][0]), np.log(SIZES_MM[-1][1])
    return [replace(n, diameter_mm=float(np.exp(rng.uniform(low, high)))) for n in nodules]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m training.growth.repeats", description=__doc__)
    parser.add_argument("--anatomies", type=int, default=4)
    parser.add_argument("--nodules", type=int, default=14, help="in each")
    parser.add_argument("--scans", type=int, default=8, help="of each")
    options = parser.parse_args(arguments)
    catalogue = Catalogue()
    look = look_of(lung_nodules.NAME, EmbeddedEngine(catalogue), catalogue)
    assert look is not None
    found = list(repeats(options.anatomies, options.nodules, options.scans, look))
    for low, high in SIZES_MM:
        some = [one for one in found if low <= one.mm < high]
        thin = [one for one in some if one.slice_mm <= THIN_MM]
        middle = round((low * high) ** 0.5)
        print(f"volume_cv_{middle}_mm: {within_nodule_cv(thin):.3f}  # {len(thin)} measured")
        thick = within_nodule_cv([one for one in some if one.slice_mm > THIN_MM])
        bias = float(np.median([one.error for one in some])) if some else float("nan")
        print(f"  thicker slices {thick:.3f}, median error of the log volume {bias:+.3f}")
    print(suspicion(found))
    for kind in sorted({one.kind for one in found}):
        some = [one for one in found if one.kind == kind]
        print(f"  {kind} {within_nodule_cv(some):.3f}, {len(some)} measured")


if __name__ == "__main__":
    main()
