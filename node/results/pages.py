"""Findings become pages anyone can read: first what was found, as a table; then each finding, close up and in
its slice, beside its prior where there is one; then how lesions went on.

No page names the patient: the viewer does that, from the header.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from PIL import Image

from inference.dates import as_day
from inference.findings import Change, ClassProbability, Finding, Measurement
from inference.growth.forecast import in_words
from node.results import codes, layout
from node.results.edition import DISCLAIMER, Edition
from node.results.keyimages import key_image, whole_image
from node.results.layout import (
    AMBER,
    BLUE,
    GREY,
    INNER,
    MARGIN,
    SMALL,
    WHITE,
    Line,
    Rgb,
    beside,
    captioned,
    stacked,
    text_block,
)

_TILE, _LARGE_TILE, _ALONE = 288, 336, 640
_HEAD = (
    "",
    "finding",
    "where",
    "image",
    "size",
    "volume",
    "density",
    "SUV max",
    "suspicion",
    "certainty",
    "change",
)
_CLASSES = ("looked for", "probability", "present from", "absent below", "")
_GRAVE = ("unread", "interpolated", "unreported")
"""Kinds of caveats by which a finding may be missing, or not be there."""
_NOT_NORMAL = "Nothing else was looked for: this does not say that the study is normal."


def pages(
    edition: Edition,
    prior_images: Mapping[str, Rgb] | None = None,
    courses: Mapping[str, Rgb] | None = None,
) -> list[Rgb]:
    """The pages, RGB, all of one size.

    Args:
        prior_images: by tracking UID, the key image of the same lesion in the prior study.
        courses: by tracking UID, the picture of how a lesion went on; that of a stable one tells nothing new.
    """
    numbered = [(n, finding) for n, finding in enumerate(edition.reading.findings, 1) if finding.is_sized]
    size = _LARGE_TILE if len(numbered) <= 2 and not prior_images else _TILE
    blocks = [*_what_was_found(edition)]
    blocks += [_finding(edition, n, f, (prior_images or {}).get(f.tracking_uid), size) for n, f in numbered]
    for number, finding in numbered:
        course = (courses or {}).get(finding.tracking_uid)
        if course is not None and finding.change is not None and finding.change.category != "stable":
            blocks.append(_course(edition, number, finding, course))
    return layout.pages(list(_head(edition)), blocks)


def _head(edition: Edition) -> Iterator[Line]:
    model, source = edition.reading.model, edition.sources.first
    yield Line(DISCLAIMER, AMBER, 32)
    made_by = f"{edition.reading.reader}, model {model.name} {model.version}"
    yield Line(f"{made_by}. For research, not for diagnosis.", GREY, SMALL)
    date, series = str(source.get("StudyDate") or ""), source.get("SeriesNumber")
    of = [f"study of {as_day(date)}"] * bool(date) + [f"series {series}"] * (series is not None)
    yield Line(", ".join(of).capitalize(), GREY, SMALL)


def _what_was_found(edition: Edition) -> Iterator[Image.Image]:
    reading = edition.reading
    if reading.caveats:
        doubts = (Line(one.statement, AMBER if one.kind in _GRAVE else GREY) for one in reading.caveats)
        yield text_block([*doubts, Line("", height=layout.LEAST_TEXT)])
    if reading.classes or not reading.findings:
        yield _whole_image(edition)
    if sized := [(n, finding) for n, finding in enumerate(reading.findings, 1) if finding.is_sized]:
        rows = [_row(edition, number, finding) for number, finding in sized]
        yield from layout.table(_HEAD, rows, [WHITE] * len(rows))
    for line in (*_over_time(edition), Line("", height=layout.LEAST_TEXT)):
        yield text_block([line])


def _row(edition: Edition, number: int, finding: Finding) -> tuple[str, ...]:
    change = finding.change
    since = _dated(change.category, change, "since ") if change else ""
    if change and change.volume_change_percent is not None:
        since += f", {change.volume_change_percent:+.0f} %"
    return (
        str(number),
        finding.label,
        _where(finding),
        _image_of(edition, finding),
        _size(finding),
        "" if finding.in_pixels else f"{finding.volume_mm3:.0f} mm3",
        "" if finding.mean_hu is None else f"{finding.mean_hu:.0f} HU",
        f"{finding.uptake.suv_max:.1f}" if finding.uptake else "",
        _percent(finding.malignancy),
        _percent(finding.certainty) or "by its prior",
        since,
    )


def _over_time(edition: Edition) -> Iterator[Line]:
    """What the findings come to together, and what is gone."""
    reading = edition.reading
    taken_up = [finding.uptake for finding in reading.findings if finding.uptake]
    if taken_up:
        ml = sum(finding.volume_mm3 for finding in reading.findings if finding.uptake) / 1000
        glycolysis = sum(one.glycolysis_g for one in taken_up)
        yield Line(f"All lesions: metabolic volume {ml:.1f} ml, total lesion glycolysis {glycolysis:.0f} g.")
    for finding in reading.resolved:
        size = f"{finding.label}, {_size(finding)}"
        yield Line(_dated(f"No longer seen: {size}", finding.change, "on ") + ".", BLUE)
    for one in reading.assessments:
        yield Line(one.words)
    if reading.response is not None:
        yield Line(f"{reading.response.guideline}: {reading.response.statement}")
    for note in reading.comparison_notes:
        yield Line(note, GREY, SMALL)


def _whole_image(edition: Edition) -> Image.Image:
    """What is said of the image as a whole, beside it. A reader that looks for a few things cannot call a
    study normal."""
    reading = edition.reading
    picture = Image.fromarray(whole_image(reading, edition.volume, _ALONE))
    width = INNER - picture.width - MARGIN
    said: list[Image.Image] = []
    if not reading.classes:
        target = codes.TARGETS.get(reading.reader, codes.LESION).meaning.lower()
        told = "".join(f" but for what {name} reports" for name in reading.left_to)
        if reading.unread:
            said.append(text_block([Line("Incomplete: not all of the series was read.", AMBER, 26)], width))
            told = f" in what was read{told}"
        said.append(text_block([Line(f"No {target} was found{told}.", WHITE, 26)], width))
    elif not reading.findings:
        said.append(text_block([Line("None of these reached its operating point.", WHITE, 26)], width))
    said += _classes(reading.classes, width)
    evidence = [(n, finding) for n, finding in enumerate(reading.findings, 1) if not finding.is_sized]
    lines = [Line(each.caveat, GREY, SMALL) for each in reading.classes if each.caveat]
    lines += [Line(", ".join(filter(None, (f"{n}  {f.label}", _where(f)))), AMBER) for n, f in evidence]
    if evidence:
        lines.append(Line("Boxes lie around the strongest evidence; they measure nothing.", GREY, SMALL))
    lines += [Line(""), *_measured(reading.measurements)] if reading.measurements else []
    said.append(text_block([Line(""), *lines, Line(""), Line(_NOT_NORMAL)], width))
    return beside(picture, stacked(said))


def _measured(measurements: tuple[Measurement, ...]) -> Iterator[Line]:
    """Each number, then what makes any of them doubtful."""
    yield from (Line(one.words, BLUE) for one in measurements)
    for caveat in dict.fromkeys(one.caveat for one in measurements if one.caveat):
        yield Line(caveat, GREY, SMALL)


def _classes(classes: tuple[ClassProbability, ...], width: int) -> list[Image.Image]:
    if not classes:
        return []
    rows = [
        (found.label, *map(_hundredths, (found.probability, found.present_from, found.absent_below)))
        for found in classes
    ]
    words = ("never claimed" if found.caveat else found.presence for found in classes)
    said = [(*row, word) for row, word in zip(rows, words, strict=True)]
    return layout.table(_CLASSES, said, [AMBER if c.presence == "present" else WHITE for c in classes], width)


def _finding(edition: Edition, number: int, finding: Finding, prior: Rgb | None, size: int) -> Image.Image:
    current = key_image(finding, edition.volume, size=size)
    whole = key_image(finding, edition.volume, size=size, view="slice")
    pictures = [
        _tile(current, "" if prior is None else "current", size),
        _tile(whole, _image_of(edition, finding), size),
    ]
    if prior is not None:
        pictures.insert(0, _tile(prior, _dated("prior", finding.change), size))
    width = INNER - len(pictures) * (size + MARGIN)
    return beside(*pictures, text_block(list(_lines(number, finding)), width))


def _course(edition: Edition, number: int, finding: Finding, course: Rgb) -> Image.Image:
    """How a lesion went on, what guidelines make of that, and what is forecast."""
    picture = Image.fromarray(course)
    lines = [*_lines(number, finding), Line("")]
    lines += [Line(one.words, GREY, SMALL) for one in finding.assessments]
    if finding.change and finding.change.forecast:
        lines.append(Line(in_words(finding.change.forecast), BLUE, SMALL))
    return beside(picture, text_block(lines, INNER - picture.width - MARGIN))


def _lines(number: int, finding: Finding) -> Iterator[Line]:
    yield Line(f"{number}  {finding.label}", AMBER, 26)
    if finding.caveat:
        yield Line(finding.caveat, AMBER)
    yield from map(Line, _said_of(finding))


def _said_of(finding: Finding) -> Iterator[str]:
    if where := _where(finding):
        yield where
    if finding.in_pixels:
        yield _size(finding)
    else:
        yield f"{_size(finding)}, {finding.volume_mm3:.0f} mm3"
    if taken_up := finding.uptake:
        yield f"SUVmax {taken_up.suv_max:.1f}, peak {taken_up.suv_peak:.1f}, mean {taken_up.suv_mean:.1f}"
        yield f"MTV {finding.volume_mm3 / 1000:.1f} ml, TLG {taken_up.glycolysis_g:.0f} g"
    if finding.mean_hu is not None:
        yield f"mean {finding.mean_hu:.0f} HU"
    if finding.malignancy is not None:
        yield f"suspicion of malignancy {_percent(finding.malignancy)}"
    if finding.certainty is not None:
        yield f"certainty {_percent(finding.certainty)}"
    if change := finding.change:
        yield _dated(change.category, change, "since ")
        if change.volume_change_percent is not None:
            yield f"volume {change.volume_change_percent:+.0f} % in {change.days} days"
        if change.doubling_time_days is not None:
            yield f"doubling time {change.doubling_time_days:.0f} days"
    for one in finding.assessments:
        yield f"{one.guideline}: {one.result}"


def _where(finding: Finding) -> str:
    """Side and site; and the kind, where that is not the site itself."""
    site = codes.site_of(finding.code, finding.site)
    place = " ".join(word for word in (finding.side, site.meaning.lower() if site else None) if word)
    kind = finding.kind if finding.is_sized and finding.site is None else None
    return ", ".join(word for word in (place, kind) if word)


def _size(finding: Finding) -> str:
    if finding.in_pixels:
        return f"{finding.long_axis_mm:.0f} x {finding.short_axis_mm:.0f} pixels"
    return f"{finding.long_axis_mm:.1f} x {finding.short_axis_mm:.1f} mm"


def _image_of(edition: Edition, finding: Finding) -> str:
    number = edition.sources[finding.image_uid].get("InstanceNumber")
    words = [f"image {number}"] * (number is not None) + [f"frame {finding.frame}"] * bool(finding.frame)
    return ", ".join(words)


def _dated(word: str, change: Change | None, before: str = "") -> str:
    return word if change is None or not change.prior_date else f"{word} {before}{as_day(change.prior_date)}"


def _hundredths(probability: float | None) -> str:
    """As ``_percent``, and as exact as the operating points that it is held against."""
    if probability is None:
        return ""
    parts = round(1e4 * probability)
    return "> 99.99 %" if parts > 9999 else "< 0.01 %" if parts < 1 else f"{parts / 100:.2f} %"


def _percent(probability: float | None) -> str:
    """No probability is certainty."""
    if probability is None:
        return ""
    whole = round(100 * probability)
    return "> 99 %" if whole > 99 else "< 1 %" if whole < 1 else f"{whole} %"


def _tile(picture: Rgb, caption: str, size: int) -> Image.Image:
    image, scaled = Image.new("RGB", (size, size)), Image.fromarray(picture)
    scaled.thumbnail((size, size))
    image.paste(scaled, ((size - scaled.width) // 2, 0))
    return captioned(image, caption)
