"""Lung-PET-CT-Dx in miniature, laid out as released: a trunk of water with hot spheres in it, as DICOM."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom import dcmread

from inference.findings import Point
from tests.pet_series import write_pet_series
from tests.training.datasets.pictures import text
from training.phantoms.dicom import Patient, Series, Study, uid, write_ct_series

VOC = """<annotation><object><name>{}</name><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax>
<ymax>{}</ymax></bndbox></object></annotation>"""
PET_SHAPE, PET_MM = (22, 34, 34), 5.0
CT_SHAPE, CT_MM = (28, 60, 60), 4.0
_PET_CORNER, _CT_CORNER = (-85.0, -85.0, -55.0), (-118.0, -120.0, -54.0)


@dataclass(frozen=True)
class Sphere:
    """Hot tissue. boxed: whether somebody has boxed it."""

    center_mm: Point
    radius_mm: float
    suv: float
    boxed: bool = False


TUMOUR = Sphere((-40.0, -20.0, 0.0), 13.0, 12.0, boxed=True)
NODE = Sphere((38.0, -40.0, 20.0), 11.0, 6.0)
FAINT = Sphere((30.0, 45.0, -10.0), 13.0, 2.6)


def write_patient(
    folder: Path, name: str, spheres: tuple[Sphere, ...] = (TUMOUR, NODE, FAINT), *, with_pet: bool = True
) -> Path:
    """One study of the patient ``name``, as A0001; returns the folder of its series."""
    of = Patient(patient_id=f"Lung_Dx-{name}", name=f"Lung_Dx-{name}")
    study = Study(uid=uid("study", name))
    home = folder / "Lung-PET-CT-Dx" / of.patient_id / "04-04-2007-PET"
    hu = _drawn(CT_SHAPE, CT_MM, _CT_CORNER, -1000.0, 0.0, [(sphere, 40.0) for sphere in spheres])
    paths = write_ct_series(
        home / "3.000000-CT", hu.astype(np.int16), _affine(CT_MM, _CT_CORNER), patient=of, study=study
    )
    for index, path in enumerate(paths):
        z = _CT_CORNER[2] + index * CT_MM
        for sphere in spheres if with_pet else ():
            across = sphere.radius_mm**2 - (z - sphere.center_mm[2]) ** 2
            if sphere.boxed and across > 0:
                x, y = ((sphere.center_mm[k] - _CT_CORNER[k]) / CT_MM for k in (0, 1))
                reach = np.sqrt(across) / CT_MM
                box = (round(v) for v in (x - reach, y - reach, x + reach, y + reach))
                instance = dcmread(path, stop_before_pixels=True).SOPInstanceUID
                text(folder / f"Annotation/{name}/{instance}.xml", VOC.format(name[0], *box))
    if with_pet:
        suv = _drawn(PET_SHAPE, PET_MM, _PET_CORNER, 0.0, 0.8, [(sphere, sphere.suv) for sphere in spheres])
        affine = _affine(PET_MM, _PET_CORNER)
        write_pet_series(home / "4.000000-PET", suv, affine, study, Series(number=4))
    return home


def _affine(mm: float, corner: Point) -> npt.NDArray[np.float64]:
    affine = np.diag([mm, mm, mm, 1.0])[[2, 1, 0, 3]]
    affine[:3, 3] = corner
    return affine


def _drawn(
    shape: tuple[int, int, int],
    mm: float,
    corner: Point,
    outside: float,
    inside: float,
    spheres: list[tuple[Sphere, float]],
) -> npt.NDArray[np.float32]:
    """A trunk of 150 x 150 mm with spheres in it, (slices, rows, columns)."""
    z, y, x = np.meshgrid(
        *(corner[2 - k] + mm * np.arange(n) for k, n in enumerate(shape)), indexing="ij", sparse=True
    )
    values = np.where((np.abs(x) < 75) & (np.abs(y) < 75) & np.isfinite(z), inside, outside)
    for sphere, value in spheres:
        cx, cy, cz = sphere.center_mm
        values = np.where((x - cx) ** 2 + (y - cy) ** 2 + (z - cz) ** 2 < sphere.radius_mm**2, value, values)
    return values.astype(np.float32)
