"""Evaluates the ``lung-nodules`` reader: on phantoms never seen in training, and on LIDC slice crops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.progress import track
from sklearn.metrics import roc_auc_score

from inference.catalogue import Catalogue
from inference.engine.embedded import EmbeddedEngine
from inference.findings import Finding
from inference.masks import dice as dice_of
from inference.readers import lung_nodules as reader
from inference.readers.lungs import find_lungs
from inference.volume import Volume
from training.datasets.lidc_slices import SliceNodule, read_slices
from training.errors import BrokenDataError, TaskError
from training.evaluate.sheets import Tile, save_sheet, tile
from training.lung_nodules.crops import Stack, crop_spacing, lidc_center, lidc_stack
from training.metrics.froc import Mark, Nodule, froc, outcomes
from training.phantoms.acquisition import Scan
from training.phantoms.chest import Phantom, chest_phantom
from training.phantoms.nodules import Lesion

_SCALES_MM = (5.0, 8.0, 13.0, 20.0, 32.0)
SCANS = 40
NODULES = 6
_FIRST_SEED = {"held-out": 70_000, "shifted": 80_000}
_GRID = ((140, 208, 272), (2.0, 1.3, 1.3))


def evaluate_phantoms(data: Path | None, split: str, out: Path | None) -> dict[str, Any]:
    """FROC, Dice, diameter error and malignancy over phantom chests of seeds that training never draws.

    split: ``held-out`` (scans as in training) or ``shifted`` (noise, kernels and slices outside of it).
    """
    split = split or "held-out"
    if split not in _FIRST_SEED:
        raise TaskError(f"phantoms have no split {split!r}; they have: {', '.join(_FIRST_SEED)}")
    catalogue = Catalogue()
    engine = EmbeddedEngine(catalogue)
    marks, nodules, pairs, large = [], [], [], []
    tiles: list[tuple[float, Tile]] = []
    scans = [str(_FIRST_SEED[split] + number) for number in range(SCANS)]
    for scan in track(scans, "phantoms"):
        phantom = phantom_case(int(scan), split == "shifted")
        volume = as_volume(phantom, scan)
        found = found_in(volume, engine, catalogue)
        marks += [Mark(scan, f.center_mm, f.score) for f in found]
        for lesion in phantom.lesions:
            nodules.append(Nodule(scan, lesion.center_mm, lesion.diameter_mm))
            large.append(lesion.diameter_mm >= 6)
            match = best_match(lesion, found)
            if match is not None:
                pairs.append((lesion, match))
            drawn = None if match is None else match.mask
            agree = 0.0 if drawn is None else dice_of(lesion.mask, drawn)
            tiles.append((agree, tile(volume, lesion.mask, drawn)))
    if out is not None:
        tiles.sort(key=lambda pair: pair[0])
        save_sheet([picture for _, picture in tiles[:48]], out / f"worst-{split}.png")
    curve = froc(outcomes(scans, nodules, [], marks))
    big = [n for n, is_large in zip(nodules, large, strict=True) if is_large]
    small = [n for n, is_large in zip(nodules, large, strict=True) if not is_large]
    if out is not None:
        from training.metrics.pictures import draw_froc

        draw_froc(curve, out / "froc.png", f"{reader.NAME}, {split} phantoms")
    curve_6mm = froc(outcomes(scans, big, small, marks), resamples=200)
    return {
        "task": reader.NAME,
        "layout": "phantom",
        "split": split,
        "scans": len(scans),
        "nodules": len(nodules),
        "cpm": curve.cpm,
        "cpm_ci": [curve.low, curve.high],
        "sensitivity_at_rates": list(curve.at_rates),
        "sensitivity_at_1_fp_6mm": curve_6mm.at_rates[3],
        "froc": {"false_per_scan": curve.false_per_scan.tolist(), "sensitivity": curve.sensitivity.tolist()},
        **_agreement(pairs),
    }


def phantom_case(seed: int, shifted: bool) -> Phantom:
    scan = Scan.drawn(np.random.default_rng([seed, 95]), shifted)
    scan = replace(scan, thickness_mm=max(scan.thickness_mm, _GRID[1][0]))
    return chest_phantom(seed, *_GRID, NODULES, scan=scan)


def as_volume(phantom: Phantom, name: str) -> Volume:
    images = tuple((f"{name}.{number}", None) for number in range(len(phantom.voxels)))
    return Volume(phantom.voxels, phantom.affine, name, name, images)


def found_in(
    volume: Volume, engine: EmbeddedEngine, catalogue: Catalogue, threshold: float = 0.05
) -> list[Finding]:
    """Findings down to a threshold far below the operating point, as an FROC needs them."""
    detector, characteriser = catalogue.find(reader.DETECTOR).card, catalogue.find(reader.CHARACTERISER).card
    lungs = find_lungs(volume)
    candidates = reader.detect(reader.on_grid(volume, lungs, detector), lungs, engine, detector)
    judged = reader.characterise(volume, candidates, engine, characteriser)
    return reader.drawn(judged, volume, characteriser, threshold)


def best_match(lesion: Lesion, found: Sequence[Finding]) -> Finding | None:
    """The surest finding whose centre lies within the lesion's radius."""
    near = [
        f
        for f in found
        if np.linalg.norm(np.subtract(f.center_mm, lesion.center_mm)) < lesion.diameter_mm / 2
    ]
    return max(near, key=lambda f: f.score, default=None)


def _agreement(pairs: Sequence[tuple[Lesion, Finding]]) -> dict[str, float]:
    """Over lesions that were found; Dice and diameters over those of at least 6 mm."""
    large = [(a, b) for a, b in pairs if a.diameter_mm >= 6 and b.mask is not None]
    sphere = [(6 * b.volume_mm3 / np.pi) ** (1 / 3) for _, b in large]
    malignant = np.array([a.malignant for a, _ in pairs])
    diameter = [(6 * b.volume_mm3 / np.pi) ** (1 / 3) for _, b in pairs]
    return {
        "matched": len(pairs),
        "dice": float(np.mean([dice_of(a.mask, b.mask) for a, b in large if b.mask is not None])),
        "diameter_error": float(
            np.mean([abs(d - a.diameter_mm) / a.diameter_mm for d, (a, _) in zip(sphere, large, strict=True)])
        ),
        "malignancy_auroc": _auroc(malignant, [b.malignancy or 0.0 for _, b in pairs]),
        "malignancy_auroc_of_diameter": _auroc(malignant, diameter),
        "kind_accuracy": float(np.mean([a.kind == b.kind for a, b in pairs])),
    }


def _auroc(truth: npt.ArrayLike, score: npt.ArrayLike) -> float:
    return float(roc_auc_score(truth, score)) if len(set(np.asarray(truth).tolist())) > 1 else float("nan")


def evaluate_lidc_slices(data: Path | None, split: str, out: Path | None) -> dict[str, Any]:
    """Masks against the readers' consensus and the readers among themselves, malignancy (median rating of 4
    and more against 2 and less), and marked non-nodules against nodules."""
    if data is None:
        raise BrokenDataError("the layout lidc-slices needs a folder: give --data")
    chosen = [n for n in read_slices(data) if n.split == (split or "public_test")]
    if not chosen:
        raise TaskError(f"{data} holds no nodules of the split {split!r}")
    catalogue = Catalogue()
    engine = EmbeddedEngine(catalogue)
    dice, among, judged, sizes = [], [], [], []
    rejected = []
    for nodule in track(chosen, "nodules"):
        mask, judgement, size = look_at(nodule, lidc_center(nodule), engine, catalogue)
        dice.append(_dice(mask, nodule.consensus))
        among += _among_readers(nodule)
        judged.append(judgement)
        sizes.append(size)
        rejected += [look_at(nodule, mark, engine, catalogue)[1][0] for mark in nodule.marks]
    nodule_scores = np.array([j[0] for j in judged])
    rating = np.array([n.malignancy if n.malignancy is not None else 3.0 for n in chosen])
    clear = (rating >= 4) | (rating <= 2)
    threshold = float(np.quantile(nodule_scores, 0.05))
    return {
        "task": reader.NAME,
        "layout": "lidc-slices",
        "split": split or "public_test",
        "nodules": len(chosen),
        "patients": len({n.patient_id for n in chosen}),
        "dice_of_consensus": float(np.mean(dice)),
        "dice_among_readers": float(np.mean(among)),
        "malignancy_auroc": _auroc(rating[clear] >= 4, np.array([j[1] for j in judged])[clear]),
        "malignancy_auroc_of_diameter": _auroc(rating[clear] >= 4, np.array(sizes)[clear]),
        "malignancy_cases": int(clear.sum()),
        "hard_negatives": len(rejected),
        "specificity_at_95_sensitivity": float(np.mean(np.array(rejected) < threshold)),
        "nodule_auroc": _auroc(
            np.concatenate([np.ones(len(nodule_scores)), np.zeros(len(rejected))]),
            np.concatenate([nodule_scores, rejected]),
        ),
    }


def look_at(
    nodule: SliceNodule, center: tuple[float, float, float], engine: EmbeddedEngine, catalogue: Catalogue
) -> tuple[npt.NDArray[np.bool_], tuple[float, float], float]:
    """The characteriser's mask on the stack's own pixels, its (nodule, malignancy), and the diameter in mm.

    No detector saw the stack, so it is looked at on several scales; the one on which the nodule is surest
    and as large as that scale is meant for sets the scale of the last look.
    """
    stack = lidc_stack(nodule)
    looks = [_looked(stack, center, diameter, engine, catalogue) for diameter in _SCALES_MM]
    best = max(looks, key=lambda look: look.consistency)
    last = _looked(stack, center, max(best.seen_mm, _SCALES_MM[0] / 2), engine, catalogue)
    mask = stack.uncrop(last.inside, center, crop_spacing(last.meant_mm)) >= 0.5
    return mask, (last.nodule, last.malignancy), last.seen_mm


@dataclass(frozen=True, eq=False)
class _Look:
    """A crop on the scale meant for one diameter, and the diameter of what was seen on it."""

    inside: npt.NDArray[np.floating]
    meant_mm: float
    seen_mm: float
    nodule: float
    malignancy: float

    @property
    def consistency(self) -> float:
        if self.seen_mm == 0:
            return 0.0
        sure = float(self.inside[self.inside >= 0.5].mean())
        return sure * self.nodule * float(np.exp(-abs(np.log(self.seen_mm / self.meant_mm))))


def _looked(
    stack: Stack,
    center: tuple[float, float, float],
    diameter_mm: float,
    engine: EmbeddedEngine,
    catalogue: Catalogue,
) -> _Look:
    card = catalogue.find(reader.CHARACTERISER).card
    spacing = crop_spacing(diameter_mm)
    hu, _ = stack.crop(center, spacing)
    fed = np.nan_to_num(card.input("crop").intensity.applied_to(hu), nan=0.0)[None, None]
    outputs = engine.infer(card.name, {"crop": fed, "spacing_mm": np.array([[spacing]], np.float32)})
    inside = np.where(np.isfinite(hu), outputs["mask"][0, 0], 0)
    area = float((inside >= 0.5).sum((1, 2)).max()) * spacing**2
    seen = 2 * float(np.sqrt(area / np.pi))
    return _Look(
        inside, diameter_mm, seen, float(outputs["nodule"][0, 0]), float(outputs["malignancy"][0, 0])
    )


def _dice(one: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_]) -> float:
    size = float(one.sum() + other.sum())
    return 2 * float((one & other).sum()) / size if size else 1.0


def _among_readers(nodule: SliceNodule) -> list[float]:
    """Dice of each reader with the consensus of the others, where there were at least three."""
    drawn = [(nodule.bits >> bit) & 1 > 0 for bit in range(4)]
    drawn = [d for d in drawn if d.any()]
    if len(drawn) < 3:
        return []
    out = []
    for number, one in enumerate(drawn):
        others = [d for i, d in enumerate(drawn) if i != number]
        out.append(_dice(one, 2 * np.sum(others, 0) >= len(others)))
    return out


LAYOUTS: dict[str, Callable[[Path | None, str, Path | None], dict[str, Any]]] = {
    "phantom": evaluate_phantoms,
    "lidc-slices": evaluate_lidc_slices,
}
