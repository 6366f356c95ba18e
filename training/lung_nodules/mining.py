"""What the detector takes for nodules where there are none: the hardest negatives for the characteriser."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from inference.findings import Point
from inference.readers.candidates import Candidate as Place
from inference.readers.candidates import peaks
from inference.readers.whole_volume import coarse_affine
from inference.volume import Volume
from training.lung_nodules.backgrounds import Background
from training.lung_nodules.crops import Candidate, crop_spacing, cut, negative, positive
from training.lung_nodules.networks import Detector
from training.lung_nodules.patches import STRIDE, scaled
from training.lung_nodules.sources import RealSeries, within
from training.phantoms.fields import Array, Grid


def places(
    network: Detector, hu: Array, grid: Grid, *, threshold: float = 0.1, most: int = 60
) -> list[Place]:
    """Where the detector sees something in a scan at its own spacing."""
    room = [(0, -n % 16) for n in hu.shape]
    fed = torch.from_numpy(scaled(np.pad(hu, room, constant_values=-1024)))[None, None]
    with torch.no_grad():
        out = network.eval()(fed)[0].numpy()
    coarse = coarse_affine(grid.affine, STRIDE)
    heat, diameter = 1 / (1 + np.exp(-out[0])), np.exp(np.clip(out[1], 0.7, 4.8))
    return peaks(heat, diameter, coarse, threshold=threshold, most=most)


def large_places(
    network: Detector,
    hu: Array,
    grid: Grid,
    *,
    least_mm: float = 20.0,
    threshold: float = 0.1,
    most: int = 16,
) -> list[Place]:
    """What the detector sees of at least ``least_mm`` on blocks of 2 x 2 x 2 voxels, where everything looks
    half as large."""
    d, h, w = (n // 2 for n in hu.shape)
    blocks = hu[: 2 * d, : 2 * h, : 2 * w].reshape(d, 2, h, 2, w, 2).mean((1, 3, 5))
    z, y, x = (o + s / 2 for o, s in zip(grid.origin_mm, grid.spacing_mm, strict=True))
    steps = (2 * grid.spacing_mm[0], 2 * grid.spacing_mm[1], 2 * grid.spacing_mm[2])
    found = places(network, blocks, Grid((d, h, w), steps, (z, y, x)), threshold=threshold, most=4 * most)
    large = [replace(p, diameter_mm=2 * p.diameter_mm) for p in found]
    return [p for p in large if p.diameter_mm >= least_mm][:most]


def real_negatives(
    network: Detector,
    background: Background,
    volume: Volume,
    kept_clear: Sequence[tuple[Point, float]] = (),
    copies: int = 8,
) -> list[Candidate]:
    """False candidates on a real scan, away from its known lesions, cut from its own voxels."""
    rng = np.random.default_rng([len(volume.voxels), 102])
    out = []
    for place in places(network, background.hu.astype(np.float32), background.grid):
        if within(place.center_mm, kept_clear):
            continue
        for number in range(copies):
            spacing = crop_spacing(place.diameter_mm * rng.uniform(0.75, 1.35))
            center = np.add(place.center_mm, rng.normal(0, 1.0, 3) * (number > 0))
            out.append(negative(cut(volume, center, spacing), spacing, real=True))
    return out


def scan_candidates(scan: RealSeries, seed: int, copies: int = 2) -> list[Candidate]:
    """A scan's own nodules and marked non-nodules, cut from its voxels. The nodules have no masks, ratings or
    types: they teach what a nodule is, and nothing of its border."""
    rng = np.random.default_rng([seed, len(scan.nodules), len(scan.mistaken), 103])
    volume = scan.load()
    places = [(n.center_mm, n.diameter_mm, True) for n in scan.nodules]
    places += [(at, float(rng.lognormal(np.log(6), 0.4)), False) for at in scan.mistaken]
    out = []
    for center, diameter, is_nodule in places:
        for _ in range(copies):
            spacing = crop_spacing(diameter * rng.uniform(0.7, 1.4))
            shift = rng.normal(0, 0.09 * diameter, 3)
            hu = cut(volume, np.add(center, shift), spacing)
            out.append((positive if is_nodule else negative)(hu, spacing, real=True))
    return out
