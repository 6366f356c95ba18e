"""Two scans of one patient in one frame: where a point of one lies in the other, and whether that holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from inference.anatomy import Anatomy, Image, Region, observe
from inference.growth.deform import (
    Vectors,
    deform,
    in_frame_of,
    local_detail,
    lung_detail,
)
from inference.growth.rigid import align_rigidly
from inference.registration.folding import folded_share, unevenness
from inference.volume import Floats, Volume

LEAST_EXTENT_MM: Final = 40.0
LEAST_SLICES: Final = 6
LEAST_BODY_DICE: Final = 0.85
LEAST_LUNG_DICE: Final = 0.85
LEAST_DETAIL: Final = 0.5
MOST_FOLDED: Final = 0.01
MOST_UNEVEN: Final = 0.35
LEAST_DETAIL_IF_UNEVEN: Final = 0.75
"""Different patients, and mirrored scans, can be bent until their vessels agree to 0.61; they are bent to
0.45 and more then. One patient's scans agree to 0.84 and more at 40 mm of breath, and reach 0.37 at most."""
_PLEURA_MM: Final = 9.0
_LEAST_LUNG_SHARE: Final = 0.25
_SOFT_TISSUE_HU: Final = (-150.0, 250.0)
_SHOWN_HU: Final = (-1000.0, 400.0)
_LEVELS: Final = 64
_ROUNDS: Final = 40


@dataclass(frozen=True)
class Quality:
    """How well the prior, brought into the current frame, agrees with the current scan where both reach.

    correlation: of windowed values, after the rigid motion alone.
    mutual_information: of Hounsfield units inside the body, normalised: 1 of what has nothing in common, 2 of
        the same picture (Studholme et al., Pattern Recognition 1999).
    detail: correlation of what stands out of its surroundings: vessels in the lungs, or else soft tissue.
        Another patient's anatomy can be bent to the same outline, but not to the same vessels.
    body_dice, lung_dice: overlap of the outlines; None where neither scan shows lungs there.
    folded: part of the body that both show in which the displacement turns space inside out.
    uneven: how unevenly the displacement stretches the lungs, away from the pleura, along which they slide:
        ``unevenness``. Breath stretches them evenly, and to be made to look like somebody else's they have
        to be bent from vessel to vessel. None where neither scan shows lungs.
    overlap_mm: height over which both scans reach.
    """

    correlation: float
    mutual_information: float
    detail: float
    body_dice: float
    lung_dice: float | None
    folded: float
    uneven: float | None
    overlap_mm: float


@dataclass(frozen=True, eq=False)
class Alignment:
    """``rigid @ (x + vectors(x))`` is the prior point of the current point x, both in LPS mm. Only a
    ``sound`` one may be used to link lesions; ``reason`` says in a sentence why it is or is not."""

    current: Anatomy
    prior: Anatomy
    rigid: Floats
    vectors: Vectors
    quality: Quality | None
    sound: bool
    reason: str

    @classmethod
    def refused(cls, reason: str) -> Self:
        """Of scans that were not even looked at."""
        nothing = _nothing()
        vectors = np.zeros((1, 1, 1, 3), np.float32)
        return cls(nothing, nothing, np.eye(4), vectors, None, sound=False, reason=reason)

    def to_prior(self, points_mm: npt.ArrayLike) -> Floats:
        """(n, 3) points of the current scan, in the prior."""
        points = np.asarray(points_mm, np.float64).reshape(-1, 3)
        return self._rigidly(points + self._displacement(points))

    def to_current(self, points_mm: npt.ArrayLike) -> Floats:
        """(n, 3) points of the prior, in the current scan: the inverse of ``to_prior`` by fixed-point
        iteration."""
        points = np.asarray(points_mm, np.float64).reshape(-1, 3)
        target = (points - self.rigid[:3, 3]) @ self.rigid[:3, :3]
        found = target.copy()
        for _ in range(_ROUNDS):
            step = target - self._displacement(found) - found
            found += 0.8 * step
            if float(np.abs(step).max(initial=0.0)) < 0.01:
                break
        return np.asarray(found, np.float64)

    def current_reaches(self, prior_points_mm: npt.ArrayLike) -> Region:
        """Which of (n, 3) prior points lie in what the current scan shows."""
        return self.current.reaches(self.to_current(prior_points_mm))

    def prior_reaches(self, current_points_mm: npt.ArrayLike) -> Region:
        return self.prior.reaches(self.to_prior(current_points_mm))

    def _rigidly(self, points: Floats) -> Floats:
        return np.asarray(points @ self.rigid[:3, :3].T + self.rigid[:3, 3], np.float64)

    def _displacement(self, points: Floats) -> Floats:
        at = self.current.index(points).T
        return np.stack(
            [ndimage.map_coordinates(self.vectors[..., k], at, order=1, mode="nearest") for k in range(3)],
            axis=1,
        ).astype(np.float64)


def align(current: Volume, prior: Volume) -> Alignment:
    """Align two CTs. What cannot be aligned comes back unsound with its reason, never raised."""
    for name, volume in (("current", current), ("prior", prior)):
        if (reason := too_small(name, volume)) is not None:
            return Alignment.refused(reason)
    return align_anatomies(observe(current), observe(prior))


def align_anatomies(current: Anatomy, prior: Anatomy) -> Alignment:
    """The same from what ``observe`` saw, which a chain of studies needs once for each."""
    if not (current.body.any() and prior.body.any()):
        empty = "current" if prior.body.any() else "prior"
        return _refused(current, prior, np.eye(4), f"No body was found in the {empty} scan.")
    rigid, correlation = align_rigidly(current, prior)
    moved = in_frame_of(current, prior, rigid)
    both = current.scanned & moved.scanned
    if (height := _height_mm(both, current.spacing_mm)) < LEAST_EXTENT_MM:
        reason = (
            f"The scans share only {height:.0f} mm of the body; at least {LEAST_EXTENT_MM:.0f} are needed."
        )
        return _refused(current, prior, rigid, reason)
    if (difference := _different_region(current, moved, both)) is not None:
        return _refused(current, prior, rigid, difference)
    vectors = deform(current, prior, rigid)
    quality = measure_quality(current, prior, rigid, vectors, correlation)
    sound, reason = judge_quality(quality)
    return Alignment(current, prior, rigid, vectors, quality, sound, reason)


def measure_quality(
    current: Anatomy, prior: Anatomy, rigid: Floats, vectors: Vectors, correlation: float
) -> Quality:
    moved = in_frame_of(current, prior, rigid, vectors)
    both = current.scanned & moved.scanned
    lungs = current.lungs & moved.lungs & both
    if lungs.sum() * current.spacing_mm**3 > 100_000:
        detail = _correlation(lung_detail(current), lung_detail(moved), lungs)
    else:
        body = current.body & moved.body & both
        sigma = 10.0 / current.spacing_mm
        one, other = (local_detail(a.hu, a.body, _SOFT_TISSUE_HU, sigma) for a in (current, moved))
        detail = _correlation(one, other, body)
    seen = (current.lungs & both).any() or (moved.lungs & both).any()
    deep = ndimage.binary_erosion(current.lungs & both, iterations=round(_PLEURA_MM / current.spacing_mm))
    return Quality(
        correlation=correlation,
        mutual_information=_mutual_information(current.hu, moved.hu, current.body & moved.body & both),
        detail=detail,
        body_dice=_dice(current.body & both, moved.body & both),
        lung_dice=_dice(current.lungs & both, moved.lungs & both) if seen else None,
        folded=folded_share(vectors, current.spacing_mm, current.body & both),
        uneven=unevenness(vectors, current.spacing_mm, deep) if seen else None,
        overlap_mm=_height_mm(both, current.spacing_mm),
    )


def judge_quality(quality: Quality) -> tuple[bool, str]:
    """Whether to link by it, and why."""
    if quality.body_dice < LEAST_BODY_DICE:
        return False, f"The outlines of the body do not agree (Dice {quality.body_dice:.2f})."
    if quality.lung_dice is not None and quality.lung_dice < LEAST_LUNG_DICE:
        return False, f"The lungs do not agree (Dice {quality.lung_dice:.2f})."
    if quality.detail < LEAST_DETAIL:
        return False, (
            f"What lies inside does not agree (correlation {quality.detail:.2f}): "
            "is the prior of the same patient and body region?"
        )
    bent = quality.uneven is not None and quality.uneven > MOST_UNEVEN
    if bent and quality.detail < LEAST_DETAIL_IF_UNEVEN:
        return False, (
            f"The lungs agree (to {quality.detail:.2f}) only when they are bent as no breath bends them "
            f"({quality.uneven:.2f}): is the prior of the same patient, and not mirrored or turned?"
        )
    if quality.folded > MOST_FOLDED:
        return False, f"The displacement folds over in {100 * quality.folded:.1f} % of the body."
    return True, f"Aligned over {quality.overlap_mm:.0f} mm, detail correlates to {quality.detail:.2f}."


def too_small(name: str, volume: Volume) -> str | None:
    """Why a scan is too small to be aligned; None where it is not."""
    extent = np.abs(volume.affine[:3, :3]) @ np.array(volume.shape)
    if volume.shape[0] < LEAST_SLICES or extent.min() < LEAST_EXTENT_MM:
        return (
            f"The {name} scan holds {volume.shape[0]} slices over {extent.min():.0f} mm; alignment needs at "
            f"least {LEAST_SLICES} slices and {LEAST_EXTENT_MM:.0f} mm."
        )
    return None


def _different_region(current: Anatomy, moved: Anatomy, both: Region) -> str | None:
    """Lungs here where there are none there: no breath explains that."""
    here, there = int((current.lungs & both).sum()), int((moved.lungs & both).sum())
    least = 200_000 / current.spacing_mm**3
    if max(here, there) > least and min(here, there) < _LEAST_LUNG_SHARE * max(here, there):
        return "One scan shows lungs where the other shows none: another body region or patient."
    return None


def _refused(current: Anatomy, prior: Anatomy, rigid: Floats, reason: str) -> Alignment:
    nowhere = np.zeros((*current.hu.shape, 3), np.float32)
    return Alignment(current, prior, rigid, nowhere, None, sound=False, reason=reason)


def _nothing() -> Anatomy:
    empty = np.zeros((1, 1, 1), bool)
    affine = np.eye(4)
    affine[:3, :3] = np.fliplr(np.eye(3))
    return Anatomy(np.full((1, 1, 1), -1000, np.float32), empty, empty, empty, affine)


def _dice(one: Region, other: Region) -> float:
    total = int(one.sum()) + int(other.sum())
    return 2 * int((one & other).sum()) / total if total else 1.0


def _correlation(one: Image, other: Image, where: Region) -> float:
    if where.sum() < 100:
        return 0.0
    a, b = one[where], other[where]
    return float(np.corrcoef(a, b)[0, 1]) if a.std() > 0 and b.std() > 0 else 0.0


def _mutual_information(one: Image, other: Image, where: Region) -> float:
    """Normalised: the sum of both entropies over their joint one."""
    if where.sum() < 100:
        return 1.0
    low, high = _SHOWN_HU
    a, b = (np.clip(image[where], low, high) for image in (one, other))
    joint, _, _ = np.histogram2d(a, b, bins=_LEVELS, range=(_SHOWN_HU, _SHOWN_HU))
    joint /= joint.sum()
    together = _entropy(joint)
    return (_entropy(joint.sum(0)) + _entropy(joint.sum(1))) / together if together > 0 else 2.0


def _entropy(probability: Floats) -> float:
    some = probability[probability > 0]
    return float(-(some * np.log2(some)).sum())


def _height_mm(region: Region, spacing_mm: float) -> float:
    return float(region.any(axis=(1, 2)).sum()) * spacing_mm
