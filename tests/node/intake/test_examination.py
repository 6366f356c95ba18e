"""What a data set may cost to look over, whoever made it."""

from __future__ import annotations

import struct
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEGLSLossless,
)

from inference import elements
from node.intake.examination import OUT_OF_RESOURCES, Announcement, RefusedError, Scratch, examine
from node.intake.header import Header
from tests.node.intake.senders import ct_slice, encoded

EMPTY_ELEMENT = struct.pack("<HH2sH", 9, 1, b"LO", 0)
EMPTY_FRAGMENT, END = struct.pack("<HHI", 0xFFFE, 0xE000, 0), struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
FRAGMENTS_FOLLOW = struct.pack("<HH2sHI", 0x7FE0, 0x10, b"OB", 0, 0xFFFFFFFF)
SEQUENCE = struct.pack("<HH2sHI", 9, 2, b"SQ", 0, 0xFFFFFFFF)
ITEM, ITEM_END = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF), struct.pack("<HHI", 0xFFFE, 0xE00D, 0)


def no_limit() -> None: ...


def examined(
    data: bytes, uid: str, syntax: str, folder: Path, check_room: Callable[[], None] = no_limit
) -> Header:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        announced = Announcement(CTImageStorage, uid, syntax, "CT1", "127.0.0.1")
        return examine(file.fileno(), 0, announced, Scratch(folder, check_room))


def in_fragments(count: int, frames: int = 1) -> tuple[bytes, str]:
    """A CT in the offset table and ``count`` fragments, all of them empty but the first of each frame."""
    image = ct_slice()
    image.NumberOfFrames = frames
    filled = struct.pack("<HHI", 0xFFFE, 0xE000, 2) + b"\xff\xd8"
    head = encoded(image)[: -12 - len(image.PixelData)]
    items = EMPTY_FRAGMENT + filled * frames + EMPTY_FRAGMENT * (count - frames)
    return head + FRAGMENTS_FOLLOW + items + END, str(image.SOPInstanceUID)


def test_pixels_are_cut_into_as_many_fragments_as_their_frames_may_need(tmp_path: Path) -> None:
    examined(*in_fragments(65_552), JPEGLSLossless, tmp_path)
    examined(*in_fragments(65_552 + 16 * 99, frames=100), JPEGLSLossless, tmp_path)
    with pytest.raises(RefusedError, match="more than 65,552 fragments"):
        examined(*in_fragments(65_553), JPEGLSLossless, tmp_path)


def test_frames_are_counted_by_fragments_that_hold_something(tmp_path: Path) -> None:
    data, uid = in_fragments(3, frames=2)
    examined(data, uid, JPEGLSLossless, tmp_path)
    with pytest.raises(RefusedError, match="1 fragments for 2 frames"):
        examined(data.replace(b"\2\0\0\0\xff\xd8", b"\0\0\0\0", 1), uid, JPEGLSLossless, tmp_path)


@pytest.mark.parametrize(
    "many",
    [
        EMPTY_ELEMENT * 1000,
        SEQUENCE + ITEM + EMPTY_ELEMENT * 1000 + ITEM_END + END,
        SEQUENCE + (ITEM + ITEM_END) * 500 + END,
        (SEQUENCE + END) * 500,
    ],
)
def test_elements_are_counted_wherever_they_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, many: bytes
) -> None:
    image = ct_slice()
    data, uid = many + encoded(image), str(image.SOPInstanceUID)
    examined(data, uid, ExplicitVRLittleEndian, tmp_path)
    monkeypatch.setattr(elements, "ELEMENTS_OF_ANY", 500)
    most = 500 + len(data) // 64
    with pytest.raises(RefusedError, match=f"more than {most} elements"):
        examined(data, uid, ExplicitVRLittleEndian, tmp_path)
    monkeypatch.setattr(elements, "BYTES_OF_ANOTHER", 1)  # a large one may have more, up to a limit
    examined(data, uid, ExplicitVRLittleEndian, tmp_path)
    monkeypatch.setattr(elements, "MAXIMUM_ELEMENTS", 900)
    with pytest.raises(RefusedError, match="more than 900 elements"):
        examined(data, uid, ExplicitVRLittleEndian, tmp_path)


def test_a_deflated_object_is_inflated_in_the_folder_given_and_only_while_there_is_room(
    tmp_path: Path,
) -> None:
    image = ct_slice()
    image.Rows = image.Columns = 4096
    image.PixelData = bytes(2 * 4096 * 4096)
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    data, uid = deflater.compress(encoded(image)) + deflater.flush(), str(image.SOPInstanceUID)
    examined(data, uid, DeflatedExplicitVRLittleEndian, tmp_path)
    looks = []

    def check_room() -> None:
        looks.append(1)
        if len(looks) == 10:
            raise RefusedError(OUT_OF_RESOURCES, "the disk is nearly full")

    with pytest.raises(RefusedError, match="nearly full"):
        examined(data, uid, DeflatedExplicitVRLittleEndian, tmp_path, check_room)
    with pytest.raises(FileNotFoundError):
        examined(data, uid, DeflatedExplicitVRLittleEndian, tmp_path / "gone")
    assert list(tmp_path.iterdir()) == []
