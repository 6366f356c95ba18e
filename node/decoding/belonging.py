"""Whose pixels an answer may give: of the images in the files that were asked about, by their own headers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from pydicom import dcmread

from inference.header import Headers
from inference.pet_ct import PetCt
from inference.volume import Volume

_TAGS = ("SOPInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
_Uids = tuple[str, ...]
"""Of one image, in the order of ``_TAGS``."""


def belongs(volume: Volume, paths: Sequence[Path], headers: Headers) -> bool:
    """Whether each series, image and frame of reference that a volume names is one of the files'.
    headers: of files that were looked at already."""
    known = {uids for path in paths for uids in _uids(path, headers)}
    images = {(series, image) for image, series, _ in known}
    frames_of_reference = {frame for _, _, frame in known}
    return all(
        part.series_uid in {series for series, _ in images}
        and part.frame_of_reference_uid in frames_of_reference
        and all(image is None or (part.series_uid, image[0]) in images for image in part.images)
        for part in _parts(volume)
    )


def _parts(volume: Volume) -> Iterator[Volume]:
    yield volume
    if isinstance(volume, PetCt) and volume.ct is not None:
        yield volume.ct


def _uids(path: Path, headers: Headers) -> Iterator[_Uids]:
    """None of a file that cannot be read: nothing can be known of it, so nothing may be said of it."""
    if slices := headers.get(path):
        yield from ((s.sop_uid, s.series_uid, s.frame_of_reference_uid) for s in slices)
        return
    try:
        header = dcmread(path, specific_tags=list(_TAGS), stop_before_pixels=True)
        yield tuple(str(header.get(tag) or "") for tag in _TAGS)
    except Exception:  # noqa: BLE001  a damaged file makes the parser raise anything
        return
