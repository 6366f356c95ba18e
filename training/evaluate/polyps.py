"""Evaluates the ``polyps`` reader's outline on pictures with masks, each at its native size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image
from rich.progress import track

from inference.catalogue import Catalogue
from inference.engine import Engine
from inference.engine.embedded import EmbeddedEngine
from inference.picture import PLANE, Pictures, View
from inference.readers.endoscopic import fitted
from inference.readers.polyps import NAME, POLYPS, read
from training.datasets.case import Case, CaseImage
from training.datasets.layouts import read_cases
from training.errors import TaskError
from training.evaluate.splits import splits_of, told_of
from training.metrics.classification import mean_interval
from training.metrics.overlap import per_image
from training.phantoms.endoscope import OTHER, USUAL
from training.phantoms.endoscopy import endoscopy_frame

T = TypeVar("T")
_WORST = 18
_PHANTOM_SIZE = 128
_EMPTY_FROM = 500_000
_SPLITS = {"held-out": (90_000_000, USUAL), "shifted": (91_000_000, OTHER)}


def evaluate_pictures(
    layout: str, data: Path | None, split: str, out: Path | None, catalogue: Catalogue
) -> dict[str, Any]:
    """Mean over pictures of Dice and IoU at the card's threshold, with limits by resampling patients.

    split: ``all`` (the default), or one of those by patient (``training.evaluate.splits``).
    """
    if data is None:
        raise TaskError(f"the layout {layout} needs a folder of data: give --data DIR")
    split = split or "all"
    of_patient = splits_of(catalogue)
    cases = [c for c in read_cases(layout, data) if split in ("all", of_patient(c.patient))]
    if not cases:
        raise TaskError(f"{data} holds no pictures of the split {split!r}")
    return _measured(layout, split, cases, out, catalogue) | told_of(split, catalogue)


def evaluate_phantoms(
    data: Path | None, split: str, out: Path | None, catalogue: Catalogue, *, count: int = 230
) -> dict[str, Any]:
    """The same of procedural frames with polyps that no training saw, and in which share of others, without
    any polyp, the reader reports one. split: ``held-out`` (the default), or ``shifted`` to wider lenses, more
    noise, other colours, and JPEG."""
    seed, camera = _SPLITS[split or "held-out"]
    cases = []
    for number in range(count):
        frame = endoscopy_frame(seed + number, size=_PHANTOM_SIZE, camera=camera)
        if frame.mask.any():
            masks = {"polyp": frame.mask}
            image = CaseImage(frame.picture, "rgb")
            cases.append(Case(str(seed + number), str(seed + number), _given(image), _given(masks)))
    found = _measured("phantom", split or "held-out", cases, out, catalogue)
    seeds = range(seed + _EMPTY_FROM, seed + _EMPTY_FROM + count // 2)
    empty = [endoscopy_frame(k, size=_PHANTOM_SIZE, camera=camera, polyps=0).picture for k in seeds]
    engine = EmbeddedEngine(catalogue)
    share = mean_interval([float(_reported(picture, engine, catalogue)) for picture in empty])
    return found | {
        "empty_images": len(empty),
        "empty_reported": share.value,
        "empty_reported_ci": [share.low, share.high],
    }


def _reported(picture: npt.NDArray[np.uint8], engine: Engine, catalogue: Catalogue) -> bool:
    """Whether the reader reports a polyp on a picture."""
    pictures = Pictures(
        voxels=picture[None],  # type: ignore[arg-type]  # a volume's voxels are int16 or float32
        affine=PLANE,
        series_uid="",
        frame_of_reference_uid="",
        images=(("", None),),
        views=(View("ES"),),
    )
    return bool(read(pictures, engine, catalogue).findings)


def _given(value: T) -> Callable[[], T]:
    return lambda: value


def _measured(
    layout: str, split: str, cases: Sequence[Case], out: Path | None, catalogue: Catalogue
) -> dict[str, Any]:
    engine, threshold = EmbeddedEngine(catalogue), catalogue.find(POLYPS).card.threshold("outline")
    images, true, found = [], [], []
    for case in track(cases, "pictures"):
        images.append(case.load().pixels)
        true.append(case.load_masks()["polyp"] if case.load_masks else np.zeros(images[-1].shape[:2], bool))
        found.append(outlined(images[-1], engine) >= threshold)
    scores = per_image(zip(true, found, strict=True))
    if out is not None:
        from training.metrics.pictures import draw_sheet

        worst = np.argsort(scores.dice)[:_WORST]
        titles = [f"{cases[k].id}: {scores.dice[k]:.3f}" for k in worst]
        drawn, called = [true[k] for k in worst], [found[k] for k in worst]
        draw_sheet([images[k] for k in worst], titles, out / "worst.png", true=drawn, found=called)
    patients = [case.patient for case in cases]
    dice, iou = mean_interval(scores.dice, patients), mean_interval(scores.iou, patients)
    return {
        "task": NAME,
        "layout": layout,
        "split": split,
        "images": len(cases),
        "patients": len(set(patients)),
        "mean_dice": dice.value,
        "mean_dice_ci": [dice.low, dice.high],
        "mean_iou": iou.value,
        "mean_iou_ci": [iou.low, iou.high],
    }


def outlined(picture: npt.NDArray[np.uint8], engine: Engine) -> npt.NDArray[np.float32]:
    """(rows, columns) of the picture: the probability of lying in a polyp."""
    fed = np.ascontiguousarray(fitted(picture).transpose(2, 0, 1)[None])
    drawn = engine.infer(POLYPS, {"picture": fed})["polyps"][0, 0].astype(np.float32)
    size = picture.shape[1], picture.shape[0]
    return np.asarray(Image.fromarray(drawn).resize(size, Image.Resampling.BILINEAR))
