"""Chest radiographs with lung masks: Montgomery, JSRT with SCR's outlines, and the layout ``lung-masks``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np

from training.datasets.case import Case, CaseImage, Mask
from training.datasets.files import by_stem, grey, masks_of_shape, masks_on, matched, there
from training.errors import BrokenDataError
from training.tables import read_table

_JSRT_SIDE, _JSRT_SPACING_MM, _JSRT_WHITE = 2048, 0.175, 4095
_SCR = ("left lung", "right lung", "heart", "left clavicle", "right clavicle")
"""Structures, as the folders of SCR are called."""


def read_montgomery(folder: Path) -> list[Case]:
    """``CXR_png/NAME.png``, ``ManualMask/{leftMask,rightMask}/NAME.png``, ``ClinicalReadings/NAME.txt``.

    Every image is of another patient. Label ``tuberculosis``: the last digit of the name.
    """
    parts = ("CXR_png", "ManualMask/leftMask", "ManualMask/rightMask")
    files = matched({folder / part / "*.png": by_stem(folder / part, (".png",)) for part in parts})
    cases = []
    for name, (path, left, right) in files.items():
        if name[-2:] not in ("_0", "_1"):
            raise BrokenDataError(f"{path} is not called MCUCXR_NUMBER_0.png or _1.png")
        masks = partial(masks_on, path, {"left lung": left, "right lung": right})
        cases.append(Case(name, name, partial(grey, path), masks, {"tuberculosis": float(name[-1])}))
    return cases


def read_jsrt(folder: Path) -> list[Case]:
    """JSRT's ``All247images/NAME.IMG`` and SCR's ``scratch/{fold1,fold2}/masks/STRUCTURE/NAME.gif``.

    Masks are of 1024 x 1024 pixels, half the image's side; they are enlarged to it. Every image is of
    another patient. SCR's split: odd numbers are ``fold1``, even ones ``fold2``.
    """
    scratch = there(folder / "scratch")
    folds = [fold for fold in ("fold1", "fold2") if (scratch / fold).is_dir()] or ["fold1"]
    outlined = {
        scratch / folds[0] / "masks" / structure / "*.gif": {
            name: path
            for fold in folds
            for name, path in by_stem(scratch / fold / "masks" / structure, (".gif",)).items()
        }
        for structure in _SCR
    }
    images = folder / "All247images"
    files = matched({images / "*.IMG": by_stem(images, (".img",)), **outlined})
    return [
        Case(
            name,
            name,
            partial(_jsrt_image, path),
            partial(_scr_masks, dict(zip(_SCR, drawn, strict=True))),
            {"nodule": float(name.startswith("JPCLN"))},
            split=drawn[0].parents[2].name,
        )
        for name, (path, *drawn) in files.items()
    ]


def read_lung_masks(folder: Path) -> list[Case]:
    """``index.csv`` with ``stem``, ``patientid`` and ``view``, ``images/STEM.jpg``, ``masks/STEM.png``."""
    table = there(folder / "index.csv")
    images = by_stem(folder / "images", (".jpg", ".jpeg", ".png"))
    masks = by_stem(folder / "masks", (".png",))
    cases = []
    for row in read_table(table, ("stem", "patientid", "view")):
        stem, by = row.text("stem"), f"{table}, line {row.line},"
        path = images.get(stem) or there(folder / "images" / f"{stem}.jpg", by)
        drawn = masks.get(stem) or there(folder / "masks" / f"{stem}.png", by)
        cases.append(
            Case(
                stem,
                row.required("patientid"),
                partial(grey, path),
                partial(masks_on, path, {"lungs": drawn}),
                notes={"view": row.text("view")},
            )
        )
    return cases


def _scr_masks(drawn: Mapping[str, Path]) -> dict[str, Mask]:
    """Enlarged to JSRT's images."""
    found = masks_of_shape(drawn, (_JSRT_SIDE // 2, _JSRT_SIDE // 2))
    return {label: inside.repeat(2, 0).repeat(2, 1) for label, inside in found.items()}


def _jsrt_image(path: Path) -> CaseImage:
    """2048 x 2048, 12 bits in big-endian 16, air dark: the file stores density, air bright.

    Raises:
        BrokenDataError: the file is of another size, or holds what 12 bits do not.
    """
    if (size := path.stat().st_size) != 2 * _JSRT_SIDE**2:
        raise BrokenDataError(
            f"{path} has {size} bytes, not the {2 * _JSRT_SIDE**2} of {_JSRT_SIDE} x {_JSRT_SIDE} pixels"
        )
    density = np.fromfile(path, ">u2").reshape(_JSRT_SIDE, _JSRT_SIDE)
    if (highest := int(density.max())) > _JSRT_WHITE:
        raise BrokenDataError(
            f"{path} holds {highest}, though 12 bits, big-endian, reach {_JSRT_WHITE}: it is not as released"
        )
    inverted = (_JSRT_WHITE - density).astype(np.uint16)
    return CaseImage(inverted, "grey", (_JSRT_SPACING_MM, _JSRT_SPACING_MM))
