"""A decoder plugin for pydicom (its guide "Decoding plugins") that decodes on all cores.

pydicom's own JPEG-LS, JPEG 2000 and lossless JPEG decoders hold Python's lock; imagecodecs lets it go, and
reads JPEG-LS four times as fast.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import imagecodecs
from pydicom import uid
from pydicom.pixels.decoders.base import DecodeRunner, get_decoder

PLUGIN = "imagecodecs"

_DECODERS: dict[str, Callable[[bytes], Any]] = {
    uid.JPEGLossless: imagecodecs.jpegsof3_decode,
    uid.JPEGLosslessSV1: imagecodecs.jpegsof3_decode,
    uid.JPEGLSLossless: imagecodecs.jpegls_decode,
    uid.JPEGLSNearLossless: imagecodecs.jpegls_decode,
    uid.JPEG2000Lossless: imagecodecs.jpeg2k_decode,
    uid.JPEG2000: imagecodecs.jpeg2k_decode,
    uid.HTJ2KLossless: imagecodecs.jpeg2k_decode,
    uid.HTJ2KLosslessRPCL: imagecodecs.jpeg2k_decode,
    uid.HTJ2K: imagecodecs.jpeg2k_decode,
}
DECODER_DEPENDENCIES = dict.fromkeys(_DECODERS, ("numpy", "imagecodecs"))


def is_available(syntax: str) -> bool:
    return syntax in _DECODERS


def decode_frame(source: bytes, runner: DecodeRunner) -> bytearray:
    """One frame of one sample per pixel; the size of its container is set on ``runner``."""
    frame = _DECODERS[runner.transfer_syntax](source)
    if frame.shape != (runner.rows, runner.columns):
        raise ValueError(f"a frame of {frame.shape} where {runner.rows} x {runner.columns} was announced")
    runner.set_option("bits_allocated", 8 * frame.dtype.itemsize)
    return bytearray(frame.tobytes())


for _syntax in _DECODERS:
    get_decoder(uid.UID(_syntax)).add_plugin(PLUGIN, (__name__, decode_frame.__name__))
