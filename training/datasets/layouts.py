"""Layouts by name, as ``--layout`` takes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from training.datasets.case import Case
from training.datasets.chest_labels import (
    CHEXPERT_TABLES,
    CHEXPERT_TRAIN,
    read_chexpert,
    read_mimic_cxr,
    read_nih14,
    read_nih_folder,
)
from training.datasets.deeplesion import read_deeplesion
from training.datasets.deeplesion_slices import read_deeplesion_slices
from training.datasets.luna16 import read_luna16
from training.datasets.lung_masks import read_jsrt, read_lung_masks, read_montgomery
from training.datasets.lung_pet_ct_dx import read_lung_pet_ct_dx
from training.datasets.polyps import read_cvc_clinicdb, read_kvasir_seg, read_polyp_masks
from training.errors import BrokenDataError, refuse_unknown


@dataclass(frozen=True)
class Layout:
    """How a data set is laid out as released. ``holds``: what lies in its folder, first what tells it from
    others; names and patterns, with " or " between those of which one is enough."""

    read: Callable[[Path], list[Case]]
    holds: tuple[str, ...]

    def is_whole(self, folder: Path) -> bool:
        return all(_holds(folder, part) for part in self.holds)

    def is_begun(self, folder: Path) -> bool:
        """Whether a folder is meant to be laid out so, be it whole or not."""
        return _holds(folder, self.holds[0])

    def said(self) -> str:
        *parts, last = self.holds
        return f"{', '.join(parts)} and {last}" if parts else last


def _holds(folder: Path, part: str) -> bool:
    return any(any(folder.glob(name)) for name in part.split(" or "))


_MIMIC = tuple(f"mimic-cxr-2.*-{name}.csv*" for name in ("chexpert", "metadata", "split"))
_CVC = tuple(f"{name} or TIF/{name} or PNG/{name}" for name in ("Original", "Ground Truth"))
_LUNA16 = ("annotations", "annotations_excluded")

LAYOUTS: Mapping[str, Layout] = {
    "chexpert": Layout(
        read_chexpert, (f"train.csv or {CHEXPERT_TABLES}/train.csv", f"train or {CHEXPERT_TRAIN}")
    ),
    "cvc-clinicdb": Layout(read_cvc_clinicdb, _CVC),
    "deeplesion": Layout(read_deeplesion, ("DL_info.csv", "Images_png")),
    "deeplesion-slices": Layout(read_deeplesion_slices, ("boxes.csv", "images")),
    "jsrt": Layout(read_jsrt, ("All247images", "scratch")),
    "kvasir-seg": Layout(read_kvasir_seg, ("kavsir_bboxes.json", "images", "masks")),
    "luna16": Layout(
        read_luna16,
        (
            "subset*",
            *(f"{name}.csv or evaluationScript/annotations/{name}.csv" for name in _LUNA16),
            "candidates_V2.csv or candidates.csv",
        ),
    ),
    "lung-masks": Layout(read_lung_masks, ("index.csv", "images", "masks")),
    "lung-pet-ct-dx": Layout(read_lung_pet_ct_dx, ("Lung-PET-CT-Dx", "Annotation")),
    "mimic-cxr": Layout(read_mimic_cxr, (*_MIMIC, "files")),
    "montgomery": Layout(read_montgomery, ("ManualMask", "CXR_png")),
    "nih": Layout(read_nih_folder, ("labels.csv", "images")),
    "nih14": Layout(
        read_nih14,
        (
            "Data_Entry_2017.csv or Data_Entry_2017_v2020.csv",
            "train_val_list.txt",
            "test_list.txt",
            "images or images_*/images",
        ),
    ),
    "polyp-masks": Layout(read_polyp_masks, ("*_mask.*",)),
}


def read_cases(layout: str, folder: Path) -> list[Case]:
    """Every case of a data set.

    Raises:
        TaskError: an unknown layout.
        BrokenDataError: the folder is not laid out so, which the message then tells, or holds one case twice.
    """
    refuse_unknown("layout", layout, LAYOUTS)
    if not folder.is_dir():
        raise BrokenDataError(f"{folder} is not a folder")
    known = LAYOUTS[layout]
    try:
        cases = known.read(folder)
    except BrokenDataError as error:
        if known.is_whole(folder):
            raise
        raise BrokenDataError(f"{error}; a folder of layout {layout} holds {known.said()}") from error
    seen: set[str] = set()
    for case in cases:
        if case.id in seen:
            raise BrokenDataError(f"{folder} holds {case.id} twice")
        seen.add(case.id)
    return cases
