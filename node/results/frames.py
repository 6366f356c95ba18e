"""The frames of a segmentation: one for each slice that a mask touches, with its place and its source.

highdicom makes everything else of a segmentation. It would compare every slice with every segment, and
names no source images at all as soon as one slice was interpolated.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from pydicom import DataElement, Dataset

from inference.findings import Mask
from inference.picture import Pictures
from node.results import codes
from node.results.edition import Edition
from node.results.source import plane_position, slice_spacing


def place_frames(instance: Dataset, edition: Edition, masks: Sequence[Mask], touched: Sequence[int]) -> None:
    """Replaces, in place, the frames of a BINARY segmentation.

    Args:
        masks: one per segment, in the order of their numbers; each has at least one voxel.
        touched: indices of the slices that any mask touches, ascending.
    """
    _, rows, columns = edition.volume.shape
    places = {index: _Plane(edition, index, ordinal) for ordinal, index in enumerate(touched, 1)}
    drawn = {index: np.zeros((rows, columns), bool) for index in touched}
    groups, pixels, overlap = [], [], False
    for number, mask in enumerate(masks, 1):
        first, top, left = mask.origin
        height, width = mask.voxels.shape[1:]
        for offset in np.flatnonzero(mask.voxels.any(axis=(1, 2))).tolist():
            voxels = mask.voxels[offset]
            frame = np.zeros((rows, columns), bool)
            frame[top : top + height, left : left + width] = voxels
            before = drawn[first + offset][top : top + height, left : left + width]
            overlap = overlap or bool((before & voxels).any())
            before |= voxels
            groups.append(places[first + offset].group(number, alone=len(masks) == 1))
            pixels.append(frame)
    instance.PerFrameFunctionalGroupsSequence = groups
    instance.NumberOfFrames = len(groups)
    instance.PixelData = _packed(pixels)
    instance.SegmentsOverlap = "YES" if overlap else "NO"
    instance.pop("DimensionOrganizationType", None)
    if not isinstance(edition.volume, Pictures):
        measures = instance.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
        measures.SpacingBetweenSlices = slice_spacing(edition.volume)
    organization = edition.uid(f"dimensions|{instance.SOPInstanceUID}")
    instance.DimensionOrganizationSequence[0].DimensionOrganizationUID = organization
    for index in instance.DimensionIndexSequence:
        index.DimensionOrganizationUID = organization


class _Plane:
    """What all frames on one slice share: position, source image, place in the order of slices."""

    def __init__(self, edition: Edition, index: int, ordinal: int) -> None:
        self._position: list[Dataset] = []
        if not isinstance(edition.volume, Pictures):
            position = Dataset()
            position.ImagePositionPatient = plane_position(edition.volume, index)
            self._position = [position]
        image = edition.volume.images[index]
        self._derivation = [_derivation(edition, *image)] if image is not None else []
        self._ordinal = ordinal

    def group(self, segment: int, alone: bool) -> Dataset:
        """Per-frame functional groups. A lone segment is identified by the shared ones."""
        content, group = Dataset(), Dataset()
        indices = [segment, self._ordinal] if self._position else [segment]  # pictures have no order in space
        content.add(DataElement("DimensionIndexValues", "UL", indices))
        group.add(DataElement("DerivationImageSequence", "SQ", self._derivation))
        group.add(DataElement("FrameContentSequence", "SQ", [content]))
        if self._position:
            group.add(DataElement("PlanePositionSequence", "SQ", self._position))
        if not alone:
            identification = Dataset()
            identification.add(DataElement("ReferencedSegmentNumber", "US", segment))
            group.add(DataElement("SegmentIdentificationSequence", "SQ", [identification]))
        return group


def _packed(frames: Sequence[npt.NDArray[np.bool_]]) -> bytes:
    """One bit a pixel, frame after frame without padding between them (PS3.5 8.1.1), even in length."""
    if frames[0].size % 8 == 0:
        data = b"".join(np.packbits(frame, bitorder="little").tobytes() for frame in frames)
    else:
        data = np.packbits(np.stack(frames), bitorder="little").tobytes()
    return data + b"\0" * (len(data) % 2)


def _derivation(edition: Edition, sop_instance_uid: str, frame: int | None) -> Dataset:
    source = Dataset()
    source.ReferencedSOPClassUID = edition.sources[sop_instance_uid].SOPClassUID
    source.ReferencedSOPInstanceUID = sop_instance_uid
    if frame is not None:
        source.ReferencedFrameNumber = frame
    source.SpatialLocationsPreserved = "YES"
    source.PurposeOfReferenceCodeSequence = [codes.SOURCE_IMAGE.concept]
    derivation = Dataset()
    derivation.SourceImageSequence = [source]
    derivation.DerivationCodeSequence = [codes.SEGMENTATION.concept]
    return derivation
