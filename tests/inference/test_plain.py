"""What is read of an image without the full parser is what the parser says of it, or is left to that."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
)

from inference.decode import stored_frames
from inference.elements import BeyondHeadError
from inference.errors import UnreadableSeriesError
from inference.header import read_slices
from inference.plain import NotPlainError, PlainHeader, plain_header
from tests.inference.series import change, write_enhanced, write_scene
from tests.inference.test_volume_real import files

TEXTS = (
    *("AcquisitionNumber", "AcquisitionTime", "TriggerTime", "KVP", "ConvolutionKernel", "ImageType"),
    *("FrameOfReferenceUID", "SliceThickness", "RescaleSlope", "RescaleIntercept", "PixelSpacing"),
    *("ImagePositionPatient", "ImageOrientationPatient", "Modality", "SOPInstanceUID", "NumberOfFrames"),
)
NUMBERS = ("Rows", "Columns", "BitsAllocated", "BitsStored", "PixelRepresentation", "SamplesPerPixel")
ASKED = (*TEXTS, *NUMBERS, "PhotometricInterpretation", "TemporalPositionIndex", "FrameReferenceTime")
VALUES = (
    *(b"", b"1 ", b" 1.50 ", b"-1e1", b"1\\2 ", b"0.7\\0.7", b"1\\0\\0\\0\\1\\0", b"x ", b"CT", b"Bl64d\\3"),
    *(b"1.2.0\0", b"\x1b$B ", b"\xe9 ", b"1" * 40, b"A" * 2000, b"101500.5"),
)
PLAIN = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]


def read_both_ways(path: Path) -> PlainHeader | None:
    """None where it is left to the parser."""
    try:
        plain = plain_header(path, ASKED)
    except (BeyondHeadError, ValueError, TypeError):
        return None
    image = pydicom.dcmread(path, specific_tags=list(ASKED), stop_before_pixels=True)
    said = {keyword: image[keyword].value for keyword in ASKED if keyword in image}
    assert {key: value for key, value in plain.values.items() if key in ASKED} == said
    assert all(str(plain.values[keyword]) == str(value) for keyword, value in said.items())
    return plain


def assert_has_the_decoders_pixels(path: Path) -> None:
    (item,) = read_slices(path)
    assert item.pixels is not None
    (ours,) = stored_frames([item])
    (theirs,) = stored_frames([replace(item, pixels=None)])
    assert ours.dtype == theirs.dtype
    assert np.array_equal(ours, theirs)


def a_slice(folder: Path, syntax: str = ExplicitVRLittleEndian) -> Path:
    return write_scene(folder, shape=(3, 20, 130), transfer_syntax=syntax)[0]


def put(image: pydicom.Dataset, keyword: str, value: bytes, vr: str = "") -> None:
    """Bytes as they are, whether they may stand there or not."""
    tag = Tag(tag_for_keyword(keyword))
    implicit = image.original_encoding[0] is True
    image._dict[tag] = RawDataElement(tag, vr or dictionary_VR(tag), len(value), value, 0, implicit, True)


def with_functional_groups(image: pydicom.Dataset) -> None:
    image.PerFrameFunctionalGroupsSequence = [pydicom.Dataset()]
    image["PerFrameFunctionalGroupsSequence"].is_undefined_length = True


def with_longer_meta(path: Path) -> Path:
    """Its group length reaches to the SOP Class UID."""
    data = bytearray(path.read_bytes())
    reach = data.index(b"\x08\x00\x16\x00UI") - 144
    data[140:144] = reach.to_bytes(4, "little")
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("syntax", PLAIN)
def test_an_ordinary_slice_needs_no_parser(tmp_path: Path, syntax: str) -> None:
    path = a_slice(tmp_path, syntax)
    assert read_both_ways(path) is not None
    assert_has_the_decoders_pixels(path)


def test_of_compressed_pixels_the_header_alone_is_plain(tmp_path: Path) -> None:
    for syntax in (JPEGLSLossless, RLELossless):
        plain = read_both_ways(a_slice(tmp_path, syntax))
        assert plain is not None
        assert plain.pixels is None


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.dictionaries(st.sampled_from(TEXTS), st.sampled_from(VALUES), min_size=1, max_size=4),
    vr=st.sampled_from(["", "", "", "UN", "LO", "OB"]),
    syntax=st.sampled_from(PLAIN),
)
def test_whatever_a_header_says_is_read_as_the_parser_reads_it(tmp_path: Path, texts, vr, syntax) -> None:
    def edit(image: pydicom.Dataset) -> None:
        for keyword, value in texts.items():
            put(image, keyword, value, vr)

    read_both_ways(change(a_slice(tmp_path, syntax), edit))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    bits=st.integers(1, 16),
    signed=st.booleans(),
    seed=st.integers(0, 99),
    syntax=st.sampled_from(PLAIN),
    padding=st.sampled_from([b"", b"\0\0"]),
)
def test_pixels_are_those_of_the_decoder(tmp_path: Path, bits, signed, seed, syntax, padding) -> None:
    def edit(image: pydicom.Dataset) -> None:
        image.BitsStored, image.HighBit, image.PixelRepresentation = bits, bits - 1, int(signed)
        image.PixelData = np.random.default_rng(seed).bytes(len(image.PixelData)) + padding

    assert_has_the_decoders_pixels(change(a_slice(tmp_path, syntax), edit))


def test_values_of_one_slice_are_not_those_of_another(tmp_path: Path) -> None:
    first, second, third = write_scene(tmp_path, shape=(3, 20, 130))
    change(second, lambda image: put(image, "KVP", b""))
    change(third, lambda image: put(image, "KVP", b"90"))
    said = [plain_header(path, ASKED).values for path in (first, second, third)]
    assert [str(values["KVP"]) for values in said] == ["120.0", "None", "90"]
    assert len({str(values["ImagePositionPatient"]) for values in said}) == 3


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: a_slice(folder, DeflatedExplicitVRLittleEndian),
        lambda folder: write_enhanced(folder / "enhanced.dcm", [(np.zeros((3, 4, 4), np.int16), np.eye(4))]),
        lambda folder: change(a_slice(folder), lambda image: put(image, "KVP", b"120 ", "LO")),
        lambda folder: change(a_slice(folder), lambda image: put(image, "ConvolutionKernel", b"\xe9 ")),
        lambda folder: change(a_slice(folder), with_functional_groups),
        lambda folder: with_longer_meta(a_slice(folder)),
    ],
    ids=[
        "deflated",
        "multi-frame",
        "other representation",
        "another character set",
        "functional groups of undefined length",
        "a group length that takes in the image type",
    ],
)
def test_what_is_not_plain_is_left_to_the_parser(tmp_path: Path, make) -> None:
    with pytest.raises(NotPlainError):
        plain_header(make(tmp_path), (*ASKED, "PerFrameFunctionalGroupsSequence"))


@pytest.mark.parametrize(
    "rewrite",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-100]),
        lambda path: change(path, lambda image: put(image, "ConvolutionKernel", b"B" * 300)),
    ],
    ids=["cut short", "with a longer header"],
)
def test_a_file_that_was_written_to_since_its_header_was_read_is_refused(tmp_path: Path, rewrite) -> None:
    path = a_slice(tmp_path)
    (item,) = read_slices(path)
    rewrite(path)
    with pytest.raises(UnreadableSeriesError, match="has changed since"):
        next(iter(stored_frames([item])))


def test_real_images_are_read_as_the_parser_reads_them(shared_data: Path) -> None:
    for series in (
        "ct_lung_nlst_sybil/CT_3_952642",
        "ct_lung_petctdx/Lung_Dx-A0001",
        "petct_acrin_nsclc/PT_1_081015",
    ):
        assert all(read_both_ways(path) is not None for path in files(shared_data / series)[::20])
    odd = [path for path in sorted((shared_data / "odd_dicom").rglob("*")) if path.is_file()]
    plain = [path for path in odd if (header := read_both_ways(path)) is not None and header.pixels]
    assert len(plain) >= 30
    for path in plain:
        if is_read(path):
            assert_has_the_decoders_pixels(path)


def is_read(path: Path) -> bool:
    try:
        return bool(read_slices(path))
    except UnreadableSeriesError:
        return False
