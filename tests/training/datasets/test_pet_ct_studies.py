"""The PET/CTs of Lung-PET-CT-Dx: what is read together, where boxes lie, and what is left out and told."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from tests.training.lung_pet_ct_dx import TUMOUR, write_patient
from training.datasets.pet_ct_studies import PetCtStudy, PlacedBox, read_pet_ct_studies, tumours
from training.errors import BrokenDataError
from training.phantoms.dicom import uid

STUDY = uid("study", "A0001")


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("release")
    write_patient(folder, "A0001")
    return folder


@pytest.fixture
def folder(release: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return shutil.copytree(release, tmp_path / "release")


def series(folder: Path, which: str) -> list[Path]:
    return sorted(folder.glob(f"Lung-PET-CT-Dx/*/*/*-{which}/*.dcm"))


def written(folder: Path, which: str, **values: object) -> None:
    """Attributes of all images of a series; those that are None are deleted."""
    for path in series(folder, which):
        image = dcmread(path)
        for keyword, value in values.items():
            if value is None:
                del image[keyword]
            else:
                setattr(image, keyword, value)
        image.save_as(path)


def copied(folder: Path, which: str, name: str, **values: object) -> None:
    """A series of its own, in the same study and frame of reference."""
    for number, path in enumerate(series(folder, which)):
        image = dcmread(path)
        image.SeriesInstanceUID = uid(name)
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = uid(name, number)
        for keyword, value in values.items():
            setattr(image, keyword, value)
        target = path.parent.parent / f"1.000000-{name}" / path.name
        target.parent.mkdir(exist_ok=True)
        image.save_as(target)


def only(folder: Path) -> PetCtStudy:
    (study,) = read_pet_ct_studies(folder).studies
    return study


def test_a_study_comes_with_its_pet_its_ct_and_the_patient_s_histology(folder: Path) -> None:
    study = only(folder)
    assert (study.uid, study.patient, study.histology) == (STUDY, "Lung_Dx-A0001", "adenocarcinoma")
    assert list(study.pet) == series(folder, "PET") and list(study.ct) == series(folder, "CT")


def test_boxes_lie_where_the_tumour_lies_in_the_patient(folder: Path) -> None:
    boxes = only(folder).boxes
    points = np.vstack([box.points_mm for box in boxes])
    middle = (points.min(0) + points.max(0)) / 2
    np.testing.assert_allclose(middle, TUMOUR.center_mm, atol=2.5)
    np.testing.assert_allclose(points.max(0) - points.min(0), 2 * TUMOUR.radius_mm, atol=6)
    beside = TUMOUR.center_mm + 40 * np.eye(3)
    away = np.min([box.away_mm(beside) for box in boxes], axis=0)
    assert away == pytest.approx(np.full(3, 40 - TUMOUR.radius_mm), abs=4)


def test_boxes_of_neighbouring_slices_are_one_tumour_and_those_apart_another(folder: Path) -> None:
    boxes = list(only(folder).boxes)
    far = PlacedBox((60.0, 0.0, 0.0), boxes[0].axes, (5.0, 5.0, 2.0))
    assert len(boxes) > 4
    assert sorted(len(group) for group in tumours([*boxes, far], 6.0)) == [1, len(boxes)]


def test_what_is_not_corrected_or_derived_is_passed_over(folder: Path) -> None:
    """Whatever says so: some scanners list ATTN for both."""
    copied(folder, "PET", "1", CorrectedImage=["DECY"])
    copied(folder, "PET", "2", SeriesDescription="PET NAC")
    copied(folder, "CT", "MPR", ImageType=["DERIVED", "SECONDARY", "MPR"])
    study = only(folder)
    assert list(study.pet) == series(folder, "PET") and list(study.ct) == series(folder, "CT")


@pytest.mark.parametrize(
    ("which", "values", "said"),
    [
        ("PET", {"Modality": "OT"}, "no PET"),
        ("PET", {"CorrectedImage": ["DECY"]}, "no PET that is corrected for attenuation"),
        ("PET", {"FrameOfReferenceUID": "1.2.3"}, "no CT in the frame of reference of its PET"),
    ],
)
def test_a_study_that_cannot_be_used_is_left_out_and_counted(
    folder: Path, which: str, values: dict[str, object], said: str
) -> None:
    written(folder, which, **values)
    found = read_pet_ct_studies(folder)
    assert found.studies == () and found.left_out == {said: (f"Lung_Dx-A0001 {STUDY}",)}


def test_a_study_whose_tumour_nobody_boxed_is_left_out(folder: Path) -> None:
    for path in (folder / "Annotation/A0001").iterdir():
        path.unlink()
    assert read_pet_ct_studies(folder).left_out == {
        "no box on a CT in the frame of reference of its PET": (f"Lung_Dx-A0001 {STUDY}",)
    }


def test_a_damaged_file_is_named(folder: Path) -> None:
    series(folder, "PET")[3].write_bytes(b"\0" * 200)
    with pytest.raises(BrokenDataError, match=r"PET/IM00004\.dcm is not a DICOM image"):
        read_pet_ct_studies(folder)


def test_a_box_on_no_image_is_named(folder: Path) -> None:
    (folder / "Annotation/A0001/1.2.3.xml").write_text("<annotation></annotation>")
    with pytest.raises(BrokenDataError, match=r"1\.2\.3\.xml marks an image that is not in"):
        read_pet_ct_studies(folder)


def test_other_boxes_make_another_fingerprint(folder: Path) -> None:
    before = only(folder).fingerprint()
    assert only(folder).fingerprint() == before
    next((folder / "Annotation/A0001").iterdir()).unlink()
    assert only(folder).fingerprint() != before
