"""Stored values, by a decoder plugin for pydicom (its guide "Decoding plugins") that works on all cores.

pydicom's own JPEG-LS, JPEG 2000 and lossless JPEG decoders hold Python's lock; imagecodecs lets it go, and
reads JPEG-LS four times, lossless JPEG seven times as fast. Of its several decoders, those taken here were
seen to refuse damaged data; others (lossless JPEG by jpegsof3 or ljpeg, RLE) crash on it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import imagecodecs
import numpy.typing as npt
from pydicom import Dataset, uid
from pydicom.pixels.decoders.base import DecodeRunner, get_decoder
from pydicom.pixels.utils import iter_pixels

PLUGIN = "imagecodecs"

_DECODERS: dict[str, Callable[[bytes], Any]] = {
    uid.JPEGLossless: imagecodecs.jpeg8_decode,
    uid.JPEGLosslessSV1: imagecodecs.jpeg8_decode,
    uid.JPEGLSLossless: imagecodecs.jpegls_decode,
    uid.JPEGLSNearLossless: imagecodecs.jpegls_decode,
    uid.JPEG2000Lossless: imagecodecs.jpeg2k_decode,
    uid.JPEG2000: imagecodecs.jpeg2k_decode,
    uid.HTJ2KLossless: imagecodecs.jpeg2k_decode,
    uid.HTJ2KLosslessRPCL: imagecodecs.jpeg2k_decode,
    uid.HTJ2K: imagecodecs.jpeg2k_decode,
}
_JPEG_LS_FRAME = 0xF7
_END = b"\xff\xd9"
_LONGEST_PADDING = 64  # bytes, generously: PS3.5 A.4 asks for an even length
_NO_FRAME = (0xC4, 0xC8, 0xCC)  # Huffman tables, reserved, arithmetic conditioning
DECODER_DEPENDENCIES = dict.fromkeys(_DECODERS, ("numpy", "imagecodecs"))


def frames_of(image: Dataset, indices: Sequence[int] | None = None) -> Iterator[npt.NDArray[Any]]:
    """The stored values of all frames or of those at ``indices``, each (rows, columns) or, of colours, (rows,
    columns, samples). A negative one has its sign in all bits of its container, which some encoders of
    JPEG-LS leave out and pydicom then does not miss.

    Raises:
        ValueError: the values lie in other bits than the lowest, as the standard no longer allows.
    """
    bits, signed = image.get("BitsStored"), image.get("PixelRepresentation") == 1
    high = image.get("HighBit")
    if bits and high is not None and high != bits - 1:
        raise ValueError(f"HighBit is {high} where {bits} bits are stored (PS3.3 C.7.6.3.1.2)")
    is_grey = image.get("SamplesPerPixel") in (None, 1)
    plugin = PLUGIN if is_grey and is_available(image.file_meta.TransferSyntaxUID) else ""
    for frame in iter_pixels(image, indices=indices, raw=True, decoding_plugin=plugin):
        unused = 8 * frame.dtype.itemsize - bits if signed and bits else 0
        yield frame << unused >> unused if unused > 0 else frame


def is_available(syntax: str) -> bool:
    return syntax in _DECODERS


def decode_frame(source: bytes, runner: DecodeRunner) -> bytearray:
    """One frame of one sample per pixel; the size of its container is set on ``runner``.

    Raises:
        ValueError: the frame has another size than the header says, or has no end.
    """
    if runner.transfer_syntax in uid.JPEGLSTransferSyntaxes and _END not in source[-_LONGEST_PADDING:]:
        raise ValueError("a frame cut short")  # the decoder would ponder it for seconds
    _check_size(_jpeg_size(source), runner)
    frame = _DECODERS[runner.transfer_syntax](source)
    _check_size(frame.shape, runner)
    runner.set_option("bits_allocated", 8 * frame.dtype.itemsize)
    return bytearray(frame.tobytes())


def _check_size(size: tuple[int, ...] | None, runner: DecodeRunner) -> None:
    if size not in (None, (runner.rows, runner.columns)):
        raise ValueError(f"a frame of {size} where {runner.rows} x {runner.columns} was announced")


def _jpeg_size(source: bytes) -> tuple[int, int] | None:
    """Rows and columns by the frame header of JPEG or JPEG-LS (ITU-T T.81 B.2.2, T.87 C.2.2); a damaged one
    would have the decoder reserve and sweep gigabytes."""
    place = 2
    while source[place : place + 1] == b"\xff" and place + 9 <= len(source):
        marker = source[place + 1]
        if marker == _JPEG_LS_FRAME or (0xC0 <= marker <= 0xCF and marker not in _NO_FRAME):
            rows, columns = struct.unpack_from(">HH", source, place + 5)
            return int(rows), int(columns)
        place += 2 + int(struct.unpack_from(">H", source, place + 2)[0])
    return None


for _syntax in _DECODERS:
    get_decoder(uid.UID(_syntax)).add_plugin(PLUGIN, (__name__, decode_frame.__name__))
