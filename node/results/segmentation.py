"""Masks become a DICOM Segmentation (PS3.3 A.51): one segment per lesion, only the slices it touches.

Every frame carries its own position, taken from the volume's affine, and names the image it was drawn on.
Nothing is flipped, sorted by file or resampled on the way, so it is right in any orientation, tilt included.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import highdicom as hd
import numpy as np
from pydicom import DataElement, Dataset

from inference.findings import Code, Finding, Mask, Segment, Side
from inference.picture import Pictures
from inference.volume import Volume
from node.results import codes
from node.results.edition import DISCLAIMER, Edition
from node.results.frames import place_frames
from node.results.source import image_orientation, pixel_spacing, plane_position, slice_spacing

_ENDOSCOPIC_STILL = "1.2.840.10008.5.1.4.1.1.77.1.1"
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
    site: Code | None = None
    side: Side | None = None


def lesion_regions(findings: Sequence[Finding]) -> tuple[Region, ...]:
    """The findings that have a mask, in order; a finding's segment number is its place here, from 1."""
    return tuple(
        Region(
            label=f"{finding.label} {number}",
            code=finding.code,
            site=finding.site,
            side=finding.side,
            category=codes.MORPHOLOGICALLY_ABNORMAL,
            mask=finding.mask,
            tracking_uid=finding.tracking_uid,
            description=f"{finding.long_axis_mm:.1f} x {finding.short_axis_mm:.1f} "
            f"{'pixels' if finding.in_pixels else 'mm'}; {DISCLAIMER}",
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
    images = [edition.sources[uid] for uid in source_uids(volume.images, touched)]
    instance = hd.seg.Segmentation(  # of one image: it would look at each anew, again and again
        source_images=[_one_frame(images[0]) if isinstance(volume, Pictures) else images[0]],
        pixel_array=np.ones((1, *volume.shape[1:]), np.uint8),  # place_frames replaces it
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[_described(edition, n, region) for n, region in enumerate(regions, 1)],
        sop_instance_uid=edition.uid(role),
        instance_number=1,
        content_label="AI_RESULT",
        content_description=DISCLAIMER,
        **_geometry(volume, touched[0]),
        contributing_equipment=edition.equipment(),
        **edition.series(role),
        **edition.device(),
    )
    instance.ContentCreatorName = ""
    if isinstance(volume, Pictures):
        instance.PatientOrientation = images[0].PatientOrientation
    else:
        instance.SourceImageSequence = [_reference(image) for image in images]
    instance.ReferencedSeriesSequence[0].ReferencedInstanceSequence = [_reference(i) for i in images]
    if "RequestAttributesSequence" in edition.sources.first:
        instance.RequestAttributesSequence = edition.sources.first.RequestAttributesSequence
    edition.settle(instance)
    place_frames(instance, edition, [region.mask for region in regions], touched)
    return instance


def _one_frame(image: Dataset) -> Dataset:
    """A header for highdicom, which without a frame of reference takes one image of one frame alone;
    ``place_frames`` and the references name the true ones."""
    header = Dataset()
    header.update(image)
    if "NumberOfFrames" in header:  # elements are shared with the image: replaced, never changed
        header["SOPClassUID"] = DataElement("SOPClassUID", "UI", _ENDOSCOPIC_STILL)
        del header.NumberOfFrames
    return header


def _reference(image: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = image.SOPClassUID
    item.ReferencedSOPInstanceUID = image.SOPInstanceUID
    return item


def _geometry(volume: Volume, index: int) -> dict[str, Any]:
    """Constructor arguments that place a segmentation in the patient; pictures lie in no place."""
    if isinstance(volume, Pictures):
        return {}
    return {
        "pixel_measures": hd.PixelMeasuresSequence(
            pixel_spacing=pixel_spacing(volume),
            slice_thickness=slice_spacing(volume),
            spacing_between_slices=slice_spacing(volume),
        ),
        "plane_orientation": hd.PlaneOrientationSequence("PATIENT", image_orientation(volume)),
        "plane_positions": [hd.PlanePositionSequence("PATIENT", plane_position(volume, index))],
    }


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


def _described(edition: Edition, number: int, region: Region) -> hd.seg.SegmentDescription:
    site = codes.site_of(region.code, region.site)
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
    if region.side:
        side = codes.SIDES[region.side].concept
        described.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [side]
        if site:
            described.AnatomicRegionSequence[0].AnatomicRegionModifierSequence = [side]
    if region.description:
        described.SegmentDescription = region.description[:1024]
    return described
