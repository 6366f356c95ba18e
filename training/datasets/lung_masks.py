"""Chest radiographs with lung masks: Montgomery, JSRT with SCR's outlines, and the layout ``lung-masks``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np

from training.datasets.case import Case, CaseImage, Mask
from training.datasets.files import grey, images_in, mask, there, with_suffix
from training.errors import BrokenDataError
from training.tables import read_table

_JSRT_SIDE, _JSRT_SPACING_MM = 2048, 0.175
_SCR = {
    "left lung": "left lung",
    "right lung": "right lung",
    "heart": "heart",
    "left clavicle": "left clavicle",
    "right clavicle": "right clavicle",
}


def read_montgomery(folder: Path) -> list[Case]:
    """``CXR_png/NAME.png``, ``ManualMask/{leftMask,rightMask}/NAME.png``, ``ClinicalReadings/NAME.txt``.

    Every image is of another patient. Label ``tuberculosis``: the last digit of the name.
    """
    masks = folder / "ManualMask"
    cases = []
    for path in images_in(folder / "CXR_png", (".png",)):
        sides = {
            "left lung": there(masks / "leftMask" / path.name, str(path)),
            "right lung": there(masks / "rightMask" / path.name, str(path)),
        }
        if path.stem[-2:] not in ("_0", "_1"):
            raise BrokenDataError(f"{path} is not called MCUCXR_NUMBER_0.png or _1.png")
        ill = float(path.stem[-1])
        cases.append(
            Case(path.stem, path.stem, partial(grey, path), partial(_masks, sides), {"tuberculosis": ill})
        )
    return cases


def read_jsrt(folder: Path) -> list[Case]:
    """JSRT's ``All247images/NAME.IMG`` and SCR's ``scratch/{fold1,fold2}/masks/STRUCTURE/NAME.gif``.

    Masks are of 1024 x 1024 pixels, half the image's side; they are enlarged to it. Every image is of
    another patient. SCR's split: odd numbers are ``fold1``, even ones ``fold2``.
    """
    cases = []
    for path in images_in(folder / "All247images", (".img",)):
        fold = next((f for f in ("fold1", "fold2") if _scr(folder, f, "left lung", path.stem).exists()), None)
        if fold is None:
            missing = _scr(folder, "fold1", "left lung", path.stem)
            raise BrokenDataError(f"{missing} is missing, and in fold2 too, though there is {path}")
        parts = {label: there(_scr(folder, fold, part, path.stem), str(path)) for label, part in _SCR.items()}
        cases.append(
            Case(
                path.stem,
                path.stem,
                partial(_jsrt_image, path),
                partial(_masks, parts, enlarged=2),
                {"nodule": float(path.stem.startswith("JPCLN"))},
                split=fold,
            )
        )
    return cases


def read_lung_masks(folder: Path) -> list[Case]:
    """``index.csv`` with ``stem``, ``patientid`` and ``view``, ``images/STEM.jpg``, ``masks/STEM.png``."""
    table = folder / "index.csv"
    cases = []
    for row in read_table(table, ("stem", "patientid", "view")):
        stem, by = row.text("stem"), f"{table}, line {row.line},"
        path = with_suffix(folder / "images", stem, (".jpg", ".jpeg", ".png"), by)
        drawn = there(folder / "masks" / f"{stem}.png", by)
        cases.append(
            Case(
                stem,
                row.required("patientid"),
                partial(grey, path),
                partial(_masks, {"lungs": drawn}),
                notes={"view": row.text("view")},
            )
        )
    return cases


def _scr(folder: Path, fold: str, structure: str, stem: str) -> Path:
    return folder / "scratch" / fold / "masks" / structure / f"{stem}.gif"


def _masks(paths: Mapping[str, Path], enlarged: int = 1) -> dict[str, Mask]:
    found = {label: mask(path) for label, path in paths.items()}
    if enlarged == 1:
        return found
    return {label: m.repeat(enlarged, 0).repeat(enlarged, 1) for label, m in found.items()}


def _jsrt_image(path: Path) -> CaseImage:
    """2048 x 2048, 12 bits in big-endian 16, air dark: the file stores density, air bright."""
    stored = np.fromfile(path, ">u2")
    if stored.size != _JSRT_SIDE**2:
        raise BrokenDataError(f"{path} has {stored.size} pixels, not {_JSRT_SIDE} x {_JSRT_SIDE}")
    density = np.clip(stored.reshape(_JSRT_SIDE, _JSRT_SIDE), 0, 4095)
    return CaseImage((4095 - density).astype(np.uint16), "grey", (_JSRT_SPACING_MM, _JSRT_SPACING_MM))
