"""From the pixels of a file to Hounsfield units or activity."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pydicom

from inference import codecs
from inference.errors import UnreadableSeriesError
from inference.header import Slice
from inference.plain import FileState, NativePixels

Voxels = npt.NDArray[np.int16] | npt.NDArray[np.float32]
Stored = npt.NDArray[np.integer] | npt.NDArray[np.floating]

_LOWEST_HU = -1024  # what lies below is padding outside the field of view

_TAGS = [
    "Rows",
    "Columns",
    "NumberOfFrames",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
    "PixelData",
    "FloatPixelData",
    "DoubleFloatPixelData",
]


def stored_frames(slices: Sequence[Slice]) -> Iterator[Stored]:
    """The stored values, (rows, columns), of each of these slices of one file.

    Raises:
        UnreadableSeriesError: no pixel data, cut short, or in a transfer syntax nobody here can decode.
    """
    path = slices[0].path
    try:
        if slices[0].pixels is not None:
            yield _native(slices[0], slices[0].pixels)
            return
        image = pydicom.dcmread(path, specific_tags=_TAGS)
        if not any(keyword in image for keyword in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
            raise UnreadableSeriesError(f"{path.name} has no pixel data; send it again.")
        indices = [0 if item.frame is None else item.frame - 1 for item in slices]
        yield from codecs.frames_of(image, indices)
    except (UnreadableSeriesError, GeneratorExit, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # decoders raise anything; that of RLE panics outside of Exception
        reason = " ".join(str(error).split())
        raise UnreadableSeriesError(
            f"The pixels of {path.name} cannot be decoded; send it again ({reason})."
        ) from error


def _native(item: Slice, pixels: NativePixels) -> Stored:
    stored = np.empty(item.shape, "<i2" if pixels.signed else "<u2")
    with item.path.open("rb", buffering=0) as file:
        if FileState.of(file) != pixels.state:
            raise ValueError("the file has changed since its header was read")
        file.seek(pixels.offset)
        if file.readinto(stored.data) != stored.nbytes:
            raise ValueError("the file has been cut short")
    if pixels.unused_bits:  # they may hold an overlay, or no sign
        np.left_shift(stored, pixels.unused_bits, out=stored)
        np.right_shift(stored, pixels.unused_bits, out=stored)
    return stored


def room(count: int, slices: Sequence[Slice]) -> Voxels:
    """Unfilled voxels for ``count`` slices: int16 for CT rescaled by whole numbers, else float32."""
    shape = (count, *slices[0].shape)
    if all(
        item.modality == "CT" and item.slope.is_integer() and item.intercept.is_integer() for item in slices
    ):
        return np.empty(shape, np.int16)
    return np.empty(shape, np.float32)


def rescale(stored: Stored, item: Slice, out: Voxels) -> None:
    """Writes a slice's values into ``out``: HU, not below -1024, or the unit of a PET image."""
    if out.dtype == np.int16:
        slope, intercept = int(item.slope), int(item.intercept)
        ends = np.array([int(stored.min()), int(stored.max())])
        if _fits(ends, slope, intercept):
            whole = stored.view(np.int16) if stored.dtype == np.uint16 else stored  # the same numbers
            np.multiply(whole, slope, out=out, dtype=np.int16, casting="unsafe")
            np.add(out, intercept, out=out)
            if (ends * slope + intercept).min() < _LOWEST_HU:
                np.maximum(out, _LOWEST_HU, out=out)
        else:
            values = stored.astype(np.int64) * slope + intercept
            np.clip(values, _LOWEST_HU, np.iinfo(np.int16).max, out=out, casting="unsafe")
        return
    np.multiply(stored, np.float32(item.slope), out=out, dtype=np.float32, casting="unsafe")
    np.add(out, np.float32(item.intercept), out=out)
    if item.modality == "CT":
        np.maximum(out, _LOWEST_HU, out=out)


def _fits(ends: npt.NDArray[np.int64], slope: int, intercept: int) -> bool:
    """Whether rescaling values between these needs no more than 16 bits at any step, as with every scanner's
    twelve."""
    values = np.concatenate((ends, ends * slope, ends * slope + intercept, [slope, intercept]))
    return bool(np.abs(values).max() <= np.iinfo(np.int16).max)


def digest(item: Slice) -> bytes:
    """The same for two slices with the same stored values."""
    (stored,) = stored_frames([item])
    return hashlib.sha256(stored.astype(np.float64).tobytes()).digest()
