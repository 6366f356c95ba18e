"""A PET with its CT: what is read together, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom import Dataset

from inference.errors import UnreadableSeriesError
from inference.pet_ct import PetCt, load_pet_ct
from tests.pet_series import write_pet_series
from training.phantoms.dicom import Series, Study, write_ct_series

STUDY = Study(description="PET CT WHOLE BODY")


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A block of water of SUV 0.8, and its CT."""
    suv, hu = np.zeros((10, 24, 24), np.float32), np.full((10, 24, 24), -1000, np.int16)
    suv[:, 6:18, 6:18], hu[:, 6:18, 6:18] = 0.8, 20
    affine = np.diag([4.0, 5.0, 5.0, 1.0])[[2, 1, 0, 3]]
    write_ct_series(tmp_path / "ct", hu, affine, study=STUDY, series=Series(number=3, description="CT"))
    write_pet_series(tmp_path / "pet", suv, affine, STUDY, Series(number=4, description="PET"))
    return tmp_path


def change(folder: Path, how: Callable[[Dataset], None]) -> None:
    for path in folder.iterdir():
        image = pydicom.dcmread(path)
        how(image)
        image.save_as(path)


def injected(**values: str) -> Callable[[Dataset], None]:
    def change(image: Dataset) -> None:
        for keyword, value in values.items():
            setattr(image.RadiopharmaceuticalInformationSequence[0], keyword, value)

    return change


def load(study: Path) -> PetCt:
    return load_pet_ct([*(study / "pet").iterdir(), *(study / "ct").iterdir()])


def test_a_pet_of_fdg_is_read_in_suv_without_any_doubt(study: Path) -> None:
    volume = load(study)
    assert volume.voxels[5, 12, 12] == pytest.approx(0.8, rel=1e-3)
    assert volume.caveats == ()


def test_thick_slices_that_overlap_show_a_pet_no_finer_than_they_are(study: Path) -> None:
    def thicker(image: Dataset) -> None:
        image.SliceThickness = "8"

    change(study / "pet", thicker)
    volume = load(study)
    assert volume.spacing_mm[0] == pytest.approx(4.0)
    assert volume.slice_mm == 8.0


def test_a_tracer_that_is_not_stated_is_told(study: Path) -> None:
    change(study / "pet", injected(Radiopharmaceutical="Solution"))
    (caveat,) = load(study).caveats
    assert caveat.kind == "assumed"
    assert caveat.statement == "The PET only calls its tracer 'Solution': it was read as FDG."


def test_another_tracer_is_not_read(study: Path) -> None:
    change(study / "pet", injected(Radiopharmaceutical="Ga-68 PSMA-11", RadionuclideHalfLife="4062.6"))
    with pytest.raises(UnreadableSeriesError, match="The tracer of the PET is Ga-68 PSMA-11, not FDG"):
        load(study)


def test_without_a_frame_of_reference_pet_and_ct_do_not_lie_in_the_same(study: Path) -> None:
    for series in ("pet", "ct"):
        change(study / series, lambda image: image.__delattr__("FrameOfReferenceUID"))
    with pytest.raises(UnreadableSeriesError, match="in different frames of reference, or in none"):
        load(study)


@pytest.mark.parametrize(("dose", "median"), [("4e9", "0.08"), ("4e7", "8")])
def test_an_suv_that_no_body_has_is_refused(study: Path, dose: str, median: str) -> None:
    change(study / "pet", injected(RadionuclideTotalDose=dose))
    with pytest.raises(
        UnreadableSeriesError, match=f"median SUV of the body is {median} g/ml, which no body"
    ):
        load(study)


def test_a_ct_that_shows_no_body_where_the_pet_lies_is_refused(study: Path) -> None:
    def moved(image: Dataset) -> None:
        x, y, z = image.ImagePositionPatient
        image.ImagePositionPatient = [x, y, z + 1000]

    change(study / "ct", moved)
    with pytest.raises(UnreadableSeriesError, match="The CT shows no body where the PET lies"):
        load(study)
