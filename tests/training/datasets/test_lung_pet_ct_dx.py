"""Lung-PET-CT-Dx, laid out as released, with a phantom's slices for images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from tests.training.datasets.pictures import text
from training.datasets.case import Box
from training.datasets.lung_pet_ct_dx import read_lung_pet_ct_dx
from training.errors import BrokenDataError
from training.phantoms.dicom import write_ct_series

VOC = """<annotation verified="no"><folder>A0001</folder><filename>x</filename>
<size><width>8</width><height>8</height><depth>1</depth></size>
<object><name>A</name><pose>Unspecified</pose><truncated>0</truncated><difficult>0</difficult>
<bndbox><xmin>{}</xmin><ymin>2</ymin><xmax>5</xmax><ymax>6</ymax></bndbox></object></annotation>"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    series = tmp_path / "Lung-PET-CT-Dx/Lung_Dx-A0001/04-04-2007-Chest/2.000000-5mm-40805"
    affine = np.diag([5.0, 0.7, 0.7, 1.0])[[2, 1, 0, 3]]
    written = write_ct_series(series, np.full((4, 8, 8), -600, np.int16), affine)
    for path in written[1:3]:
        uid = dcmread(path, stop_before_pixels=True).SOPInstanceUID
        text(tmp_path / f"Annotation/A0001/{uid}.xml", VOC.format(1))
    return tmp_path


def test_boxes_lie_on_the_images_of_their_series(folder: Path) -> None:
    (case,) = read_lung_pet_ct_dx(folder)
    assert case.patient == "Lung_Dx-A0001"
    assert case.labels == {"adenocarcinoma": 1}
    assert len(case.boxes) == 2
    image = case.boxes[0].image
    assert case.boxes[0] == Box("adenocarcinoma", (1, 2), (5, 6), image)
    assert (folder / f"Annotation/A0001/{image}.xml").exists()


def test_the_series_is_loaded_in_hounsfield_units(folder: Path) -> None:
    image = read_lung_pet_ct_dx(folder)[0].load()
    assert image.pixels.shape == (4, 8, 8)
    assert int(image.pixels[0, 0, 0]) == -600
    assert image.spacing_mm == pytest.approx((5, 0.7, 0.7))


def test_a_box_on_no_image_is_named(folder: Path) -> None:
    text(folder / "Annotation/A0001/1.2.3.xml", VOC.format(1))
    with pytest.raises(BrokenDataError, match=r"1\.2\.3\.xml marks an image that is not in"):
        read_lung_pet_ct_dx(folder)


@pytest.mark.parametrize("content", ["<annotation>", VOC.format("left"), "<annotation></annotation>"])
def test_a_broken_annotation_is_named(folder: Path, content: str) -> None:
    path = next((folder / "Annotation/A0001").glob("*.xml"))
    text(path, content)
    with pytest.raises(BrokenDataError, match=path.name):
        read_lung_pet_ct_dx(folder)


@pytest.mark.parametrize("xmin", ["6", "nan", "-1", "-inf"])
def test_a_box_that_is_none_is_named(folder: Path, xmin: str) -> None:
    path = next((folder / "Annotation/A0001").glob("*.xml"))
    text(path, VOC.format(xmin))
    with pytest.raises(
        BrokenDataError, match=rf"{path.name}: the box from \({xmin}, 2\) to \(5, 6\) is none"
    ):
        read_lung_pet_ct_dx(folder)


def test_a_box_beyond_its_image_is_named(folder: Path) -> None:
    path = next((folder / "Annotation/A0001").glob("*.xml"))
    text(path, VOC.format(1).replace("<ymax>6<", "<ymax>9<"))
    with pytest.raises(BrokenDataError, match=r"to \(5, 9\) is none on an image of 8 x 8 pixels"):
        read_lung_pet_ct_dx(folder)


def test_a_broken_image_is_named(folder: Path) -> None:
    next(folder.rglob("*.dcm")).write_bytes(b"no DICOM")
    with pytest.raises(BrokenDataError, match=r"\.dcm is not a DICOM image"):
        read_lung_pet_ct_dx(folder)


def test_a_patient_without_images_is_named(folder: Path) -> None:
    (folder / "Annotation/G0007").mkdir()
    with pytest.raises(BrokenDataError, match="Lung_Dx-G0007 is missing"):
        read_lung_pet_ct_dx(folder)
