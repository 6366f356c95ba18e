"""Layouts by name, as ``--layout`` takes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from training.datasets.case import Case
from training.datasets.chest_labels import read_chexpert, read_mimic_cxr, read_nih14, read_nih_folder
from training.datasets.deeplesion import read_deeplesion
from training.datasets.deeplesion_slices import read_deeplesion_slices
from training.datasets.luna16 import read_luna16
from training.datasets.lung_masks import read_jsrt, read_lung_masks, read_montgomery
from training.datasets.lung_pet_ct_dx import read_lung_pet_ct_dx
from training.datasets.polyps import read_cvc_clinicdb, read_kvasir_seg, read_polyp_masks
from training.errors import BrokenDataError, TaskError

LAYOUTS: Mapping[str, Callable[[Path], list[Case]]] = {
    "chexpert": read_chexpert,
    "cvc-clinicdb": read_cvc_clinicdb,
    "deeplesion": read_deeplesion,
    "deeplesion-slices": read_deeplesion_slices,
    "jsrt": read_jsrt,
    "kvasir-seg": read_kvasir_seg,
    "luna16": read_luna16,
    "lung-masks": read_lung_masks,
    "lung-pet-ct-dx": read_lung_pet_ct_dx,
    "mimic-cxr": read_mimic_cxr,
    "montgomery": read_montgomery,
    "nih": read_nih_folder,
    "nih14": read_nih14,
    "polyp-masks": read_polyp_masks,
}


def read_cases(layout: str, folder: Path) -> list[Case]:
    """Every case of a data set.

    Raises:
        TaskError: an unknown layout.
        BrokenDataError: the folder is not laid out so, or holds one case twice.
    """
    if layout not in LAYOUTS:
        raise TaskError(f"layout {layout!r} is not known; there is: {', '.join(LAYOUTS)}")
    if not folder.is_dir():
        raise BrokenDataError(f"{folder} is not a folder")
    cases = LAYOUTS[layout](folder)
    seen: set[str] = set()
    for case in cases:
        if case.id in seen:
            raise BrokenDataError(f"{folder} holds {case.id} twice")
        seen.add(case.id)
    return cases
