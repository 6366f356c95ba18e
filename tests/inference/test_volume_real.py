"""Real series, whole and odd, become volumes or are refused with a sentence."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import pydicom
import pytest

from inference.volume import UnreadableSeriesError, load_volume


def files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if path.suffix != ".md" and path.name != "LICENSE"]


@pytest.mark.parametrize(
    ("folder", "shape", "spacing", "dtype", "statements"),
    [
        ("ct_lung_nlst_sybil/CT_3_952642", (143, 512, 512), (2.0, 0.54, 0.54), np.int16, ()),
        ("ct_lung_petctdx/Lung_Dx-A0001", (64, 512, 512), (5.0, 0.842, 0.842), np.int16, ()),
        ("petct_acrin_nsclc/CT_2_858561", (135, 512, 512), (3.27, 0.977, 0.977), np.int16, ()),
        (
            "petct_acrin_nsclc/PT_1_081015",
            (135, 128, 128),
            (3.27, 4.688, 4.688),
            np.float32,
            (),
        ),
        (
            "odd_dicom/dicom2nifti/gantrytilting/001",
            (4, 512, 512),
            (4.851, 0.418, 0.418),
            np.int16,
            ("A gantry tilt of 14.0 degrees is followed exactly, without resampling.",),
        ),
        (
            "odd_dicom/dicom2nifti/sliceincrement/001",
            (5, 512, 512),
            (5.0, 0.43, 0.43),
            np.int16,
            ("1 missing slice interpolated from the neighbours.",),
        ),
    ],
)
def test_a_real_series_is_read(shared_data: Path, folder, shape, spacing, dtype, statements) -> None:
    volume = load_volume(files(shared_data / folder))
    assert volume.shape == shape
    assert volume.spacing_mm == pytest.approx(spacing, abs=0.001)
    assert volume.voxels.dtype == dtype
    assert tuple(caveat.statement for caveat in volume.caveats) == statements


@pytest.mark.parametrize(
    ("folder", "says"),
    [
        ("ct_gantry_tilt_gap", r"varies from 1\.08 to 7\.00 mm"),
        ("odd_dicom/dicom2nifti/notavolume/001", "1 image cannot make a volume"),
        ("odd_dicom/dicom2nifti/slicecount/001", "is MR; only CT and PET"),
        ("petct_acrin_nsclc/CT_1_336581", "localizers only"),
        ("ct_totalseg_example/example_ct_dicom", "has no SOPInstanceUID"),
        ("odd_dicom/pydicom/dicomdirtests/77654033/CT2", r"varies from 1\.25 to 202\.50 mm"),
    ],
)
def test_a_series_that_is_no_sound_volume_is_refused(shared_data: Path, folder, says) -> None:
    with pytest.raises(UnreadableSeriesError, match=says):
        load_volume(files(shared_data / folder))


def test_a_multiframe_image_equals_its_single_slices(shared_data: Path) -> None:
    case = shared_data / "seg_sr_examples/dcmqi/segmentations/24x38x3"
    one = load_volume(sorted((case / "multiframe").glob("*.dcm")))
    many = load_volume(sorted((case / "image").glob("*.dcm")))
    assert one.affine == pytest.approx(many.affine)
    assert (one.voxels == many.voxels).all()


def test_the_known_nodule_is_denser_than_the_lung_around_it(shared_data: Path) -> None:
    volume = load_volume(files(shared_data / "ct_lung_nlst_sybil/CT_3_952642"))
    k, r, c = np.rint(volume.to_index((4.2, 2.7, 1181.6))).astype(int)
    assert volume.voxels[k - 1 : k + 2, r - 2 : r + 3, c - 2 : c + 3].mean() > -100


def test_every_odd_file_is_read_or_refused_by_name(shared_data: Path) -> None:
    series = defaultdict(list)
    for path in sorted((shared_data / "odd_dicom").rglob("*")):
        if path.is_file():
            series[path.parent, _series_uid(path)].append(path)
    refused = 0
    for paths in series.values():
        try:
            load_volume(paths)
        except UnreadableSeriesError as error:
            refused += 1
            assert "\n" not in str(error)
            assert str(error).endswith(".")
    assert refused > 50


def _series_uid(path: Path) -> str:
    try:
        return str(pydicom.dcmread(path, specific_tags=["SeriesInstanceUID"]).get("SeriesInstanceUID"))
    except (pydicom.errors.InvalidDicomError, ValueError, AttributeError, EOFError):
        return path.name
