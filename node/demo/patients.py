"""Phantom patients of the demo: what is sent, and what is true of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from training.phantoms.anatomy import chest_anatomy
from training.phantoms.chest import chest_phantom, random_nodules
from training.phantoms.dicom import Patient, Series, Study, write_ct_series
from training.phantoms.fields import Grid
from training.phantoms.nodules import Lesion, Nodule, NoduleType

SHAPE = (160, 216, 288)  # slices, rows, columns
SPACING_MM = (1.5, 1.25, 1.25)
SCOUT_SHAPE = (60, 68, 90)
SCOUT_SPACING_MM = (4.0, 4.0, 4.0)


@dataclass(frozen=True)
class Recipe:
    """A patient to be made. ``nodules`` are kind and diameter in mm; ``expects`` the modalities that have to
    come back, nothing for a study that has to be skipped. ``earlier``: a study that the PACS holds already,
    and the diameters its nodules had then."""

    patient: Patient
    study: Study
    about: str
    seed: int
    nodules: tuple[tuple[NoduleType, float], ...] = ()
    scout_only: bool = False
    earlier: tuple[Study, tuple[float, ...]] | None = None
    expects: frozenset[str] = frozenset({"SEG", "SR"})

    @property
    def study_uid(self) -> str:
        return self.study.uid_for(self.patient)


@dataclass(frozen=True)
class MadeStudy:
    """A recipe's images on disk, the lesions in them, and the images of the earlier study."""

    recipe: Recipe
    paths: tuple[Path, ...]
    lesions: tuple[Lesion, ...]
    earlier: tuple[Path, ...] = ()


RECIPES = (
    Recipe(
        Patient("DEMO-1", "Amber^Ada", "19540312", "F"),
        Study("20240115", "101500", "CT Chest", "D0001"),
        "chest CT, three nodules, one grown",
        seed=11,
        nodules=(("solid", 14.0), ("solid", 9.0), ("part-solid", 12.0)),
        earlier=(Study("20230717", "094500", "CT Chest", "D0000"), (11.0, 9.0, 12.0)),
    ),
    Recipe(
        Patient("DEMO-2", "Birch^Ben", "19610722", "M"),
        Study("20240115", "111000", "CT Chest", "D0002"),
        "chest CT, no nodule",
        seed=12,
        expects=frozenset({"SR"}),
    ),
    Recipe(
        Patient("DEMO-3", "Cedar^Cleo", "19730105", "F"),
        Study("20240115", "113000", "CT Chest", "D0003"),
        "only a scout view",
        seed=13,
        scout_only=True,
        expects=frozenset(),
    ),
)


def make(recipe: Recipe, folder: Path) -> MadeStudy:
    """Render a patient and write the study to ``folder``, an earlier one beside it; the same recipe gives the
    same bytes."""
    if recipe.scout_only:
        return MadeStudy(recipe, tuple(_write_scout(recipe, folder)), ())
    phantom = chest_phantom(recipe.seed, SHAPE, SPACING_MM, _nodules(recipe))
    paths = write_ct_series(
        folder, phantom.voxels, phantom.affine, patient=recipe.patient, study=recipe.study
    )
    return MadeStudy(
        recipe,
        tuple(paths),
        phantom.lesions,
        _make_earlier(recipe, folder.with_name(f"{folder.name}-earlier")),
    )


def _make_earlier(recipe: Recipe, folder: Path) -> tuple[Path, ...]:
    if recipe.earlier is None:
        return ()
    study, diameters = recipe.earlier
    smaller = [
        replace(nodule, diameter_mm=mm) for nodule, mm in zip(_nodules(recipe), diameters, strict=True)
    ]
    phantom = chest_phantom(recipe.seed, SHAPE, SPACING_MM, smaller, scan_seed=1)
    return tuple(write_ct_series(folder, phantom.voxels, phantom.affine, patient=recipe.patient, study=study))


def _nodules(recipe: Recipe) -> Sequence[Nodule]:
    grid = Grid.centred(SHAPE, SPACING_MM)
    drawn = random_nodules(chest_anatomy(recipe.seed), len(recipe.nodules), recipe.seed, grid)
    return [
        replace(nodule, kind=kind, diameter_mm=diameter)
        for nodule, (kind, diameter) in zip(drawn, recipe.nodules, strict=True)
    ]


def _write_scout(recipe: Recipe, folder: Path) -> list[Path]:
    """The frontal view that a scanner plans on: the mean along the patient's depth, as one coronal image."""
    phantom = chest_phantom(recipe.seed, SCOUT_SHAPE, SCOUT_SPACING_MM, lesions=0)
    view = np.rint(phantom.voxels.mean(axis=1, dtype=np.float32)[::-1]).astype(np.int16)  # head up
    up, across = phantom.affine[:, 0], phantom.affine[:, 2]
    first = phantom.affine @ (SCOUT_SHAPE[0] - 1, (SCOUT_SHAPE[1] - 1) / 2, 0, 1)
    affine = np.stack([np.array([0, 1.0, 0, 0]), -up, across, first], axis=1)
    series = Series(number=1, description="Topogram", image_type=("ORIGINAL", "PRIMARY", "LOCALIZER"))
    return write_ct_series(
        folder, view[None], affine, patient=recipe.patient, study=recipe.study, series=series
    )
