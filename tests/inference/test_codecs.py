"""Stored values, however they are compressed and in however many bits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import (
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
)

from inference.errors import UnreadableSeriesError
from inference.volume import load_volume
from tests.inference.series import change, write_scene

Words = npt.NDArray[np.uint16]
ENCODERS: dict[str, Callable[[Words, int], bytes]] = {
    ExplicitVRLittleEndian: lambda stored, bits: stored.tobytes(),
    JPEGLSLossless: lambda stored, bits: bytes(imagecodecs.jpegls_encode(stored)),
    JPEGLosslessSV1: lambda stored, bits: bytes(imagecodecs.ljpeg_encode(stored, bitspersample=bits)),
    JPEG2000Lossless: lambda stored, bits: bytes(
        imagecodecs.jpeg2k_encode(stored, level=0, reversible=True, codecformat="j2k")
    ),
}


@pytest.mark.parametrize("bits", [12, 13, 16])
@pytest.mark.parametrize("syntax", ENCODERS, ids=lambda syntax: pydicom.uid.UID(syntax).name)
def test_a_negative_value_is_one_in_however_many_bits_it_is_stored(
    tmp_path: Path, syntax: str, bits: int
) -> None:
    """As some encoders write them: the bits above those stored are zero, whatever precision is said."""
    paths = write_scene(tmp_path)
    expected = np.maximum(load_volume(paths).voxels, -(2 ** (bits - 1)))

    def as_signed(image: Any) -> None:
        hu = image.pixel_array.astype(int) * int(image.RescaleSlope) + int(image.RescaleIntercept)
        lowest_bits = np.maximum(hu, -(2 ** (bits - 1))).astype(np.int16).view(np.uint16) & (2**bits - 1)
        image.RescaleSlope, image.RescaleIntercept = 1, 0
        image.PixelRepresentation, image.BitsStored, image.HighBit = 1, bits, bits - 1
        encoded = ENCODERS[syntax](np.ascontiguousarray(lowest_bits.astype(np.uint16)), bits)
        image.PixelData = encoded if syntax == ExplicitVRLittleEndian else encapsulate([encoded])
        image["PixelData"].is_undefined_length = syntax != ExplicitVRLittleEndian
        image["PixelData"].VR = "OW" if syntax == ExplicitVRLittleEndian else "OB"
        image.file_meta.TransferSyntaxUID = syntax

    for path in paths:
        change(path, as_signed)
    assert (expected < 0).any()
    assert np.array_equal(load_volume(paths).voxels, expected)


def test_values_in_other_bits_than_the_lowest_are_refused(tmp_path: Path) -> None:
    paths = write_scene(tmp_path)

    def moved_up(image: Any) -> None:
        image.PixelData = (image.pixel_array.view(np.uint16) << 4).tobytes()
        image.BitsStored, image.HighBit = 12, 15

    for path in paths:
        change(path, moved_up)
    with pytest.raises(UnreadableSeriesError, match="HighBit is 15 where 12 bits are stored"):
        load_volume(paths)
