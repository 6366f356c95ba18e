"""``lung-nodules`` on phantom chests never seen in training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from inference.catalogue import Catalogue
from inference.engine.embedded import EmbeddedEngine
from inference.masks import dice
from inference.readers import lung_nodules as reader
from inference.volume import Volume
from training.evaluate.lung_nodules.reading import found_in, report_threshold, surest_within
from training.evaluate.sheets import Tile, save_sheet, tile
from training.lung_nodules.sites import with_attached
from training.metrics.classification import Interval, aurocs, mean_interval
from training.metrics.froc import Mark, Nodule, froc, outcomes
from training.metrics.pictures import draw_froc
from training.phantoms.acquisition import Scan
from training.phantoms.anatomy import chest_anatomy
from training.phantoms.chest import Phantom, chest_phantom, random_nodules
from training.phantoms.fields import Grid

SCANS, NODULES = 34, 6
_FIRST_SEED = {"held-out": 70_000, "shifted": 80_000, "attached": 75_000}
_GRID = ((140, 208, 272), (2.0, 1.3, 1.3))
_LARGE_MM = 6.0


@dataclass(frozen=True)
class Found:
    """What the surest finding on a nodule says: volume as the diameter of a sphere, Dice with the truth."""

    score: float
    diameter_mm: float
    dice: float
    malignancy: float
    kind: str


@dataclass(frozen=True)
class Truth:
    """A nodule of a phantom, and what was found of it."""

    place: Nodule
    malignant: bool
    kind: str
    found: Found | None

    @property
    def is_large(self) -> bool:
        return self.place.diameter_mm >= _LARGE_MM


@dataclass(frozen=True, eq=False)
class CaseRead:
    """One phantom: its nodules, every mark, and pictures of the nodules, worst first after their Dice."""

    scan: str
    truths: tuple[Truth, ...]
    marks: tuple[Mark, ...]
    tiles: tuple[tuple[float, Tile], ...]


def evaluate_phantoms(
    data: Path | None, split: str, out: Path | None, catalogue: Catalogue
) -> dict[str, Any]:
    """FROC, Dice, diameter error and malignancy over phantom chests of seeds that training never draws.

    split: ``held-out`` (scans as in training), ``shifted`` (noise, kernels and slices outside of it) or
    ``attached`` (as held-out, half of the nodules on pleura, mediastinum or spine or in an apex).
    """
    split = split or "held-out"
    engine = EmbeddedEngine(catalogue)
    seeds = range(_FIRST_SEED[split], _FIRST_SEED[split] + SCANS)
    cases = [
        read_case(str(seed), phantom_case(seed, split), engine, catalogue)
        for seed in track(seeds, "phantoms")
    ]
    if out is not None:
        _draw(cases, split, out)
    return {
        "task": reader.NAME,
        "layout": "phantom",
        "split": split,
        "scans": len(cases),
        **figures(cases, report_threshold(catalogue)),
    }


def phantom_case(seed: int, split: str) -> Phantom:
    """The phantom of a seed."""
    scan = Scan.drawn(np.random.default_rng([seed, 95]), split == "shifted")
    scan = replace(scan, thickness_mm=max(scan.thickness_mm, _GRID[1][0]))
    if split != "attached":
        return chest_phantom(seed, *_GRID, NODULES, scan=scan)
    anatomy = chest_anatomy(seed)
    nodules = random_nodules(anatomy, NODULES, seed, Grid.centred(*_GRID))
    placed = with_attached(np.random.default_rng([seed, 96]), anatomy.fields["lungs"], nodules, every=2)
    return chest_phantom(seed, *_GRID, placed, scan=scan)


def as_volume(phantom: Phantom, name: str) -> Volume:
    images = tuple((f"{name}.{number}", None) for number in range(len(phantom.voxels)))
    return Volume(phantom.voxels, phantom.affine, name, name, images)


def read_case(scan: str, phantom: Phantom, engine: EmbeddedEngine, catalogue: Catalogue) -> CaseRead:
    """Read a phantom and match what is found to what is there."""
    volume = as_volume(phantom, scan)
    found = found_in(volume, engine, catalogue)
    truths, tiles = [], []
    for lesion in phantom.lesions:
        match = surest_within(lesion.center_mm, lesion.diameter_mm / 2, found)
        mask = None if match is None else match.mask
        agreement = 0.0 if mask is None else dice(lesion.mask, mask)
        tiles.append((agreement, tile(volume, lesion.mask, mask)))
        seen = None
        if match is not None:
            size = float((6 * match.volume_mm3 / np.pi) ** (1 / 3))
            seen = Found(match.score, size, agreement, match.malignancy or 0.0, match.kind or "")
        place = Nodule(scan, lesion.center_mm, lesion.diameter_mm)
        truths.append(Truth(place, lesion.malignant, lesion.kind, seen))
    marks = tuple(Mark(scan, f.center_mm, f.score) for f in found)
    return CaseRead(scan, tuple(truths), marks, tuple(tiles))


def figures(cases: Sequence[CaseRead], threshold: float) -> dict[str, Any]:
    """Every figure, with 95 % limits as ``NAME_ci``: by resampling scans for what counts marks, nodules for
    the rest. Dice and diameters are of nodules of 6 mm and more, at the surest finding on each."""
    scans = [c.scan for c in cases]
    truths = [t for c in cases for t in c.truths]
    marks = [m for c in cases for m in c.marks]
    large, small = ([t.place for t in truths if t.is_large is wanted] for wanted in (True, False))
    curve = froc(outcomes(scans, [t.place for t in truths], [], marks))
    curve_large = froc(outcomes(scans, large, small, marks))
    at_one = Interval(
        curve_large.at(1.0), *(curve_large.band.limits(1.0) if curve_large.band else (np.nan,) * 2)
    )
    drawn = [(t, t.found) for t in truths if t.found is not None]
    sized = [(t, f) for t, f in drawn if t.is_large]
    malignant = [t.malignant for t, _ in drawn]
    by_network, by_diameter = aurocs(
        np.column_stack([malignant, malignant]), [(f.malignancy, f.diameter_mm) for _, f in drawn]
    ).classes
    reported = outcomes(scans, large, small, [m for m in marks if m.score >= threshold])
    hits = [score is not None for case in reported for score in case.nodules]
    intervals = {
        "cpm": Interval(curve.cpm, curve.low, curve.high),
        "sensitivity_at_1_fp_6mm": at_one,
        "reported_sensitivity_6mm": mean_interval(hits),
        "reported_false_per_scan": mean_interval([len(case.false) for case in reported]),
        "dice": mean_interval([f.dice for _, f in sized]),
        "diameter_error": mean_interval([abs(f.diameter_mm / t.place.diameter_mm - 1) for t, f in sized]),
        "malignancy_auroc": by_network,
        "malignancy_auroc_of_diameter": by_diameter,
        "kind_accuracy": mean_interval([t.kind == f.kind for t, f in drawn]),
    }
    out: dict[str, Any] = {
        "nodules": len(truths),
        "nodules_6mm": len(large),
        "matched": len(drawn),
        "matched_6mm": len(sized),
    }
    for name, interval in intervals.items():
        out |= interval.told(name)
    return out | {
        "sensitivity_at_rates": list(curve.at_rates),
        "froc": {
            "false_per_scan": curve.false_per_scan.tolist(),
            "sensitivity": curve.sensitivity.tolist(),
        },
    }


def _draw(cases: Sequence[CaseRead], split: str, out: Path) -> None:
    worst = sorted((pair for c in cases for pair in c.tiles), key=lambda pair: pair[0])
    save_sheet([picture for _, picture in worst[:48]], out / f"worst-{split}.png")
    nodules = [t.place for c in cases for t in c.truths]
    marks = [m for c in cases for m in c.marks]
    curve = froc(outcomes([c.scan for c in cases], nodules, [], marks))
    draw_froc(curve, out / f"froc-{split}.png", f"{reader.NAME}, {split} phantoms")
