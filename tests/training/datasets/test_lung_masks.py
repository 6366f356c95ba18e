"""Chest radiographs with lung masks: Montgomery, JSRT with SCR, and the layout lung-masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.training.datasets.pictures import half, picture, text
from training.datasets.lung_masks import read_jsrt, read_lung_masks, read_montgomery
from training.errors import BrokenDataError


@pytest.fixture
def montgomery(tmp_path: Path) -> Path:
    for name in ("MCUCXR_0001_0.png", "MCUCXR_0104_1.png"):
        picture(tmp_path / "CXR_png" / name)
        picture(tmp_path / "ManualMask/leftMask" / name, half()[:, ::-1].copy())
        picture(tmp_path / "ManualMask/rightMask" / name, half())
    return tmp_path


def test_montgomery_has_both_lungs_apart(montgomery: Path) -> None:
    healthy, ill = read_montgomery(montgomery)
    assert (healthy.labels["tuberculosis"], ill.labels["tuberculosis"]) == (0, 1)
    assert healthy.load_masks is not None
    masks = healthy.load_masks()
    assert not (masks["left lung"] & masks["right lung"]).any()
    assert masks["right lung"][:, :4].all()


def test_a_missing_mask_is_named(montgomery: Path) -> None:
    (montgomery / "ManualMask/leftMask/MCUCXR_0104_1.png").unlink()
    with pytest.raises(BrokenDataError, match=r"leftMask/MCUCXR_0104_1\.png is missing"):
        read_montgomery(montgomery)


def test_a_radiograph_that_only_its_masks_tell_of_is_named(montgomery: Path) -> None:
    (montgomery / "CXR_png/MCUCXR_0104_1.png").unlink()
    with pytest.raises(BrokenDataError, match=r"CXR_png/MCUCXR_0104_1\.png is missing, though there is"):
        read_montgomery(montgomery)


def test_a_mask_of_another_size_than_its_radiograph_is_named(montgomery: Path) -> None:
    picture(montgomery / "ManualMask/rightMask/MCUCXR_0001_0.png", half(6, 4))
    load = read_montgomery(montgomery)[0].load_masks
    assert load is not None
    with pytest.raises(BrokenDataError, match=r"rightMask/MCUCXR_0001_0\.png has 4 x 6 pixels, not 8 x 6"):
        load()


@pytest.fixture
def jsrt(tmp_path: Path) -> Path:
    stored = np.zeros((2048, 2048), ">u2")
    stored[:, 1024:] = 4095
    (tmp_path / "All247images").mkdir()
    stored.tofile(tmp_path / "All247images/JPCLN001.IMG")
    for structure in ("left lung", "right lung", "heart", "left clavicle", "right clavicle"):
        picture(tmp_path / f"scratch/fold1/masks/{structure}/JPCLN001.gif", half(1024, 1024))
    return tmp_path


def test_jsrt_is_turned_to_dark_air_and_masks_to_its_size(jsrt: Path) -> None:
    (case,) = read_jsrt(jsrt)
    image = case.load()
    assert image.pixels[0, 0] == 4095
    assert image.pixels[0, 2047] == 0
    assert image.spacing_mm == (0.175, 0.175)
    assert case.load_masks is not None
    heart = case.load_masks()["heart"]
    assert heart.shape == (2048, 2048)
    assert heart[:, :1024].all()
    assert not heart[:, 1024:].any()
    assert (case.split, case.labels["nodule"]) == ("fold1", 1)


def test_what_jsrt_lacks_is_named(jsrt: Path) -> None:
    (jsrt / "All247images/JPCLN003.IMG").write_bytes((jsrt / "All247images/JPCLN001.IMG").read_bytes())
    with pytest.raises(BrokenDataError, match=r"left lung/JPCLN003\.gif is missing, though .*JPCLN003\.IMG"):
        read_jsrt(jsrt)
    for mask in (jsrt / "scratch/fold1/masks").glob("*/JPCLN001.gif"):
        mask.rename(mask.with_name("JPCLN003.gif"))
    (jsrt / "All247images/JPCLN001.IMG").unlink()
    picture(jsrt / "scratch/fold1/masks/heart/JPCLN001.gif", half(1024, 1024))
    with pytest.raises(BrokenDataError, match=r"JPCLN001\.IMG is missing, though .*heart/JPCLN001\.gif"):
        read_jsrt(jsrt)


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (np.zeros(50, ">u2"), r"JPCLN001\.IMG has 100 bytes, not the 8388608 of 2048 x 2048 pixels"),
        (np.zeros(2 * 2048**2 + 1, "u1"), "has 8388609 bytes"),
        (np.full(2048**2, 1000, "<u2"), r"JPCLN001\.IMG holds 59395, though 12 bits, big-endian, reach 4095"),
    ],
)
def test_what_is_no_raw_image_of_jsrt_is_refused(jsrt: Path, stored: np.ndarray, message: str) -> None:
    stored.tofile(jsrt / "All247images/JPCLN001.IMG")
    with pytest.raises(BrokenDataError, match=message):
        read_jsrt(jsrt)[0].load()


def test_outlines_of_another_size_than_those_of_scr_are_named(jsrt: Path) -> None:
    picture(jsrt / "scratch/fold1/masks/heart/JPCLN001.gif", half(2048, 2048))
    load = read_jsrt(jsrt)[0].load_masks
    assert load is not None
    with pytest.raises(BrokenDataError, match=r"heart/JPCLN001\.gif has 2048 x 2048 pixels, not 1024 x 1024"):
        load()


def test_the_real_lung_masks_can_be_read(shared_data: Path) -> None:
    cases = read_lung_masks(shared_data / "cxr_lungmask")
    assert (len(cases), len({case.patient for case in cases})) == (83, 48)
    for case in cases[:5]:
        assert case.load_masks is not None
        assert 0.1 < case.load_masks()["lungs"].mean() < 0.6
        assert case.load_masks()["lungs"].shape == case.load().pixels.shape


def test_a_stem_without_image_is_named(tmp_path: Path) -> None:
    picture(tmp_path / "images/other.jpg")
    picture(tmp_path / "masks/abc.png")
    text(tmp_path / "index.csv", "stem,patientid,view", "abc,7,AP")
    with pytest.raises(BrokenDataError, match=r"images/abc\.jpg is missing, though .*index\.csv, line 2"):
        read_lung_masks(tmp_path)
