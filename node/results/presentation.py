"""Findings become a Softcopy Presentation State, grayscale (PS3.3 A.33.1) or colour (A.33.2): outlines, axes
and sizes, and lines of other measurements, that a viewer lays over the key images, and takes off again."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any

import highdicom as hd
import numpy as np
from highdicom import pr
from pydicom import Dataset

from inference.findings import Axis, Finding, Measurement
from inference.pet_ct import PetCt
from inference.picture import Pictures
from node.results.edition import DISCLAIMER, Edition
from node.results.fusion import window_of_source
from node.results.keyimages import Window, window_for
from node.results.outline import Points, axis_on_image, place_on_image

_PIXEL, _DISPLAY = pr.AnnotationUnitsValues.PIXEL, pr.AnnotationUnitsValues.DISPLAY
_LAYER = pr.GraphicLayer("AI_RESULT", 1, DISCLAIMER, hd.color.CIELabColor(82, 10, 80))

State = pr.GrayscaleSoftcopyPresentationState | pr.ColorSoftcopyPresentationState
Numbered = tuple[int, Finding | Measurement]


def presentations(edition: Edition) -> list[State]:
    """One presentation state for all key images; where they are not scaled alike, one for each scale, since
    a presentation state has one Modality LUT (PS3.3 C.11.1); and one for each image with frames, since
    highdicom takes no others beside it."""
    alike: dict[tuple[str, ...], list[Numbered]] = {}
    shown: list[Numbered] = [
        *enumerate(edition.reading.findings, 1),
        *enumerate(edition.reading.measurements, 1),
    ]
    for number, each in shown:
        header = edition.sources[each.image_uid]
        image = each.image_uid if _has_frames(header) else ""
        colours = str(header.get("PhotometricInterpretation"))
        alike.setdefault((image, colours, *_scale(header, each.frame)), []).append((number, each))
    return [_presentation(edition, group, place) for place, group in enumerate(alike.values(), 1)]


def _presentation(edition: Edition, findings: list[Numbered], place: int) -> State:
    images = [edition.sources[uid] for uid in dict.fromkeys(f.image_uid for _, f in findings)]
    content: dict[str, Any] = {
        "referenced_images": images,
        "sop_instance_uid": edition.uid("pr" if place == 1 else f"pr-{place}"),
        "instance_number": place,
        "content_label": "AI_RESULT",
        "content_description": DISCLAIMER,
        "content_creator_name": "",
        "concept_name": None,
        "graphic_layers": [_LAYER],
        "graphic_annotations": [
            *(_annotation(edition, n, each) for n, each in findings if isinstance(each, Finding)),
            *_of_measurements(edition, [each for _, each in findings if isinstance(each, Measurement)]),
            pr.GraphicAnnotation(images, _LAYER, text_objects=[_notice()]),
        ],
        "contributing_equipment": edition.equipment(),
        **edition.series("pr"),
        **edition.device(),
    }
    instance: State
    if isinstance(edition.volume, Pictures) and edition.volume.is_colour:
        instance = pr.ColorSoftcopyPresentationState(icc_profile=_srgb(), **content)
    else:
        instance = pr.GrayscaleSoftcopyPresentationState(
            **content,
            **_grey_scale(edition, findings, images[0]),
            modality_lut_transformation=_modality_lut(images[0], findings[0][1].frame),
        )
    if frames := _frames_scaled_alike(images[0], findings[0][1].frame):
        (series,) = instance.ReferencedSeriesSequence
        series.ReferencedImageSequence[0].ReferencedFrameNumber = frames
    instance.Laterality = images[0].get("Laterality", "")
    edition.settle(instance)
    return instance


def _grey_scale(edition: Edition, findings: list[Numbered], image: Dataset) -> dict[str, Any]:
    """Slices are shown in a window for what was found; projections in their own, with air black."""
    if not isinstance(edition.volume, Pictures):
        return {"voi_lut_transformations": _windows(edition, findings)}
    inverted = image.get("PhotometricInterpretation") == "MONOCHROME1"
    shape = hd.PresentationLUTShapeValues.INVERSE if inverted else hd.PresentationLUTShapeValues.IDENTITY
    return {"presentation_lut_transformation": hd.PresentationLUTTransformation(presentation_lut_shape=shape)}


def _modality_lut(image: Dataset, frame: int | None) -> hd.ModalityLUTTransformation | None:
    """That of a frame; of an image without frames highdicom knows it, which looks for one of all frames."""
    if not _has_frames(image):
        return None
    return hd.ModalityLUTTransformation(
        rescale_intercept=_of_frame(image, frame, "RescaleIntercept", 0),
        rescale_slope=_of_frame(image, frame, "RescaleSlope", 1),
        rescale_type=_of_frame(image, frame, "RescaleType", "US"),
    )


def _scale(image: Dataset, frame: int | None) -> tuple[str, ...]:
    return tuple(str(_of_frame(image, frame, word)) for word in ("RescaleSlope", "RescaleIntercept"))


def _of_frame(image: Dataset, frame: int | None, keyword: str, default: object = None) -> Any:
    """A value of the Pixel Value Transformation of a frame (PS3.3 C.7.6.16.2.9) or, without, of the image."""
    groups = list(image.get("SharedFunctionalGroupsSequence") or [])
    if frame is not None and "PerFrameFunctionalGroupsSequence" in image:
        groups.insert(0, image.PerFrameFunctionalGroupsSequence[frame - 1])
    places = [item for group in groups for item in group.get("PixelValueTransformationSequence") or []]
    return next((place[keyword].value for place in (*places, image) if keyword in place), default)


def _frames_scaled_alike(image: Dataset, frame: int | None) -> list[int]:
    """The frames with the scale of this one, 1-based; none where all have it."""
    frames = range(1, len(image.get("PerFrameFunctionalGroupsSequence") or []) + 1)
    alike = [one for one in frames if _scale(image, one) == _scale(image, frame)]
    return alike if len(alike) < len(frames) else []


def _has_frames(image: Dataset) -> bool:
    """Not where an ordinary slice says that it has one."""
    is_enhanced = "SharedFunctionalGroupsSequence" in image or "PerFrameFunctionalGroupsSequence" in image
    return is_enhanced or int(image.get("NumberOfFrames") or 1) > 1


@cache
def _srgb() -> bytes:
    """The ICC profile that PS3.3 C.11.15 asks of a colour presentation state: sRGB, as a colour space."""
    return (files("highdicom") / "_icc_profiles" / "sRGB_v4_ICC_preference.icc").read_bytes()


def _annotation(edition: Edition, number: int, finding: Finding) -> pr.GraphicAnnotation:
    header = edition.sources[finding.image_uid]
    place = place_on_image(finding, edition.volume)
    name, uid = f"{finding.label} {number}", finding.tracking_uid
    axes = (place.long_axis, place.short_axis) if finding.is_sized else ()
    lines = (place.outline, *axes)
    return pr.GraphicAnnotation(
        referenced_images=[header],
        referenced_frame_number=finding.frame,
        graphic_layer=_LAYER,
        graphic_objects=[
            pr.GraphicObject(
                pr.GraphicTypeValues.POLYLINE,
                _within(line, header),
                _PIXEL,
                tracking_id=name,
                tracking_uid=uid,
            )
            for line in lines
        ],
        text_objects=[
            pr.TextObject(
                text_value=f"{name}: {_size(finding)}",
                units=_PIXEL,
                anchor_point=tuple(_within(place.outline, header).max(axis=0)),
                anchor_point_visible=False,
                tracking_id=name,
                tracking_uid=uid,
            )
        ],
    )


def _of_measurements(edition: Edition, measurements: list[Measurement]) -> Iterator[pr.GraphicAnnotation]:
    """Each with the lines that none before it was taken from, and its value at the end of one of its own."""
    drawn: set[Axis] = set()
    for one in measurements:
        header = edition.sources[one.image_uid]
        uid = edition.tracking_uid(f"measurement|{one.code.scheme}|{one.code.value}")
        placed = {line: _within(axis_on_image(line, edition.volume), header) for line in one.lines}
        end = placed[one.lines[-1]][0 if len(one.lines) == 1 else 1]
        yield pr.GraphicAnnotation(
            referenced_images=[header],
            referenced_frame_number=one.frame,
            graphic_layer=_LAYER,
            graphic_objects=[
                pr.GraphicObject(
                    pr.GraphicTypeValues.POLYLINE,
                    points,
                    _PIXEL,
                    tracking_id=one.label,
                    tracking_uid=uid,
                )
                for line, points in placed.items()
                if line not in drawn
            ]
            or None,
            text_objects=[
                pr.TextObject(
                    text_value=one.words,
                    units=_PIXEL,
                    anchor_point=tuple(end),
                    anchor_point_visible=False,
                    tracking_id=one.label,
                    tracking_uid=uid,
                )
            ],
        )
        drawn |= set(one.lines)


def _size(finding: Finding) -> str:
    if not finding.is_sized:
        return f"{100 * finding.score:.0f} %"
    if finding.in_pixels:
        return f"{finding.long_axis_mm:.0f} x {finding.short_axis_mm:.0f} pixels"
    size = f"{finding.long_axis_mm:.1f} x {finding.short_axis_mm:.1f} mm, {finding.volume_mm3:.0f} mm3"
    return f"{size}, SUVmax {finding.uptake.suv_max:.1f}" if finding.uptake else size


def _notice() -> pr.TextObject:
    return pr.TextObject(
        DISCLAIMER,
        _DISPLAY,
        bounding_box=(0.02, 0.94, 0.6, 0.99),
        text_justification=pr.TextJustificationValues.LEFT,
    )


def _windows(edition: Edition, findings: list[Numbered]) -> list[pr.SoftcopyVOILUTTransformation]:
    """Each key image in the window of the first finding on it."""
    windows: dict[Window, list[Dataset]] = {}
    seen: set[str] = set()
    for _, finding in findings:
        if isinstance(finding, Finding) and finding.image_uid not in seen:
            seen.add(finding.image_uid)
            window = (
                Window(*window_of_source(edition.volume))
                if isinstance(edition.volume, PetCt)
                else window_for(finding)
            )
            windows.setdefault(window, []).append(edition.sources[finding.image_uid])
    return [
        pr.SoftcopyVOILUTTransformation(
            window_center=window.center,
            window_width=window.width,
            referenced_images=hd.ReferencedImageSequence(images),
        )
        for window, images in windows.items()
    ]


def _within(points: Points, header: Dataset) -> Points:
    return np.clip(points, 0, (header.Columns, header.Rows))
