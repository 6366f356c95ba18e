"""``lung-nodules`` on real scans with known lesions, and on the same scans with lesions drawn into them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from inference.catalogue import Catalogue
from inference.engine.embedded import EmbeddedEngine
from inference.findings import Finding
from inference.readers import lung_nodules as reader
from inference.resample import resample
from inference.volume import Volume
from training.datasets.ct_scans import CtScan, read_scans
from training.errors import BrokenDataError, TaskError
from training.evaluate.lung_nodules.reading import found_in, report_threshold, surest_within
from training.lung_nodules.backgrounds import SPACING_MM, lung_depth
from training.lung_nodules.sites import drawn_depths
from training.metrics.classification import mean_interval
from training.phantoms.fields import Array, Field, Grid
from training.phantoms.nodules import Drawn, Nodule, draw_nodule, random_nodule

_ROUNDS, _INSERTED = 3, 6
_LEAST_MM = 6.0
_PIXEL_MM = 0.8


def evaluate_scans(data: Path | None, split: str, out: Path | None, catalogue: Catalogue) -> dict[str, Any]:
    """Which known lesions are reported, and how many other marks there are, scan by scan; split: ``test`` or
    ``background`` (as ``scans.csv`` calls their use), both where empty."""
    engine = EmbeddedEngine(catalogue)
    threshold = report_threshold(catalogue)
    rows: list[dict[str, Any]] = []
    for scan in track(_scans(data, split), "scans"):
        found = found_in(scan.load(), engine, catalogue, threshold)
        on_lesion = [surest_within(center, radius, found) for center, radius in scan.lesions]
        other = [f for f in found if not _within(f, scan)]
        rows.append(
            {
                "scan": scan.name,
                "use": scan.use,
                "lesions": len(scan.lesions),
                "found": sum(f is not None for f in on_lesion),
                "scores": [None if f is None else f.score for f in on_lesion],
                "other_marks": len(other),
            }
        )
    others = [int(row["other_marks"]) for row in rows]
    return {
        "task": reader.NAME,
        "layout": "ct-scans",
        "split": split or "all",
        "scans": len(rows),
        "known_lesions": sum(int(row["lesions"]) for row in rows),
        "found_lesions": sum(int(row["found"]) for row in rows),
        "other_marks_per_scan": float(np.mean(others)),
        "most_other_marks": max(others),
        "by_scan": rows,
    }


def evaluate_inserted(
    data: Path | None, split: str, out: Path | None, catalogue: Catalogue
) -> dict[str, Any]:
    """How many of the nodules drawn into real scans are reported: 6 mm and larger, those attached to the
    pleura among them, away from the scans' own lesions. The nodules are those of the phantoms: this measures
    what real surroundings do, not real nodules."""
    engine = EmbeddedEngine(catalogue)
    threshold = report_threshold(catalogue)
    hits: list[bool] = []
    by_scan: dict[str, list[bool]] = {}
    scans = _scans(data, split)
    for scan in track(scans, "scans"):
        prepared = _Prepared.of(scan)
        for round_ in range(_ROUNDS):
            volume, drawn = prepared.with_nodules(np.random.default_rng([len(scan.name), round_, 97]))
            found = found_in(volume, engine, catalogue, threshold)
            seen = [surest_within(n.center_mm, n.diameter_mm / 2, found) is not None for n in drawn]
            by_scan.setdefault(scan.name, []).extend(seen)
            hits += seen
    return {
        "task": reader.NAME,
        "layout": "ct-scans-inserted",
        "split": split or "all",
        "scans": len(scans),
        "nodules": len(hits),
        **mean_interval(hits).told("reported_sensitivity"),
        "by_scan": {name: [sum(seen), len(seen)] for name, seen in by_scan.items()},
    }


def _scans(data: Path | None, split: str) -> list[CtScan]:
    if data is None:
        raise BrokenDataError("the layout ct-scans needs a folder: give --data")
    scans = [s for s in read_scans(data) if split in ("", s.use)]
    if not scans:
        raise TaskError(f"{data} holds no scans of the split {split!r}")
    return scans


def _within(finding: Finding, scan: CtScan) -> bool:
    return any(
        np.linalg.norm(np.subtract(finding.center_mm, center)) < radius for center, radius in scan.lesions
    )


@dataclass(frozen=True, eq=False)
class _Prepared:
    """A scan on an axial grid of its own slice distance, and how deep below the pleura its voxels lie."""

    volume: Volume
    grid: Grid
    depth: Field
    scan: CtScan

    @classmethod
    def of(cls, scan: CtScan) -> _Prepared:
        volume = scan.load()
        axial = resample(volume, (volume.spacing_mm[0], _PIXEL_MM, _PIXEL_MM))
        coarse = resample(volume, SPACING_MM)
        depth = lung_depth(np.clip(coarse.voxels, -1024, 3071).astype(np.int16))
        depth_grid = Grid(depth.shape, (3 * SPACING_MM,) * 3, Grid.of(coarse).origin_mm)
        return cls(axial, Grid.of(axial), Field(depth, depth_grid), scan)

    def with_nodules(self, rng: np.random.Generator) -> tuple[Volume, list[Nodule]]:
        hu: Array = self.volume.voxels.astype(np.float32)
        drawn: list[Nodule] = []
        for _ in range(50 * _INSERTED):
            if len(drawn) == _INSERTED:
                break
            nodule = self._placed(rng)
            if nodule is None or any(_near(nodule, other) for other in drawn):
                continue
            seen = _as_seen(nodule, draw_nodule(hu, self.grid, nodule, None), self.grid)
            if seen.diameter_mm >= 0.6 * nodule.diameter_mm:
                drawn.append(seen)
        return replace(self.volume, voxels=np.rint(hu).astype(np.int16)), drawn

    def _placed(self, rng: np.random.Generator) -> Nodule | None:
        nodule = random_nodule(rng, (0, 0, 0))
        if nodule.diameter_mm < _LEAST_MM:
            return None
        least, most = drawn_depths(rng, nodule.diameter_mm)
        at = np.argwhere((self.depth.values > max(least, 0)) & (self.depth.values < most))
        if not len(at):
            return None
        grid = self.depth.grid
        z, y, x = at[rng.integers(len(at))] * grid.spacing_mm + grid.origin_mm
        nodule = replace(nodule, center_mm=(float(x), float(y), float(z)))
        known = (Nodule(center, 2 * radius) for center, radius in self.scan.lesions)
        return None if any(_near(nodule, lesion) for lesion in known) else nodule


def _near(one: Nodule, other: Nodule) -> bool:
    apart = float(np.linalg.norm(np.subtract(one.center_mm, other.center_mm)))
    return apart < (one.diameter_mm + other.diameter_mm) / 2 + 10


def _as_seen(nodule: Nodule, drawn: Drawn, grid: Grid) -> Nodule:
    """With the centre and the diameter of what of it was drawn over darker tissue."""
    total = float(drawn.filled.sum())
    if total <= 0:
        return replace(nodule, diameter_mm=0.0)
    z, y, x = (float((axis * drawn.filled).sum() / total) for axis in grid.part(drawn.box).axes)
    diameter = (6 * total * grid.voxel_mm3 / np.pi) ** (1 / 3)
    return replace(nodule, center_mm=(x, y, z), diameter_mm=float(diameter))
