"""From the pixels of a file to Hounsfield units or activity."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.pixels.utils import iter_pixels

from inference import codecs
from inference.errors import UnreadableSeriesError
from inference.header import Slice

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


def stored_frames(path: Path, frames: Sequence[int | None]) -> Iterator[Stored]:
    """The stored values, (rows, columns), of the frames with these 1-based numbers (None: the only one).

    Raises:
        UnreadableSeriesError: no pixel data, cut short, or in a transfer syntax nobody here can decode.
    """
    try:
        image = pydicom.dcmread(path, specific_tags=_TAGS)
        if not any(keyword in image for keyword in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
            raise UnreadableSeriesError(f"{path.name} has no pixel data; send it again.")
        plugin = codecs.PLUGIN if codecs.is_available(image.file_meta.TransferSyntaxUID) else ""
        indices = [0 if frame is None else frame - 1 for frame in frames]
        yield from iter_pixels(image, indices=indices, raw=True, decoding_plugin=plugin)
    except (UnreadableSeriesError, GeneratorExit, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # decoders raise anything; that of RLE panics outside of Exception
        reason = " ".join(str(error).split())
        raise UnreadableSeriesError(
            f"The pixels of {path.name} cannot be decoded; send it again ({reason})."
        ) from error


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
        if _fits(stored, slope, intercept):
            np.multiply(stored, slope, out=out, dtype=np.int16, casting="unsafe")
            np.add(out, intercept, out=out)
            np.maximum(out, _LOWEST_HU, out=out)
        else:
            values = stored.astype(np.int64) * slope + intercept
            np.clip(values, _LOWEST_HU, np.iinfo(np.int16).max, out=out, casting="unsafe")
        return
    np.multiply(stored, np.float32(item.slope), out=out, dtype=np.float32, casting="unsafe")
    np.add(out, np.float32(item.intercept), out=out)
    if item.modality == "CT":
        np.maximum(out, _LOWEST_HU, out=out)


def _fits(stored: Stored, slope: int, intercept: int) -> bool:
    """Whether rescaling needs no more than 16 bits at any step, as with every scanner's twelve."""
    ends = np.array([int(stored.min()), int(stored.max())])
    values = np.concatenate((ends, ends * slope, ends * slope + intercept, [slope, intercept]))
    return bool(np.abs(values).max() <= np.iinfo(np.int16).max)


def digest(item: Slice) -> bytes:
    """The same for two slices with the same stored values."""
    (stored,) = stored_frames(item.path, [item.frame])
    return hashlib.sha256(stored.astype(np.float64).tobytes()).digest()
