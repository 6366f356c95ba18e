"""Polyps with masks: Kvasir-SEG and CVC-ClinicDB as released, and the layout ``polyp-masks``."""

from __future__ import annotations

import json
import logging
from functools import partial
from pathlib import Path
from typing import Any

from training.datasets.case import Box, Case, Mask
from training.datasets.files import colour, images_in, mask, there, with_suffix
from training.errors import BrokenDataError
from training.tables import read_table

_log = logging.getLogger(__name__)
_SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp")


def read_kvasir_seg(folder: Path) -> list[Case]:
    """``images/NAME.jpg``, ``masks/NAME.jpg`` and ``kavsir_bboxes.json`` (spelt so in the release).

    The release names no patients: each image stands for itself.
    """
    boxes = _kvasir_boxes(there(folder / "kavsir_bboxes.json"))
    cases = []
    for path in images_in(folder / "images", (".jpg",)):
        if path.stem not in boxes:
            raise BrokenDataError(f"{folder / 'kavsir_bboxes.json'} has no entry for {path.name}")
        drawn = with_suffix(folder / "masks", path.stem, (".jpg",), str(path))
        cases.append(_case(path, drawn, path.stem, boxes[path.stem]))
    return cases


def read_cvc_clinicdb(folder: Path) -> list[Case]:
    """``Original/N.tif`` and ``Ground Truth/N.tif`` (or the same under ``TIF`` or ``PNG``).

    Frames of one video sequence look alike: where ``metadata.csv`` names sequences (``frame_id``,
    ``sequence_id``) they stand for patients; without it each frame stands for itself, which is logged.
    """
    root = next(
        (folder / part for part in ("", "TIF", "PNG") if (folder / part / "Original").is_dir()), folder
    )
    sequences = {}
    if (folder / "metadata.csv").is_file():
        for row in read_table(folder / "metadata.csv", ("frame_id", "sequence_id")):
            sequences[row.text("frame_id")] = f"sequence {row.text('sequence_id')}"
    else:
        _log.warning(
            "patients: each frame for itself, as %s has no metadata.csv: frames of one sequence can be "
            "learned from and measured on",
            folder,
        )
    cases = []
    for path in sorted(images_in(root / "Original", _SUFFIXES), key=lambda p: p.stem.zfill(8)):
        if sequences and path.stem not in sequences:
            raise BrokenDataError(f"{folder / 'metadata.csv'} has no frame {path.stem}")
        drawn = with_suffix(root / "Ground Truth", path.stem, (path.suffix, *_SUFFIXES), str(path))
        cases.append(_case(path, drawn, sequences.get(path.stem, path.stem), ()))
    return cases


def read_polyp_masks(folder: Path) -> list[Case]:
    """``NAME.png`` and ``NAME_mask.png`` side by side; each image stands for itself."""
    images = [p for p in images_in(folder, _SUFFIXES) if not p.stem.endswith("_mask")]
    return [
        _case(path, with_suffix(folder, f"{path.stem}_mask", _SUFFIXES, str(path)), path.stem, ())
        for path in images
    ]


def _case(path: Path, drawn: Path, patient: str, boxes: tuple[Box, ...]) -> Case:
    return Case(path.stem, patient, partial(colour, path), partial(_polyp, drawn), boxes=boxes)


def _polyp(path: Path) -> dict[str, Mask]:
    return {"polyp": mask(path)}


def _kvasir_boxes(path: Path) -> dict[str, tuple[Box, ...]]:
    try:
        entries: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return {
            name: tuple(
                Box(b["label"], (float(b["xmin"]), float(b["ymin"])), (float(b["xmax"]), float(b["ymax"])))
                for b in entry["bbox"]
            )
            for name, entry in entries.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BrokenDataError(f"{path} is not Kvasir-SEG's table of boxes: {error!r}") from error
