"""Findings become pages anyone can look at: a Secondary Capture series for viewers that show only images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import highdicom as hd
import numpy as np
from highdicom import sc
from PIL import Image, ImageDraw
from pydicom import DataElement, Dataset

from inference.findings import Change, Finding, Reading
from node.results import codes
from node.results.edition import DISCLAIMER, Edition
from node.results.keyimages import OUTLINE, Rgb, font, key_image, overview

_WIDTH, _TILE, _MARGIN, _HEAD, _PER_PAGE = 1000, 280, 12, 76, 4
_NOT_NORMAL = ("Nothing else was looked for: this does", "not say that the study is normal.")
_WHITE, _GREY, _AMBER = (240, 240, 240), (150, 150, 150), OUTLINE


def pages(edition: Edition, prior_images: Mapping[str, Rgb] | None = None) -> list[Rgb]:
    """The pages, RGB: four findings to each, close up and in their slice, or beside their prior.

    Args:
        prior_images: by tracking UID, the key image of the same lesion in the prior study.
    """
    findings = edition.reading.findings
    if not findings:
        return [_negative_page(edition)]
    numbered = list(enumerate(findings, 1))
    sheets = [numbered[start : start + _PER_PAGE] for start in range(0, len(numbered), _PER_PAGE)]
    return [
        _page(edition, sheet, f"page {number} of {len(sheets)}", prior_images or {})
        for number, sheet in enumerate(sheets, 1)
    ]


def summary(
    edition: Edition, prior_images: Mapping[str, Rgb] | None = None, courses: Sequence[Rgb] = ()
) -> Iterator[Dataset]:
    """The pages as Secondary Capture images of one series, in order, and after them the pictures of how
    lesions went on."""
    source = edition.sources.first
    evidence = [edition.sources[uid] for uid in edition.key_image_uids()]
    for number, page in enumerate([*pages(edition, prior_images), *courses], 1):
        instance = sc.SCImage.from_ref_dataset(
            ref_dataset=source,
            pixel_array=page,
            photometric_interpretation=hd.PhotometricInterpretationValues.RGB,
            bits_allocated=8,
            coordinate_system=hd.CoordinateSystemNames.PATIENT,
            patient_orientation=("L", "P"),
            sop_instance_uid=edition.uid(f"sc-{number}"),
            instance_number=number,
            transfer_syntax_uid="1.2.840.10008.1.2.1",
            contributing_equipment=edition.equipment(),
            **edition.series("sc"),
            **edition.device(),
        )
        instance["PatientOrientation"] = DataElement(
            "PatientOrientation", "CS", ""
        )  # pictures of several planes
        instance.Laterality = source.get("Laterality", "")
        instance.Modality = "OT"
        instance.ImageType = ["DERIVED", "SECONDARY"]
        instance.BurnedInAnnotation = "YES"  # no names, but findings and dates
        instance.DerivationDescription = DISCLAIMER
        instance.SourceImageSequence = hd.ReferencedImageSequence(evidence)
        edition.settle(instance)
        yield instance


def _page(
    edition: Edition, sheet: Sequence[tuple[int, Finding]], place: str, prior_images: Mapping[str, Rgb]
) -> Rgb:
    image = Image.new("RGB", (_WIDTH, _HEAD + len(sheet) * (_TILE + _MARGIN)))
    draw = ImageDraw.Draw(image)
    _head(draw, edition, place)
    for row, (number, finding) in enumerate(sheet):
        top, left = _HEAD + row * (_TILE + _MARGIN), _MARGIN
        current = key_image(finding, edition.volume, size=_TILE)
        prior = prior_images.get(finding.tracking_uid)
        if prior is None:
            pictures = [("", current), ("", key_image(finding, edition.volume, size=_TILE, view="slice"))]
        else:
            pictures = [(_dated("prior", finding.change), prior), ("current", current)]
        for caption, picture in pictures:
            image.paste(_tile(picture), (left, top))
            draw.text((left + 6, top + _TILE - 26), caption, fill=_WHITE, font=font(18))
            left += _TILE + _MARGIN
        _describe(draw, left + _MARGIN, top, number, finding)
    return np.asarray(image)


def _negative_page(edition: Edition) -> Rgb:
    picture = Image.fromarray(overview(edition.reading, edition.volume, size=_TILE))
    image = Image.new("RGB", (_WIDTH, _HEAD + picture.height + _MARGIN))
    draw = ImageDraw.Draw(image)
    _head(draw, edition, "")
    image.paste(picture, (_MARGIN, _HEAD))
    lines = list(_without_findings(edition.reading))
    for row, line in enumerate(lines):
        height = min(26, int(0.8 * (picture.height - 8) / len(lines)))
        at = picture.width + 3 * _MARGIN, _HEAD + 8 + row * height * 1.25
        draw.text(at, line, fill=_WHITE, font=font(height))
    return np.asarray(image)


def _without_findings(reading: Reading) -> Iterator[str]:
    """A reader that looks for a few classes cannot call a study normal."""
    if not reading.classes:
        yield f"Looked for: {codes.TARGETS.get(reading.reader, codes.LESION).meaning.lower()}"
        yield "Not found."
        yield ""
        yield from _NOT_NORMAL
        return
    yield "None of these reached its operating point:"
    for found in reading.classes:
        if found.present_from is not None:
            limit = f"reported from {100 * found.present_from:.0f} %"
            yield f"{found.label}: {100 * found.probability:.0f} %, {limit}; {found.presence}"
    yield from _NOT_NORMAL


def _head(draw: ImageDraw.ImageDraw, edition: Edition, place: str) -> None:
    model = edition.reading.model
    draw.text((_MARGIN, 6), DISCLAIMER, fill=_AMBER, font=font(30))
    line = f"{edition.reading.reader}, model {model.name} {model.version}. For research, not for diagnosis."
    draw.text((_MARGIN, 44), line, fill=_GREY, font=font(18))
    draw.text((_WIDTH - _MARGIN, 12), place, fill=_GREY, font=font(18), anchor="ra")


def _describe(draw: ImageDraw.ImageDraw, left: int, top: int, number: int, finding: Finding) -> None:
    draw.text((left, top), f"{number}  {finding.label}", fill=_AMBER, font=font(26))
    for row, line in enumerate(_lines(finding)):
        draw.text((left, top + 40 + row * 28), line, fill=_WHITE, font=font(20))


def _lines(finding: Finding) -> Iterator[str]:
    if finding.in_pixels:
        yield f"{finding.long_axis_mm:.0f} x {finding.short_axis_mm:.0f} pixels"
    else:
        yield f"{finding.long_axis_mm:.1f} x {finding.short_axis_mm:.1f} mm"
        yield f"{finding.volume_mm3:.0f} mm3"
    if taken_up := finding.uptake:
        yield f"SUVmax {taken_up.suv_max:.1f}, peak {taken_up.suv_peak:.1f}, mean {taken_up.suv_mean:.1f}"
        yield f"MTV {finding.volume_mm3 / 1000:.1f} ml, TLG {taken_up.glycolysis_g:.0f} g"
    if finding.kind and finding.uptake:
        yield finding.kind
    if finding.mean_hu is not None:
        yield f"mean {finding.mean_hu:.0f} HU"
    if finding.malignancy is not None:
        yield f"suspicion of malignancy {100 * finding.malignancy:.0f} %"
    yield f"certainty {100 * finding.score:.0f} %"
    if change := finding.change:
        yield _dated(change.category, change, "since ")
        if change.volume_change_percent is not None:
            yield f"volume {change.volume_change_percent:+.0f} % in {change.days} days"
        if change.doubling_time_days is not None:
            yield f"doubling time {change.doubling_time_days:.0f} days"


def _dated(word: str, change: Change | None, before: str = "") -> str:
    if change is None or len(change.prior_date) < 8:
        return word
    date = change.prior_date
    return f"{word} {before}{date[:4]}-{date[4:6]}-{date[6:8]}"


def _tile(picture: Rgb) -> Image.Image:
    image = Image.fromarray(picture)
    image.thumbnail((_TILE, _TILE))
    return image
