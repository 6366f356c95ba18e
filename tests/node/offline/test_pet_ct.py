"""A PET/CT through the whole of an offline reading: which series, which SUV, which result objects."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from inference.catalogue import Catalogue
from inference.readers import READERS
from inference.series import load_series
from node.offline import UnreadableStudyError, read_study
from node.results.fusion import fused, window_of_source
from node.routing.select import describe, select
from node.settings import Settings
from node.settings.routes import DEFAULT_ROUTES
from tests.pet_series import BQ_PER_SUV, write_pet_series
from tests.validators import dciodvfy
from training.phantoms.dicom import Series, Study, write_ct_series
from training.phantoms.hot_lesions import HotLesion
from training.phantoms.pet import PetCtPhantom, pet_ct_phantom

TUMOUR = HotLesion((-75.0, 10.0, 35.0), 32.0, 12.0, True, "lung", lobulation=0.4, unevenness=0.1)
STUDY = Study(description="PET CT WHOLE BODY")
needs_weights = pytest.mark.skipif(
    bool(set(READERS["pet-ct"].models) - set(Catalogue().names)), reason="no weights of pet-ct"
)


@pytest.fixture(scope="module")
def phantom() -> PetCtPhantom:
    return pet_ct_phantom(901, 5, [TUMOUR])


@pytest.fixture(scope="module")
def study(phantom: PetCtPhantom, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pet-ct")
    body = Series(number=3, description="CT AC", body_part="")
    write_ct_series(folder / "ct", phantom.ct, phantom.ct_affine, study=STUDY, series=body)
    pet = Series(number=4, description="PET AC", body_part="")
    write_pet_series(folder / "pet", phantom.pet, phantom.pet_affine, STUDY, pet)
    return folder


def read(folder: Path, out: Path) -> list[dict[str, Any]]:
    return read_study(folder, (), out, Settings(), lambda stage, share: None)


def test_pet_and_ct_become_one_volume_in_suv(phantom: PetCtPhantom, study: Path) -> None:
    paths = [*sorted((study / "pet").iterdir()), *sorted((study / "ct").iterdir())]
    volume = load_series(paths)
    np.testing.assert_allclose(volume.voxels, np.maximum(phantom.pet, 0), atol=0.01)
    np.testing.assert_allclose(volume.affine, phantom.pet_affine, atol=1e-6)
    picture = fused(volume, len(volume.voxels) // 2)  # type: ignore[arg-type]
    assert picture.dtype == np.uint8 and picture.std() > 10
    center, width = window_of_source(volume)  # type: ignore[arg-type]
    assert width == 2 * center == pytest.approx(8 * BQ_PER_SUV, rel=1e-3)


@needs_weights
@pytest.mark.needs("dciodvfy")
def test_a_tumour_arrives_with_its_suv(phantom: PetCtPhantom, study: Path, tmp_path: Path) -> None:
    readings = read(study, tmp_path)
    (reading,) = (r for r in readings if r["reader"] == "pet-ct")
    truth = phantom.lesions[0]
    near = [
        f for f in reading["findings"] if np.linalg.norm(np.subtract(f["center_mm"], truth.center_mm)) < 12
    ]
    assert len(near) == 1
    uptake = near[0]["uptake"]
    assert uptake["suv_peak"] == pytest.approx(truth.suv, rel=0.25)
    assert near[0]["volume_mm3"] == pytest.approx(truth.volume_mm3, rel=0.3)
    assert uptake["glycolysis_g"] == pytest.approx(uptake["suv_mean"] * near[0]["volume_mm3"] / 1000)
    assert near[0]["kind"] == "lung"
    made = [tmp_path / o["path"] for o in reading["objects"]]
    for path in made:
        assert dciodvfy(path) == [], path.name
    reports = [pydicom.dcmread(p) for p in made if pydicom.dcmread(p).Modality == "SR"]
    assert any("SUVbw" in r.to_json() and "Total Lesion Glycolysis" in r.to_json() for r in reports)
    (segmentation,) = (pydicom.dcmread(p) for p in made if pydicom.dcmread(p).Modality == "SEG")
    pet = {str(pydicom.dcmread(p).SOPInstanceUID) for p in (study / "pet").iterdir()}
    cited = segmentation.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert {str(one.ReferencedSOPInstanceUID) for one in cited} <= pet


@needs_weights
def test_a_pet_without_the_injected_dose_fails_with_what_is_missing_and_keeps_back_no_other_result(
    study: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "study"
    shutil.copytree(study, folder)
    for path in (folder / "pet").iterdir():
        image = pydicom.dcmread(path)
        del image.RadiopharmaceuticalInformationSequence[0].RadionuclideTotalDose
        image.save_as(path)
    with pytest.raises(UnreadableStudyError, match="RadionuclideTotalDose is missing") as error:
        read(folder, tmp_path / "out")
    (other,) = json.loads((tmp_path / "out" / "reading.json").read_text())["readings"]
    assert f"the results of {other['reader']} are in {tmp_path / 'out'}" in str(error.value)
    assert all((tmp_path / "out" / made["path"]).is_file() for made in other["objects"])


def test_an_uncorrected_pet_is_left_alone(phantom: PetCtPhantom, tmp_path: Path) -> None:
    series = Series(number=5, description="PET NAC", body_part="")
    paths = write_pet_series(tmp_path, phantom.pet, phantom.pet_affine, STUDY, series)
    for path in paths:
        image = pydicom.dcmread(path)
        image.CorrectedImage = ["DECY"]
        image.save_as(path)
    described = describe("1.2.3", paths)
    (choice,) = select([described], DEFAULT_ROUTES, ["pet-ct"])
    assert not choice.chosen and "attenuation" in choice.reason


def test_a_pet_of_another_tracer_is_left_alone(phantom: PetCtPhantom, tmp_path: Path) -> None:
    series = Series(number=5, description="PET AC", body_part="")
    paths = write_pet_series(tmp_path, phantom.pet, phantom.pet_affine, STUDY, series)
    for path in paths:
        image = pydicom.dcmread(path)
        image.RadiopharmaceuticalInformationSequence[0].Radiopharmaceutical = "F-18 PSMA-1007"
        image.save_as(path)
    (choice,) = select([describe("1.2.3", paths)], DEFAULT_ROUTES, ["pet-ct"])
    assert not choice.chosen and "its tracer is F-18 PSMA-1007, not FDG" in choice.reason
