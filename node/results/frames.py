"""The frames of a segmentation: one for each slice that a mask touches, with its place and its source.

highdicom makes everything else of a segmentation. It would compare every slice with every segment, and
names no source images at all as soon as one slice was interpolated.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from pydicom import DataElement, Dataset
from pydicom.charset import convert_encodings, default_encoding
from pydicom.dataelem import RawDataElement
from pydicom.filewriter import correct_ambiguous_vr
from pydicom.tag import Tag

from inference.findings import Mask
from inference.picture import Pictures
from node.results import codes
from node.results.edition import Edition
from node.results.encoding import encoded, item, sequence
from node.results.source import plane_position, slice_spacing

_Drawn = tuple[tuple[slice, slice], npt.NDArray[np.bool_]]
"""Where on its frame a mask lies, and its pixels there."""


def place_frames(instance: Dataset, edition: Edition, masks: Sequence[Mask], touched: Sequence[int]) -> None:
    """Replaces, in place, the frames of a BINARY segmentation in Explicit VR Little Endian that is settled.

    Args:
        masks: one per segment, in the order of their numbers; each has at least one voxel.
        touched: indices of the slices that any mask touches, ascending.
    """
    _, rows, columns = edition.volume.shape
    places = {index: _Plane(edition, index, ordinal) for ordinal, index in enumerate(touched, 1)}
    drawn = {index: np.zeros((rows, columns), bool) for index in touched}
    groups: list[bytes] = []
    frames: list[_Drawn] = []
    overlap = False
    for number, mask in enumerate(masks, 1):
        first, top, left = mask.origin
        height, width = mask.voxels.shape[1:]
        # a lone segment is identified by the shared functional groups
        identification = _identification(number) if len(masks) > 1 else b""
        box = np.s_[top : top + height, left : left + width]
        for offset in np.flatnonzero(mask.voxels.any(axis=(1, 2))).tolist():
            voxels = mask.voxels[offset]
            before = drawn[first + offset][box]
            overlap = overlap or bool((before & voxels).any())
            before |= voxels
            groups.append(places[first + offset].group(number, identification))
            frames.append((box, voxels))
    instance.NumberOfFrames = len(frames)
    instance.PixelData = _packed(frames, (rows, columns))
    instance.SegmentsOverlap = "YES" if overlap else "NO"
    instance.pop("DimensionOrganizationType", None)
    if not isinstance(edition.volume, Pictures):
        measures = instance.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
        measures.SpacingBetweenSlices = slice_spacing(edition.volume)
    organization = edition.uid(f"dimensions|{instance.SOPInstanceUID}")
    instance.DimensionOrganizationSequence[0].DimensionOrganizationUID = organization
    for index in instance.DimensionIndexSequence:
        index.DimensionOrganizationUID = organization
    _place_encoded(instance, b"".join(map(item, groups)))


def _place_encoded(instance: Dataset, items: bytes) -> None:
    """Per-frame functional groups that are written as they are. pydicom leaves alone what is said to have the
    encoding it writes; nothing else may have an ambiguous VR then."""
    instance.PerFrameFunctionalGroupsSequence = []
    correct_ambiguous_vr(instance, is_little_endian=True)
    tag = Tag("PerFrameFunctionalGroupsSequence")
    instance[tag] = RawDataElement(tag, "SQ", len(items), items, 0, False, True)
    declared = instance.get("SpecificCharacterSet")
    instance.set_original_encoding(False, True, convert_encodings(declared) if declared else default_encoding)


class _Plane:
    """What all frames on one slice share, encoded once: position, source image, place in the order of slices.

    Thousands of frames of organs would take pydicom a minute, of which most is spent on items that are alike.
    """

    def __init__(self, edition: Edition, index: int, ordinal: int) -> None:
        image = edition.volume.images[index]
        derivations = [encoded(_derivation(edition, *image))] if image is not None else []
        self._derivation = sequence("DerivationImageSequence", *derivations)
        self._position = b""
        if not isinstance(edition.volume, Pictures):
            position = Dataset()
            position.ImagePositionPatient = plane_position(edition.volume, index)
            self._position = sequence("PlanePositionSequence", encoded(position))
        self._ordinal = ordinal

    def group(self, segment: int, identification: bytes) -> bytes:
        """Per-frame functional groups, in the order of their tags."""
        indices = [segment, self._ordinal] if self._position else [segment]  # pictures have no order in space
        values = struct.pack(f"<{len(indices)}L", *indices)
        content = struct.pack("<HH2sH", 0x0020, 0x9157, b"UL", len(values)) + values  # DimensionIndexValues
        return self._derivation + sequence("FrameContentSequence", content) + self._position + identification


def _identification(segment: int) -> bytes:
    identified = Dataset()
    identified.add(DataElement("ReferencedSegmentNumber", "US", segment))
    return sequence("SegmentIdentificationSequence", encoded(identified))


def _packed(frames: Sequence[_Drawn], shape: tuple[int, int]) -> bytes:
    """One bit a pixel, frame after frame without padding between them (PS3.5 8.1.1), even in length."""
    eight = np.zeros((8, *shape), bool)  # whatever the size of a frame, eight of them fill their bytes
    packed = []
    for start in range(0, len(frames), 8):
        chunk = frames[start : start + 8]
        eight[:] = False
        for frame, (box, voxels) in zip(eight, chunk, strict=False):
            frame[box] = voxels
        packed.append(np.packbits(eight[: len(chunk)], bitorder="little").tobytes())
    packed.append(b"\0" * (sum(map(len, packed)) % 2))
    return b"".join(packed)


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
