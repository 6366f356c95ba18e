"""A phantom patient over several dates: the same chest, its nodules grown from one to the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from training.phantoms.anatomy import chest_anatomy
from training.phantoms.chest import chest_phantom, random_nodules
from training.phantoms.dicom import Patient, Series, Study, write_ct_series
from training.phantoms.fields import Grid
from training.phantoms.nodules import Nodule

SHAPE, SPACING_MM = (64, 112, 144), (2.0, 2.5, 2.5)
SEED = 4
THIN = Series()
PATIENT = Patient("GROWING-1", "Growing^Grace", "19550505", "F")


def nodules(diameters_mm: Sequence[float]) -> list[Nodule]:
    """One solid nodule for each diameter, always at the same places."""
    drawn = random_nodules(chest_anatomy(SEED), len(diameters_mm), SEED, Grid.centred(SHAPE, SPACING_MM))
    return [
        replace(nodule, kind="solid", diameter_mm=diameter)
        for nodule, diameter in zip(drawn, diameters_mm, strict=True)
    ]


def visit(
    folder: Path,
    date: str,
    diameters_mm: Sequence[float],
    *,
    patient: Patient = PATIENT,
    time: str = "101500",
    series: Series = THIN,
    noise: int = 0,
) -> list[Path]:
    """The CT of one date."""
    phantom = chest_phantom(SEED, SHAPE, SPACING_MM, nodules(diameters_mm), scan_seed=noise)
    study = Study(date=date, time=time, accession_number=f"G{date}")
    return write_ct_series(
        folder, phantom.voxels, phantom.affine, patient=patient, study=study, series=series
    )


def study_uid(date: str, patient: Patient = PATIENT, time: str = "101500") -> str:
    return Study(date=date, time=time, accession_number=f"G{date}").uid_for(patient)
