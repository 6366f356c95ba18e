"""Scans searched by the first stage: marks as the second stage meets them.

Phantoms are scanned whole, with the pixels and slices of a clinic's scans; lesions are drawn into real scans
with the grain these have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from inference.card import ModelCard
from inference.engine import Engine
from inference.findings import Point
from inference.readers.candidates import Candidate
from inference.readers.ct_lesions import marks
from inference.readers.whole_volume import body_on_grid
from inference.resample import resample
from inference.volume import Volume
from training.ct_lesions.crops import Crop, cut
from training.ct_lesions.patches import SITE_NUMBER
from training.phantoms.abdomen import Abdomen, abdomen_anatomy
from training.phantoms.acquisition import Scan, as_series
from training.phantoms.bodies import Placed, place, place_in, random_lesions
from training.phantoms.fields import Array, Grid, merged
from training.phantoms.hosts import scan_hosts
from training.phantoms.trunk import Phase, render_trunk

_SLICES_MM, _SLICE_ODDS = (1.5, 2.0, 2.5, 3.0, 5.0), (0.5, 0.15, 0.15, 0.12, 0.08)
_PIXELS_MM, _FINE_PIXELS_MM, _FINE = (1.4, 1.7), (0.8, 1.4), 0.35
_ROWS_MM, _COLUMNS_MM, _HEIGHT_MM = 277.0, 380.0, 240.0
_LOWEST_MM, _HIGHEST_MM, _BACK_MM = -460.0, 120.0, -4.0
_MOST_VOXELS = 6_500_000
_FINEST_STEP_MM = 2.0
_ON_A_LESION = 2
_ALWAYS_MM = 6.0
_CLEAR_MM = 5.0
_SUREST, _OTHERS = 14, 16
_REAL_STEP_MM = 1.0
_TISSUE_HU = (0.0, 110.0)


@dataclass(frozen=True, eq=False)
class Slab:
    """Part of a lesion-free trunk, rendered once for many scans. hu: each slice of ``grid`` in ``finer``
    parts, before blur and noise."""

    patient: Abdomen
    grid: Grid
    finer: int
    hu: Array
    phase: Phase

    @classmethod
    def drawn(cls, seed: int) -> Slab:
        """Of patient ``seed``: its spacing and which part of the trunk it shows."""
        rng = np.random.default_rng([seed, 71])
        slice_mm = float(rng.choice(_SLICES_MM, p=_SLICE_ODDS))
        pixel_mm = float(rng.uniform(*(_FINE_PIXELS_MM if rng.random() < _FINE else _PIXELS_MM)))
        finer = int(np.ceil(slice_mm / _FINEST_STEP_MM))
        rows, columns = round(_ROWS_MM / pixel_mm), round(_COLUMNS_MM / pixel_mm)
        slices = min(round(_HEIGHT_MM / slice_mm), _MOST_VOXELS // (rows * columns * finer))
        half = slices * slice_mm / 2
        middle = (float(rng.uniform(_LOWEST_MM + half, _HIGHEST_MM - half)), _BACK_MM, 0.0)
        grid = Grid.centred((slices, rows, columns), (slice_mm, pixel_mm, pixel_mm), middle)
        phase = Phase.drawn(np.random.default_rng([seed, 72]))
        patient = abdomen_anatomy(seed)
        return cls(patient, grid, finer, render_trunk(patient, grid.sliced(finer), phase), phase)

    def scanned(self, seeds: Sequence[int], lesions: int) -> tuple[Volume, list[Placed]]:
        """A scan of it with lesions, its kernel, noise and motion drawn anew."""
        labels, places, scans = (np.random.default_rng([*seeds, stream]) for stream in (73, 74, 75))
        thin = self.grid.sliced(self.finer)
        drawn = self.hu.copy()
        placed = place_in(self.patient, drawn, thin, random_lesions(labels, lesions), places, self.phase)
        scan = replace(Scan.drawn(scans), thickness_mm=self.grid.spacing_mm[0])
        return as_series(scan.acquire(merged(drawn, self.finer), self.grid, scans), self.grid), placed


def phantom_crops(seed: int, scans: int, lesions: int, engine: Engine, card: ModelCard) -> list[Crop]:
    """Of ``scans`` scans of patient ``seed``, each with other ``lesions``."""
    slab = Slab.drawn(seed)
    out: list[Crop] = []
    for number in range(scans):
        volume, placed = slab.scanned((seed, number), lesions)
        rng = np.random.default_rng([seed, number, 76])
        out += _crops(volume, placed, slab.grid.sliced(slab.finer), rng, engine, card, real=False)
    return out


def real_crops(
    volume: Volume,
    kept_clear: Sequence[tuple[Point, float]],
    scans: int,
    lesions: int,
    engine: Engine,
    card: ModelCard,
    seed: int = 0,
) -> list[Crop]:
    """Of a real scan, ``scans`` times with other ``lesions`` drawn into it; nothing of the places (LPS mm)
    and radii (mm) of ``kept_clear``, which it is known to be diseased at."""
    coarse = body_on_grid(volume, card)
    hosts = scan_hosts(np.clip(coarse.voxels, -1024, 3071).astype(np.int16), Grid.of(coarse))
    even = _evenly(volume)
    grid = Grid.of(even)
    grain = Scan(noise_hu=_noise_hu(even), thickness_mm=grid.spacing_mm[0])
    out: list[Crop] = []
    for number in range(scans):
        labels, places, rng = (np.random.default_rng([seed, number, stream]) for stream in (77, 78, 79))
        hu = even.voxels.astype(np.float32)
        wanted = random_lesions(labels, lesions)
        placed = place(hu, grid, wanted, hosts, places, tissue_hu=20.0, known_sites=False)
        for one in placed:
            here = grid.part(one.box)
            hu[one.box] += one.share * grain.grained(np.zeros(here.shape, np.float32), here, rng)
        out += _crops(as_series(hu, grid), placed, grid, rng, engine, card, real=True, kept_clear=kept_clear)
    return out


def _crops(
    volume: Volume,
    placed: Sequence[Placed],
    thin: Grid,
    rng: np.random.Generator,
    engine: Engine,
    card: ModelCard,
    *,
    real: bool,
    kept_clear: Sequence[tuple[Point, float]] = (),
) -> list[Crop]:
    """Each lesion about where it is marked and about where it truly lies; and some of the marks on nothing,
    the surest and others. What touches a place that is ``kept_clear`` is neither.

    thin: the grid the lesions were drawn on.
    """
    body = body_on_grid(volume, card)
    found = [mark.candidate for mark in marks(body, engine, card)]
    out: list[Crop] = []
    for one in placed:
        if _known(one.center_mm, one.diameter_mm, kept_clear):
            continue
        reach = max(one.diameter_mm / 2, 3.0)
        on_it = [m for m in found if np.linalg.norm(np.subtract(m.center_mm, one.center_mm)) < reach]
        places = [(m.center_mm, m.diameter_mm) for m in on_it[:_ON_A_LESION]]
        if one.diameter_mm >= _ALWAYS_MM or places:
            places.append((_shifted(one.center_mm, 0.08 * one.diameter_mm, rng), one.diameter_mm))
        share = replace(volume, voxels=one.share, affine=thin.part(one.box).affine, images=())
        for center, diameter in places:
            size = diameter * float(np.exp(rng.normal(0, 0.15)))
            site = SITE_NUMBER[one.site]
            out.append(cut(volume, body, center, size, share=share, recipe=one.recipe, site=site, real=real))
    nothing = [m for m in found if _clear(m, placed) and not _known(m.center_mm, m.diameter_mm, kept_clear)]
    rest = nothing[_SUREST:]
    chosen = rng.choice(len(rest), min(_OTHERS, len(rest)), replace=False) if rest else ()
    for mark in [*nothing[:_SUREST], *(rest[int(i)] for i in chosen)]:
        size = mark.diameter_mm * float(np.exp(rng.normal(0, 0.15)))
        out.append(cut(volume, body, _shifted(mark.center_mm, 0.5, rng), size, real=real))
    return out


def _clear(mark: Candidate, placed: Sequence[Placed]) -> bool:
    return all(
        np.linalg.norm(np.subtract(mark.center_mm, one.center_mm)) > one.diameter_mm / 2 + _CLEAR_MM
        for one in placed
    )


def _known(center_mm: Point, diameter_mm: float, kept_clear: Sequence[tuple[Point, float]]) -> bool:
    return any(
        np.linalg.norm(np.subtract(center_mm, point)) < radius + diameter_mm / 2
        for point, radius in kept_clear
    )


def _shifted(center_mm: Point, sigma_mm: float, rng: np.random.Generator) -> Point:
    x, y, z = (float(v) for v in np.add(center_mm, rng.normal(0, sigma_mm, 3)))
    return x, y, z


def _evenly(volume: Volume) -> Volume:
    """With pixels of 1 mm, and slices as far apart as they are, but for the thinnest."""
    step = max(float(volume.spacing_mm[0]), _REAL_STEP_MM)
    return resample(volume, (step, _REAL_STEP_MM, _REAL_STEP_MM))


def _noise_hu(volume: Volume) -> float:
    """The grain of soft tissue: the middle of how much neighbours in a row differ there, over root two."""
    hu = volume.voxels[:, :, ::2].astype(np.float32)
    near, far = hu[:, :, :-1], hu[:, :, 1:]
    mean = (near + far) / 2
    apart = np.abs(far - near)[(mean > _TISSUE_HU[0]) & (mean < _TISSUE_HU[1])]
    return float(np.median(apart) / 0.6745 / np.sqrt(2)) if len(apart) else 0.0
