"""A miniature of DeepLesion, laid out as released."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tests.training.datasets.pictures import picture, text

HEADER = (
    "File_name,Patient_index,Study_index,Series_ID,Key_slice_index,Measurement_coordinates,Bounding_boxes,"
    "Lesion_diameters_Pixel_,Normalized_lesion_location,Coarse_lesion_type,Possibly_noisy,Slice_range,"
    "Spacing_mm_px_,Image_size,DICOM_windows,Patient_gender,Patient_age,Train_Val_Test"
)
SIZE, PIXEL_MM, BETWEEN_MM, KEY = 80, 1.6, 5.0, 20
LESION, LONG, SHORT = (30, 44), 12, 8
"""Column and row of the lesion's middle, half of its axes, pixels."""
UNMARKED = (56, 34)


def deeplesion_folder(folder: Path, splits: Sequence[int], kind: int = -1) -> Path:
    """Patients 1, 2, …, one of each split (1 train, 2 validation, 3 test), with a key slice each: a marked
    lesion along its rows, and one as bright that nobody marked."""
    rows = []
    for patient, split in enumerate(splits, 1):
        series = f"{patient:06d}_01_01"
        for number in range(KEY - 3, KEY + 4):
            picture(folder / "Images_png" / series / f"{number:03d}.png", _slice(patient, number))
        rows.append(row(f"{series}_{KEY:03d}.png", split=split, kind=kind))
    text(folder / "DL_info.csv", HEADER, *rows)
    return folder


def row(name: str, *, split: int, kind: int = -1, noisy: int = 0) -> str:
    """A line of the table, which counts pixels from 1."""
    (x, y), a, b = (LESION[0] + 1, LESION[1] + 1), LONG, SHORT
    axes = f"{x - a}, {y}, {x + a}, {y}, {x}, {y - b}, {x}, {y + b}"
    box = f"{x - a - 5}, {y - b - 5}, {x + a + 5}, {y + b + 5}"
    spacing = f"{PIXEL_MM}, {PIXEL_MM}, {BETWEEN_MM}"
    return (
        f'{name},{int(name[:6])},1,1,{KEY},"{axes}","{box}","{2 * a}, {2 * b}","0.4, 0.5, 0.6",{kind},'
        f'{noisy},"{KEY - 3}, {KEY + 3}","{spacing}","{SIZE}, {SIZE}","-175, 275",F,62,{split}'
    )


def _slice(patient: int, number: int) -> np.ndarray:
    """A round body of soft tissue, with two lesions of 110 HU on the three slices about the key slice."""
    y, x = np.ogrid[:SIZE, :SIZE]
    hu = np.full((SIZE, SIZE), -1000.0)
    hu[(x - SIZE / 2) ** 2 + (y - SIZE / 2) ** 2 < 36**2] = 40
    if abs(number - KEY) <= 1:
        for middle in (LESION, UNMARKED):
            hu[((x - middle[0]) / LONG) ** 2 + ((y - middle[1]) / SHORT) ** 2 <= 1] = 110
    hu += np.random.default_rng([patient, number]).normal(0, 8, hu.shape)
    return (hu + 32768).astype(np.uint16)
