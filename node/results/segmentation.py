"""Masks become a DICOM Segmentation (PS3.3 A.51): one segment per lesion, only the slices it touches.

Every frame carries its own position, taken from the volume's affine, and names the image it was drawn on.
Nothing is flipped, sorted by file or resampled on the way, so it is right in any orientation, tilt included.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import highdicom as hd
import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from inference.findings import Code, Finding, Mask, Segment
from node.results import codes
from node.results.edition import DISCLAIMER, Edition
from node.results.source import image_orientation, pixel_spacing, plane_position, slice_spacing

_COLOURS = ((84, 67, 57), (60, 78, 12), (72, -12, 62), (66, -24, -34), (62, 52, -32), (76, -58, 48))  # CIELab


@dataclass(frozen=True, eq=False)
class Region:
    """What one segment shows."""

    label: str
    code: Code
    category: codes.Term
    mask: Mask
    tracking_uid: str = ""
    description: str = ""


def lesion_regions(findings: Sequence[Finding]) -> tuple[Region, ...]:
    """The findings that have a mask, in order; a finding's segment number is its place here, from 1."""
    return tuple(
        Region(
            label=f"{finding.label} {number}",
            code=finding.code,
            category=codes.MORPHOLOGICALLY_ABNORMAL,
            mask=finding.mask,
            tracking_uid=finding.tracking_uid,
            description=f"{finding.long_axis_mm:.1f} x {finding.short_axis_mm:.1f} mm; {DISCLAIMER}",
        )
        for number, finding in enumerate(findings, 1)
        if finding.mask is not None and finding.mask.voxels.any()
    )


def structure_regions(segments: Sequence[Segment]) -> tuple[Region, ...]:
    """The structures that have a mask, in order."""
    return tuple(
        Region(segment.label, segment.code, codes.ANATOMICAL_STRUCTURE, segment.mask, description=DISCLAIMER)
        for segment in segments
        if segment.mask is not None and segment.mask.voxels.any()
    )


def segmentation(edition: Edition, regions: Sequence[Region], role: str) -> hd.seg.Segmentation:
    """A BINARY segmentation in Explicit VR Little Endian, which every reader known to us can decode.

    Args:
        role: ``seg`` or ``seg-structures``.

    Raises:
        ValueError: no regions; an empty segmentation says less than a report without findings.
    """
    if not regions:
        raise ValueError("a segmentation needs at least one region")
    volume = edition.volume
    touched = touched_slices(regions)
    instance = hd.seg.Segmentation(
        source_images=[edition.sources[uid] for uid in source_uids(edition.volume.images, touched)],
        pixel_array=_stacked(regions, touched, volume.voxels.shape[1:]),
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[_described(edition, n, region) for n, region in enumerate(regions, 1)],
        sop_instance_uid=edition.uid(role),
        instance_number=1,
        content_label="AI_RESULT",
        content_description=DISCLAIMER,
        pixel_measures=hd.PixelMeasuresSequence(
            pixel_spacing=pixel_spacing(volume),
            slice_thickness=slice_spacing(volume),
            spacing_between_slices=slice_spacing(volume),
        ),
        plane_orientation=hd.PlaneOrientationSequence("PATIENT", image_orientation(volume)),
        plane_positions=[
            hd.PlanePositionSequence("PATIENT", plane_position(volume, index)) for index in touched
        ],
        contributing_equipment=edition.equipment(),
        **edition.series(role),
        **edition.device(),
    )
    _settle_geometry(instance, edition)
    instance.ContentCreatorName = ""
    if "RequestAttributesSequence" in edition.sources.first:
        instance.RequestAttributesSequence = edition.sources.first.RequestAttributesSequence
    edition.settle(instance)
    return instance


def touched_slices(regions: Sequence[Region]) -> list[int]:
    """Indices of the slices on which any region has a voxel, ascending."""
    touched: set[int] = set()
    for region in regions:
        touched.update((np.flatnonzero(region.mask.voxels.any(axis=(1, 2))) + region.mask.origin[0]).tolist())
    return sorted(touched)


def source_uids(images: Sequence[tuple[str, int | None] | None], touched: Sequence[int]) -> list[str]:
    """SOP Instance UIDs of the slices, each once, in order; where all of them were interpolated, of the
    nearest image that was sent."""
    uids = dict.fromkeys(image[0] for index in touched if (image := images[index]) is not None)
    if uids:
        return list(uids)
    sent = [index for index, image in enumerate(images) if image is not None]
    nearest = images[min(sent, key=lambda index: abs(index - touched[0]))]
    assert nearest is not None
    return [nearest[0]]


def _stacked(
    regions: Sequence[Region], touched: Sequence[int], plane: tuple[int, ...]
) -> npt.NDArray[np.unsignedinteger]:
    """A label map (slices, rows, columns); where regions overlap, a stack with the segments last."""
    row_of = {index: row for row, index in enumerate(touched)}
    labels = np.zeros((len(touched), *plane), np.min_scalar_type(len(regions)))
    for number, region in enumerate(regions, 1):
        if not _drawn(labels, region.mask, row_of, number):
            break
    else:
        return labels
    stack = np.zeros((len(regions), len(touched), *plane), np.uint8)
    for layer, region in zip(stack, regions, strict=True):
        _drawn(layer, region.mask, row_of, 1)
    return np.moveaxis(stack, 0, -1)


def _drawn(labels: npt.NDArray[np.unsignedinteger], mask: Mask, row_of: dict[int, int], value: int) -> bool:
    """Writes ``value`` where ``mask`` is set; False, and incomplete, where another value already stands."""
    first, top, left = mask.origin
    height, width = mask.voxels.shape[1:]
    for offset, voxels in enumerate(mask.voxels):
        if not voxels.any():
            continue
        window = labels[row_of[first + offset], top : top + height, left : left + width]
        if window[voxels].any():
            return False
        window[voxels] = value
    return True


def _described(edition: Edition, number: int, region: Region) -> hd.seg.SegmentDescription:
    site = codes.site_of(region.code)
    described = hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=region.label[:64],
        segmented_property_category=region.category.concept,
        segmented_property_type=codes.concept_of(region.code),
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=edition.algorithms(),
        tracking_uid=region.tracking_uid or None,
        tracking_id=region.label[:64] if region.tracking_uid else None,
        anatomic_regions=[site.concept] if site else None,
        display_color=hd.color.CIELabColor(*_COLOURS[(number - 1) % len(_COLOURS)]),
    )
    if region.description:
        described.SegmentDescription = region.description[:1024]
    return described


def _settle_geometry(instance: Dataset, edition: Edition) -> None:
    """A fixed dimension UID, the true slice spacing, and the source of each frame that has one. (highdicom
    names no source at all as soon as one slice was interpolated.)"""
    organization = edition.uid(f"dimensions|{instance.SOPInstanceUID}")
    instance.DimensionOrganizationSequence[0].DimensionOrganizationUID = organization
    for index in instance.DimensionIndexSequence:
        index.DimensionOrganizationUID = organization
    measures = instance.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    measures.SpacingBetweenSlices = slice_spacing(edition.volume)
    frames = instance.PerFrameFunctionalGroupsSequence
    if all(len(frame.DerivationImageSequence) for frame in frames):
        return
    image_at = {
        tuple(plane_position(edition.volume, index)): image
        for index, image in enumerate(edition.volume.images)
        if image is not None
    }
    for frame in frames:
        position = tuple(float(mm) for mm in frame.PlanePositionSequence[0].ImagePositionPatient)
        image = image_at.get(position)
        frame.DerivationImageSequence = [_derivation(edition, image)] if image else []


def _derivation(edition: Edition, image: tuple[str, int | None]) -> Dataset:
    source = Dataset()
    source.ReferencedSOPClassUID = edition.sources[image[0]].SOPClassUID
    source.ReferencedSOPInstanceUID = image[0]
    if image[1] is not None:
        source.ReferencedFrameNumber = image[1]
    source.SpatialLocationsPreserved = "YES"
    source.PurposeOfReferenceCodeSequence = [codes.SOURCE_IMAGE.concept]
    derivation = Dataset()
    derivation.SourceImageSequence = [source]
    derivation.DerivationCodeSequence = [codes.SEGMENTATION.concept]
    return derivation
