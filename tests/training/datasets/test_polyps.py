"""Polyp images with masks: Kvasir-SEG, CVC-ClinicDB, and pairs in one folder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.training.datasets.pictures import half, picture, text
from training.datasets.case import Box
from training.datasets.polyps import read_cvc_clinicdb, read_kvasir_seg, read_polyp_masks
from training.errors import BrokenDataError

COLOUR = np.full((16, 16, 3), (180, 80, 60), np.uint8)


@pytest.fixture
def kvasir(tmp_path: Path) -> Path:
    entry = {
        "height": 16,
        "width": 16,
        "bbox": [{"label": "polyp", "xmin": 0, "ymin": 0, "xmax": 8, "ymax": 16}],
    }
    names = ("cju0qkwl35piu0993l0dewei2", "cju0qoxqj9q6s0835b43399p4")
    for name in names:
        picture(tmp_path / "images" / f"{name}.jpg", COLOUR)
        picture(tmp_path / "masks" / f"{name}.jpg", half(16, 16))
    text(tmp_path / "kavsir_bboxes.json", json.dumps(dict.fromkeys(names, entry)))
    return tmp_path


def test_kvasir_seg(kvasir: Path) -> None:
    first, _ = read_kvasir_seg(kvasir)
    assert first.load().pixels.shape == (16, 16, 3)
    assert first.load_masks is not None
    assert np.array_equal(first.load_masks()["polyp"], half(16, 16) > 0)
    assert first.boxes == (Box("polyp", (0, 0), (8, 16)),)


def test_what_kvasir_seg_lacks_is_named(kvasir: Path) -> None:
    (kvasir / "masks/cju0qoxqj9q6s0835b43399p4.jpg").unlink()
    with pytest.raises(BrokenDataError, match=r"masks/cju0qoxqj9q6s0835b43399p4\.jpg is missing"):
        read_kvasir_seg(kvasir)
    picture(kvasir / "masks/cju0qoxqj9q6s0835b43399p4.jpg", half(16, 16))
    (kvasir / "kavsir_bboxes.json").write_text("{}")
    with pytest.raises(BrokenDataError, match=r"no entry for cju0qkwl35piu0993l0dewei2\.jpg"):
        read_kvasir_seg(kvasir)
    (kvasir / "kavsir_bboxes.json").unlink()
    with pytest.raises(BrokenDataError, match=r"kavsir_bboxes\.json is missing"):
        read_kvasir_seg(kvasir)


def test_a_picture_of_kvasir_seg_that_only_its_mask_or_its_box_tells_of_is_named(kvasir: Path) -> None:
    (kvasir / "images/cju0qoxqj9q6s0835b43399p4.jpg").unlink()
    lost = r"images/cju0qoxqj9q6s0835b43399p4\.jpg is missing, though "
    with pytest.raises(BrokenDataError, match=rf"{lost}there is .*masks/cju0qoxqj9q6s0835b43399p4\.jpg"):
        read_kvasir_seg(kvasir)
    (kvasir / "masks/cju0qoxqj9q6s0835b43399p4.jpg").unlink()
    with pytest.raises(BrokenDataError, match=rf"{lost}.*kavsir_bboxes\.json names it"):
        read_kvasir_seg(kvasir)


def test_a_suffix_counts_in_either_case(kvasir: Path) -> None:
    for part in ("images", "masks"):
        path = kvasir / part / "cju0qoxqj9q6s0835b43399p4.jpg"
        path.rename(path.with_suffix(".JPG"))
        assert len(read_kvasir_seg(kvasir)) == 2


def test_a_mask_of_another_size_than_its_picture_is_named(kvasir: Path) -> None:
    picture(kvasir / "masks/cju0qkwl35piu0993l0dewei2.jpg", half(16, 12))
    load = read_kvasir_seg(kvasir)[0].load_masks
    assert load is not None
    with pytest.raises(BrokenDataError, match=r"dewei2\.jpg has 12 x 16 pixels, not 16 x 16"):
        load()


def test_cvc_clinicdb_in_numerical_order_and_by_sequence(tmp_path: Path) -> None:
    for number in (1, 2, 10):
        picture(tmp_path / f"Original/{number}.tif", COLOUR)
        picture(tmp_path / f"Ground Truth/{number}.tif", half(16, 16))
    assert [(c.id, c.patient) for c in read_cvc_clinicdb(tmp_path)] == [("1", "1"), ("2", "2"), ("10", "10")]
    text(tmp_path / "metadata.csv", "frame_id,sequence_id", "1,1", "2,1", "10,2")
    assert [c.patient for c in read_cvc_clinicdb(tmp_path)] == ["sequence 1", "sequence 1", "sequence 2"]
    (tmp_path / "Ground Truth/2.tif").unlink()
    with pytest.raises(BrokenDataError, match=r"Ground Truth/2\.tif is missing"):
        read_cvc_clinicdb(tmp_path)


def test_a_frame_of_cvc_clinicdb_that_only_its_mask_or_its_sequence_tells_of_is_named(tmp_path: Path) -> None:
    for number in (1, 2):
        picture(tmp_path / f"Original/{number}.tif", COLOUR)
        picture(tmp_path / f"Ground Truth/{number}.tif", half(16, 16))
    text(tmp_path / "metadata.csv", "frame_id,sequence_id", "1,1", "2,1")
    (tmp_path / "Original/2.tif").unlink()
    with pytest.raises(
        BrokenDataError, match=r"Original/2\.tif is missing, though there is .*Ground Truth/2\.tif"
    ):
        read_cvc_clinicdb(tmp_path)
    (tmp_path / "Ground Truth/2.tif").unlink()
    with pytest.raises(BrokenDataError, match=r"Original/2\.tif is missing, though .*metadata\.csv names it"):
        read_cvc_clinicdb(tmp_path)


def test_frames_whose_sequences_are_unknown_are_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("Original", "Ground Truth"):
        picture(tmp_path / name / "1.tif", half(16, 16))
    text(tmp_path / "metadata.csv", "frame_id,sequence_id", "1,1")
    read_cvc_clinicdb(tmp_path)
    assert not caplog.messages
    (tmp_path / "metadata.csv").unlink()
    read_cvc_clinicdb(tmp_path)
    (said,) = caplog.messages
    assert said.startswith("patients: each frame for itself")


def test_pairs_in_one_folder(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", COLOUR)
    with pytest.raises(BrokenDataError, match=r"a_mask\.png is missing"):
        read_polyp_masks(tmp_path)
    picture(tmp_path / "a_mask.png", half(16, 16))
    (case,) = read_polyp_masks(tmp_path)
    assert case.load_masks is not None
    assert case.load_masks()["polyp"].mean() == 0.5
    (tmp_path / "a.png").rename(tmp_path / "b.png")
    picture(tmp_path / "b_mask.png", half(16, 16))
    with pytest.raises(BrokenDataError, match=r"a\.png is missing, though there is .*a_mask\.png"):
        read_polyp_masks(tmp_path)


def test_the_real_pairs_can_be_read(shared_data: Path) -> None:
    cases = read_polyp_masks(shared_data / "polyp_hyperkvasir_6")
    assert len(cases) == 6
    for case in cases:
        assert case.load_masks is not None
        assert case.load_masks()["polyp"].shape == case.load().pixels.shape[:2]
