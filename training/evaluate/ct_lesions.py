"""Evaluates the ``ct-lesions`` reader: on phantoms never seen in training, and on DeepLesion's key slices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.progress import track

from inference.catalogue import Catalogue
from inference.engine import Engine
from inference.engine.embedded import EmbeddedEngine
from inference.findings import Finding
from inference.masks import dice
from inference.readers import ct_lesions as reader
from inference.volume import Volume
from training.datasets.case import Case, CaseImage
from training.datasets.deeplesion import read_deeplesion
from training.datasets.deeplesion_slices import read_deeplesion_slices
from training.errors import BrokenDataError, TaskError
from training.evaluate.sheets import BONE, LUNG, SOFT_TISSUE, Tile, save_sheet, tile
from training.metrics.boxes import DEEPLESION_RATES, Overlap, box_outcome, center_inside, iobb, iou
from training.metrics.classification import Interval, aurocs, mean_interval
from training.metrics.froc import Outcome, froc
from training.metrics.pictures import draw_froc
from training.phantoms.acquisition import Scan
from training.phantoms.bodies import BodyLesion, BodyPhantom, body_phantom
from training.phantoms.fields import Grid

SCANS = 40
_LESIONS = 14
_HEIGHT_MM, _ROWS, _COLUMNS, _PIXEL_MM = 240.0, 168, 230, 1.65
_LOWEST_MM, _HIGHEST_MM = -460.0, 120.0
_FIRST_SEED = {"held-out": 70_000, "shifted": 80_000}
_CONTEXT = 6
_PADDED_PX = 5
_LARGE_MM = 6.0
_WINDOWS = {"lung": LUNG, "bone": BONE}


@dataclass(frozen=True, eq=False)
class _Pair:
    """A lesion of a phantom, and the surest finding whose centre lies in its box, if there is one."""

    scan: int
    lesion: BodyLesion
    found: Finding | None


def evaluate_phantoms(
    data: Path | None, split: str, out: Path | None, catalogue: Catalogue
) -> dict[str, Any]:
    """Sensitivity at 0.5 to 4 false marks per volume, Dice, diameters, malignancy and site over body phantoms
    of seeds that training never draws.

    split: ``held-out`` (scans as in training) or ``shifted`` (kernels softer or sharper than any of training
    with 1.35 times the noise, slices of 3.75 mm and of 1.5, which training has). The weights of the score are
    fitted on a few phantoms of other seeds like either (``training.ct_lesions.words``).
    """
    split = split or "held-out"
    engine = EmbeddedEngine(catalogue)
    outcomes: list[Outcome] = []
    pairs: list[_Pair] = []
    tiles: list[tuple[float, Tile]] = []
    for number in track(range(SCANS), "phantoms"):
        phantom = phantom_case(_FIRST_SEED[split] + number, split == "shifted")
        volume = as_volume(phantom, str(number))
        found = found_in(volume, engine, catalogue)
        true = np.array([_box(lesion, volume) for lesion in phantom.lesions]).reshape(-1, 2, 3)
        marks = np.array([f.box_mm for f in found]).reshape(-1, 2, 3)
        scores = np.array([f.score for f in found])
        outcomes.append(box_outcome(true, marks, scores, overlap=center_inside))
        for lesion, box in zip(phantom.lesions, true, strict=True):
            pair = _Pair(number, lesion, _best(box, found))
            pairs.append(pair)
            drawn = pair.found.mask if pair.found is not None else None
            window = _WINDOWS.get(lesion.site, SOFT_TISSUE)
            tiles.append((_agreement(pair), tile(volume, lesion.mask, drawn, window)))
    curve = froc(outcomes, rates=DEEPLESION_RATES)
    if out is not None:
        tiles.sort(key=lambda pair: pair[0])
        save_sheet([picture for _, picture in tiles[:48]], out / f"worst-{split}.png")
        draw_froc(curve, out / f"froc-{split}.png", f"{reader.NAME}, {split} phantoms")
    report = catalogue.find(reader.CHARACTERISER).card.threshold("report")
    return {
        "task": reader.NAME,
        "layout": "phantom",
        "split": split,
        "hit": "the mark's centre lies in the lesion's box",
        "scans": SCANS,
        "lesions": len(pairs),
        "mean_sensitivity": curve.cpm,
        "mean_sensitivity_ci": [curve.low, curve.high],
        "sensitivity_at_rates": dict(zip(map(str, DEEPLESION_RATES), curve.at_rates, strict=True)),
        **_at_operating_point(outcomes, report),
        **_of_pairs(pairs),
        "sensitivity_by_site": _by_site(pairs, report),
    }


def phantom_case(seed: int, shifted: bool) -> BodyPhantom:
    """240 mm of a trunk, somewhere between the groins and the lungs' apices."""
    rng = np.random.default_rng([seed, 96])
    scan = Scan.drawn(rng, shifted)
    step = max(scan.thickness_mm, 1.5)
    scan = replace(scan, thickness_mm=step)
    middle = float(rng.uniform(_LOWEST_MM + _HEIGHT_MM / 2, _HIGHEST_MM - _HEIGHT_MM / 2))
    shape = (round(_HEIGHT_MM / step), _ROWS, _COLUMNS)
    grid = Grid.centred(shape, (step, _PIXEL_MM, _PIXEL_MM), (middle, -4.0, 0.0))
    return body_phantom(seed, grid, _LESIONS, scan=scan)


def as_volume(phantom: BodyPhantom, name: str) -> Volume:
    images = tuple((f"{name}.{number}", None) for number in range(len(phantom.voxels)))
    return Volume(phantom.voxels, phantom.affine, name, name, images)


def found_in(volume: Volume, engine: Engine, catalogue: Catalogue, threshold: float = 0.05) -> list[Finding]:
    """Findings down to a threshold far below the operating point, as an FROC needs them."""
    return reader.told(reader.see(volume, engine, catalogue), volume, catalogue, threshold)


def _box(lesion: BodyLesion, volume: Volume) -> npt.NDArray[np.float64]:
    low = np.array(lesion.mask.origin)
    corners = volume.to_patient([low - 0.5, low + lesion.mask.voxels.shape - 0.5])
    box: npt.NDArray[np.float64] = np.stack([corners.min(0), corners.max(0)])
    return box


def _best(box: npt.NDArray[np.float64], found: Sequence[Finding]) -> Finding | None:
    near = [f for f in found if ((np.mean(f.box_mm, 0) >= box[0]) & (np.mean(f.box_mm, 0) <= box[1])).all()]
    return max(near, key=lambda f: f.score, default=None)


def _agreement(pair: _Pair) -> float:
    if pair.found is None or pair.found.mask is None:
        return 0.0
    return dice(pair.lesion.mask, pair.found.mask)


def _at_operating_point(outcomes: Sequence[Outcome], threshold: float) -> dict[str, float]:
    hits = [score for o in outcomes for score in o.nodules]
    false = [score for o in outcomes for score in o.false]
    return {
        "report_threshold": threshold,
        "sensitivity_at_report": float(np.mean([s is not None and s >= threshold for s in hits])),
        "false_marks_per_scan_at_report": float(np.sum(np.array(false) >= threshold)) / len(outcomes),
    }


def _of_pairs(pairs: Sequence[_Pair]) -> dict[str, Any]:
    """Over lesions that were found; Dice and diameters over those of at least 6 mm."""
    found = [p for p in pairs if p.found is not None]
    lesions, marks = [p.lesion for p in found], [p.found for p in found if p.found is not None]
    large = [
        (_agreement(p), abs(_sphere(m) - p.lesion.diameter_mm) / p.lesion.diameter_mm)
        for p, m in zip(found, marks, strict=True)
        if p.lesion.diameter_mm >= _LARGE_MM
    ]
    return {
        "found_at_all": len(found),
        **mean_interval([agree for agree, _ in large]).told("dice"),
        **mean_interval([error for _, error in large]).told("diameter_error"),
        **_of_malignancy(found, marks),
        "site_accuracy": float(np.mean([a.site == b.kind for a, b in zip(lesions, marks, strict=True)])),
    }


def _of_malignancy(found: Sequence[_Pair], marks: Sequence[Finding]) -> dict[str, Any]:
    """AUROC of the suspicion and of the diameter alone; nothing by weights that do not tell it."""
    suspected = [mark.malignancy for mark in marks if mark.malignancy is not None]
    if len(suspected) < len(marks):
        return {}
    malignant = np.array([[pair.lesion.malignant] * 2 for pair in found], float)
    judged = np.array([suspected, [_sphere(mark) for mark in marks]]).T
    of_network, of_diameter = aurocs(malignant, judged, [str(pair.scan) for pair in found]).classes
    return {
        **of_network.told("malignancy_auroc"),
        **of_diameter.told("malignancy_auroc_of_diameter"),
    }


def _sphere(found: Finding) -> float:
    return float((6 * found.volume_mm3 / np.pi) ** (1 / 3))


def _by_site(pairs: Sequence[_Pair], threshold: float) -> dict[str, Any]:
    sites = sorted({p.lesion.site for p in pairs})
    shown = {
        site: [p.found is not None and p.found.score >= threshold for p in pairs if p.lesion.site == site]
        for site in sites
    }
    return {site: {"sensitivity": float(np.mean(hit)), "lesions": len(hit)} for site, hit in shown.items()}


def evaluate_deeplesion(
    data: Path | None, split: str, out: Path | None, catalogue: Catalogue
) -> dict[str, Any]:
    """Key slices as released, with the slices beside them; sensitivity at 0.5 to 4 false boxes per slice.

    About half of DeepLesion's lesions have no box (arXiv:2303.15024): boxes on those count as false.
    """
    if data is None:
        raise BrokenDataError("the layout deeplesion needs a folder: give --data")
    cases = [c for c in read_deeplesion(data, context=_CONTEXT) if c.split == (split or "test")]
    if not cases:
        raise TaskError(f"{data} holds no key slices of the split {split or 'test'!r}")
    return {"layout": "deeplesion", "split": split or "test", **key_slices(cases, out, catalogue)}


def evaluate_deeplesion_slices(
    data: Path | None, split: str, out: Path | None, catalogue: Catalogue
) -> dict[str, Any]:
    """Key slices without neighbours or spacing; see ``training.datasets.deeplesion_slices``."""
    if data is None:
        raise BrokenDataError("the layout deeplesion-slices needs a folder: give --data")
    return {
        "layout": "deeplesion-slices",
        "split": "test",
        **key_slices(read_deeplesion_slices(data), out, catalogue),
    }


def key_slices(cases: Sequence[Case], out: Path | None, catalogue: Catalogue) -> dict[str, Any]:
    """Figures over key slices whose images are (slices, rows, columns), the key slice in the middle.

    DeepLesion's boxes are the extent of the two measured axes and 5 pixels more on each side, as its
    ``DL_info.csv`` shows; so what is found gets 5 pixels too, where the picture goes on.
    """
    engine = EmbeddedEngine(catalogue)
    rules: dict[str, Overlap] = {"iou": iou, "iobb": iobb}
    outcomes: dict[str, list[Outcome]] = {name: [] for name in rules}
    for case in track(cases, "key slices"):
        image = case.load()
        found = found_in(slab(image, case.id), engine, catalogue)
        middle = image.pixels.shape[0] // 2
        boxes, scores = _on_slice(found, middle)
        boxes = _padded(boxes, image.pixels.shape[:0:-1])
        true = np.array([[b.low, b.high] for b in case.boxes], float).reshape(-1, 2, 2)
        for name, rule in rules.items():
            outcomes[name].append(box_outcome(true, boxes, scores, overlap=rule))
    figures: dict[str, Any] = {
        "task": reader.NAME,
        "slices": len(cases),
        "lesions": sum(len(c.boxes) for c in cases),
        "found_boxes_padded_px": _PADDED_PX,
    }
    for name, of_rule in outcomes.items():
        curve = froc(of_rule, rates=DEEPLESION_RATES)
        figures |= Interval(curve.cpm, curve.low, curve.high).told(f"mean_sensitivity_{name}")
        figures |= {
            f"sensitivity_{name}_at_{rate:g}": at
            for rate, at in zip(DEEPLESION_RATES, curve.at_rates, strict=True)
        }
        if out is not None:
            draw_froc(curve, out / f"froc-{name}.png", f"{reader.NAME}, DeepLesion, {name}")
    return figures


def slab(image: CaseImage, name: str) -> Volume:
    """A key slice with its neighbours as a volume."""
    spacing = image.spacing_mm
    assert spacing is not None and len(spacing) == 3
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2], affine[3, 3] = *spacing, 1
    images = tuple((f"{name}.{number}", None) for number in range(len(image.pixels)))
    return Volume(image.pixels.astype(np.int16), affine, name, name, images)


def _on_slice(
    found: Sequence[Finding], number: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Boxes (n, 2, 2) in column, row pixels of what of the masks lies on a slice, and their scores."""
    boxes, scores = [], []
    for one in found:
        if one.mask is None or not 0 <= number - one.mask.origin[0] < len(one.mask.voxels):
            continue
        plane = one.mask.voxels[number - one.mask.origin[0]]
        at = np.argwhere(plane) + one.mask.origin[1:]
        if len(at):
            boxes.append([at.min(0)[::-1], at.max(0)[::-1] + 1])
            scores.append(one.score)
    return np.array(boxes, float).reshape(-1, 2, 2), np.array(scores, float)


def _padded(boxes: npt.NDArray[np.float64], size: Sequence[int]) -> npt.NDArray[np.float64]:
    """Boxes (n, 2, 2) as DeepLesion's own are drawn: larger by 5 pixels on each side, within a picture of
    ``size`` columns and rows."""
    larger: npt.NDArray[np.float64] = np.clip(boxes + [[-_PADDED_PX], [_PADDED_PX]], 0, size)
    return larger
