"""Where one scan lies in the other: first by correlation over all shifts, then by rotation and shift."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage
from scipy.spatial.transform import Rotation

from inference.anatomy import Anatomy, Image, Region
from inference.volume import Floats

_WINDOW_HU = (-1000.0, 200.0)
_LEAST_SHARE = 0.2
_CANDIDATES = 3
_MOST_POINTS = 12_000
_CONVERGED_MM = 0.02


def align_rigidly(current: Anatomy, prior: Anatomy) -> tuple[Floats, float]:
    """The (4, 4) motion from current to prior LPS mm, and the correlation of both scans under it.

    Scans of one patient may overlap in part; at least a fifth of the smaller one is asked to.
    """
    coarse = current.coarser(4), prior.coarser(4)
    starts = [_refined(*coarse, shift, 12) for shift in [*_shifts(*coarse), *_lungs_on_lungs(*coarse)]]
    best = max(starts, key=lambda start: start[1] * (0.7 + 0.3 * _shared(*coarse, start[0])))
    return _refined(current.coarser(2), prior.coarser(2), best[0], 15)


def _shifts(current: Anatomy, prior: Anatomy) -> list[Floats]:
    """Motions without rotation at the highest peaks of the masked normalised cross-correlation (Padfield,
    IEEE Trans Image Process 2012)."""
    score = _masked_correlation(_windowed(prior.hu), prior.scanned, _windowed(current.hu), current.scanned)
    found = []
    for _ in range(_CANDIDATES):
        peak = np.unravel_index(int(np.argmax(score)), score.shape)
        moved = np.array(peak) - (np.array(current.hu.shape) - 1)
        motion = np.eye(4)
        motion[:3, 3] = moved[::-1] * current.spacing_mm + prior.affine[:3, 3] - current.affine[:3, 3]
        found.append(motion)
        score[tuple(slice(max(p - 2, 0), p + 3) for p in peak)] = -1
    return found


def _lungs_on_lungs(current: Anatomy, prior: Anatomy) -> list[Floats]:
    """The motion that brings the middle of the lungs to the middle of the lungs, where both have some."""
    if not (current.has_lungs and prior.has_lungs):
        return []
    motion = np.eye(4)
    motion[:3, 3] = _middle(prior, prior.lungs) - _middle(current, current.lungs)
    return [motion]


def _shared(current: Anatomy, prior: Anatomy, motion: Floats) -> float:
    """The part of the current body that the prior shows."""
    points = _points(current)
    return float(prior.reaches(points @ motion[:3, :3].T + motion[:3, 3]).mean())


def _middle(anatomy: Anatomy, region: Region) -> Floats:
    middle = np.argwhere(region).mean(axis=0)[::-1]
    return np.asarray(middle * anatomy.spacing_mm + anatomy.affine[:3, 3], np.float64)


def _masked_correlation(fixed: Image, fixed_mask: Region, moved: Image, moved_mask: Region) -> Image:
    """Over all shifts of ``moved``; index (shape of moved - 1) is no shift."""
    shape = [fft.next_fast_len(a + b - 1, real=True) for a, b in zip(fixed.shape, moved.shape, strict=True)]
    size = tuple(slice(0, a + b - 1) for a, b in zip(fixed.shape, moved.shape, strict=True))
    turned, turned_mask = moved[::-1, ::-1, ::-1], moved_mask[::-1, ::-1, ::-1].astype(np.float32)
    mask = fixed_mask.astype(np.float32)

    def spectrum(values: Image) -> npt.NDArray[np.complexfloating]:
        return np.asarray(fft.rfftn(values.astype(np.float64), shape))

    f, f2, m = spectrum(fixed * mask), spectrum(fixed**2 * mask), spectrum(mask)
    g, g2, n = spectrum(turned * turned_mask), spectrum(turned**2 * turned_mask), spectrum(turned_mask)

    def back(product: npt.NDArray[np.complexfloating]) -> Floats:
        return np.asarray(fft.irfftn(product, shape)[size], np.float64)

    count = np.maximum(back(m * n), 1e-3)
    sum_f, sum_g = back(f * n), back(m * g)
    covariance = back(f * g) - sum_f * sum_g / count
    spread = (back(f2 * n) - sum_f**2 / count) * (back(m * g2) - sum_g**2 / count)
    enough = count >= _LEAST_SHARE * min(mask.sum(), turned_mask.sum())
    score = np.where(enough & (spread > 1e-6), covariance / np.sqrt(np.maximum(spread, 1e-6)), -1)
    return score.astype(np.float32)


def _refined(current: Anatomy, prior: Anatomy, motion: Floats, rounds: int) -> tuple[Floats, float]:
    """Gauss-Newton on the robust difference of windowed values at points of the current body."""
    points = _points(current)
    at = current.index(points)
    fixed = ndimage.map_coordinates(_windowed(current.hu), at.T, order=1)
    image = ndimage.gaussian_filter(_windowed(prior.hu), 0.7)
    slopes = [np.gradient(image, prior.spacing_mm, axis=axis) for axis in (2, 1, 0)]
    middle = points.mean(axis=0)
    correlation = -1.0
    for _ in range(rounds):
        moved = points @ motion[:3, :3].T + motion[:3, 3]
        where = prior.index(moved).T
        seen = prior.reaches(moved)
        if seen.sum() < 200:
            return motion, -1.0
        sampled = ndimage.map_coordinates(image, where, order=1, mode="nearest")
        gradient = np.stack(
            [ndimage.map_coordinates(slope, where, order=1, mode="nearest") for slope in slopes], axis=1
        )
        difference = np.where(seen, fixed - sampled, 0.0)
        correlation = float(np.corrcoef(fixed[seen], sampled[seen])[0, 1])
        scale = 1.5 * float(np.median(np.abs(difference[seen]))) + 0.02
        weight = seen / (1 + (difference / scale) ** 2)
        arm = moved - (motion[:3, :3] @ middle + motion[:3, 3])
        jacobian = np.concatenate([gradient, np.cross(arm, gradient)], axis=1)
        normal = jacobian.T @ (jacobian * weight[:, None])
        normal[np.diag_indices(6)] *= 1.001
        normal[np.diag_indices(6)] += 1e-9
        step = np.asarray(np.linalg.solve(normal, jacobian.T @ (weight * difference)), np.float64)
        step[:3] = np.clip(step[:3], -12, 12)
        step[3:] = np.clip(step[3:], -0.06, 0.06)
        motion = _turned_about(motion, motion[:3, :3] @ middle + motion[:3, 3], step)
        if float(np.abs(step[:3]).max()) < _CONVERGED_MM:
            break
    return motion, correlation


def _turned_about(motion: Floats, center: Floats, step: Floats) -> Floats:
    turn = Rotation.from_rotvec(step[3:]).as_matrix()
    added = np.eye(4)
    added[:3, :3] = turn
    added[:3, 3] = center - turn @ center + step[:3]
    return added @ motion


def _points(anatomy: Anatomy) -> Floats:
    """Points in and just around the body, spread evenly."""
    near = ndimage.binary_dilation(anatomy.body, iterations=2) & anatomy.scanned
    index = np.argwhere(near)[:: max(int(near.sum()) // _MOST_POINTS, 1)]
    return index[:, ::-1] * anatomy.spacing_mm + anatomy.affine[:3, 3]


def _windowed(hu: Image) -> Image:
    """0 to 1."""
    low, high = _WINDOW_HU
    return (np.clip(hu, low, high) - np.float32(low)) / np.float32(high - low)
