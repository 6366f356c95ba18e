"""Polyps with masks: Kvasir-SEG and CVC-ClinicDB as released, and the layout ``polyp-masks``."""

from __future__ import annotations

import json
import logging
from functools import partial
from pathlib import Path
from typing import Any

from training.datasets.case import Box, Case
from training.datasets.files import by_stem, check_tabled, colour, masks_on, matched, there
from training.errors import BrokenDataError
from training.tables import read_table

_log = logging.getLogger(__name__)
_SUFFIXES = (".tif", ".png", ".tiff", ".jpg", ".jpeg", ".bmp")


def read_kvasir_seg(folder: Path) -> list[Case]:
    """``images/NAME.jpg``, ``masks/NAME.jpg`` and ``kavsir_bboxes.json`` (spelt so in the release).

    The release names no patients: each image stands for itself.
    """
    table = there(folder / "kavsir_bboxes.json")
    boxes = _kvasir_boxes(table)
    files = _with_masks(folder / "images", folder / "masks", ".jpg")
    check_tabled(table, boxes, files, folder / "images" / "*.jpg")
    return [_case(path, drawn, name, boxes[name]) for name, (path, drawn) in files.items()]


def read_cvc_clinicdb(folder: Path) -> list[Case]:
    """``Original/N.tif`` and ``Ground Truth/N.tif`` (or the same under ``TIF`` or ``PNG``).

    Frames of one video sequence look alike: where ``metadata.csv`` names sequences (``frame_id``,
    ``sequence_id``) they stand for patients; without it each frame stands for itself, which is logged.
    """
    root = next(
        (folder / part for part in ("", "TIF", "PNG") if (folder / part / "Original").is_dir()), folder
    )
    files = _with_masks(root / "Original", root / "Ground Truth", *_SUFFIXES)
    table, sequences = folder / "metadata.csv", {}
    if table.is_file():
        for row in read_table(table, ("frame_id", "sequence_id")):
            sequences[row.text("frame_id")] = f"sequence {row.text('sequence_id')}"
        check_tabled(table, sequences, files, root / "Original" / "*.tif")
    else:
        _log.warning(
            "patients: each frame for itself, as %s has no metadata.csv: frames of one sequence can be "
            "learned from and measured on",
            folder,
        )
    return [
        _case(path, drawn, sequences.get(name, name), ())
        for name, (path, drawn) in sorted(files.items(), key=lambda item: item[0].zfill(8))
    ]


def read_polyp_masks(folder: Path) -> list[Case]:
    """``NAME.png`` and ``NAME_mask.png`` side by side; each image stands for itself."""
    found = by_stem(folder, _SUFFIXES)
    files = matched(
        {
            folder / "*.png": {name: p for name, p in found.items() if not name.endswith("_mask")},
            folder / "*_mask.png": {
                name.removesuffix("_mask"): p for name, p in found.items() if name.endswith("_mask")
            },
        }
    )
    return [_case(path, drawn, name, ()) for name, (path, drawn) in files.items()]


def _with_masks(images: Path, masks: Path, *suffixes: str) -> dict[str, tuple[Path, ...]]:
    """Images of one folder, each with the mask of its name in another."""
    return matched({folder / f"*{suffixes[0]}": by_stem(folder, suffixes) for folder in (images, masks)})


def _case(path: Path, drawn: Path, patient: str, boxes: tuple[Box, ...]) -> Case:
    masks = partial(masks_on, path, {"polyp": drawn})
    return Case(path.stem, patient, partial(colour, path), masks, boxes=boxes)


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
