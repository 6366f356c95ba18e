"""A reading set against the patient's priors: every lesion linked to itself, its change judged and assessed.

``compare`` is what a node calls for one study; ``chain`` follows lesions through several.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from inference.catalogue import Catalogue
from inference.dates import as_day
from inference.engine import Engine
from inference.findings import Finding, Reading, Response
from inference.growth.align import Alignment
from inference.growth.assess import READER, assessed
from inference.growth.changes import Changes, Prior, days_between
from inference.growth.forecast import Point as Measured
from inference.growth.forecast import forecast
from inference.growth.frames import FramesAligned
from inference.growth.look import look_of
from inference.growth.partners import Look, Partners, Scan, extend, named_after
from inference.growth.past import Past
from inference.growth.repeatability import Repeats
from inference.growth.response import chooses_targets, respond
from inference.readers import READERS
from inference.volume import Volume


@dataclass(frozen=True, eq=False)
class Comparison:
    """``reading``: the current one, its findings under the tracking UIDs of the priors, each with its change,
    and what is resolved, the response and the notes. ``reference``: the newest prior of an earlier day, or of
    an unknown one, that could be aligned. ``alignments``: by study UID, the refused ones too. ``seen_again``:
    by study UID, findings that only a closer look at that prior found, under the tracking UID they now share.
    ``frames``: how the reference's frame of reference lies to the current one, where both are named and
    differ."""

    reading: Reading
    reference: Prior | None = None
    alignments: Mapping[str, Alignment] = field(default_factory=dict)
    seen_again: Mapping[str, tuple[Finding, ...]] = field(default_factory=dict)
    frames: FramesAligned | None = None


def compare(
    current: Reading,
    volume: Volume,
    priors: Sequence[Prior],
    engine: Engine | None = None,
    catalogue: Catalogue | None = None,
    *,
    date: str = "",
    look: Look | None = None,
) -> Comparison:
    """Link, judge and forecast every finding of ``current``.

    "New" and "resolved" refer to the newest prior that can be aligned and shows the place; a lesion not seen
    there is sought in older ones. Priors of a later date than ``date`` are left out; those known to be of the
    same day have no say but in the tracking UIDs. Where no prior can be compared the findings stay as they
    are and the notes say why. The forecast needs an engine, and its model in the catalogue.

    Args:
        priors: in any order of dates; of those of one date, and those without, the newest first.
        date: of the current study, YYYYMMDD; where it or a prior's is missing or absurd, that prior's days
            are 0 and neither doubling time nor forecast rests on it.
        look: how to look again for a lesion that was missed; by default as the reader does.

    Raises:
        EngineError: the forecaster is there but cannot be run.
    """
    started = time.perf_counter()
    kept, notes = _newest_first(current.reader, priors, date)
    earlier = [prior for prior in kept if days_between(prior.date, date) != 0]
    scan = Scan(volume, look or look_of(current.reader, engine, catalogue))
    partners = Partners(findings=current.findings, notes=notes)
    used: list[Prior] = []
    frames: dict[str, str] = {}
    slices_mm: dict[str, float] = {}
    for prior in (prior for prior in kept if prior not in earlier):
        partners = named_after(partners, scan, prior.study_uid, prior.reading.findings, prior.volume)
    for number, prior in enumerate(earlier):
        if any(partners.wants(each.reading.findings) for each in earlier[number:]):
            opened = prior.volume()
            slices_mm[prior.study_uid] = opened.slice_mm
            frames[prior.study_uid] = opened.frame_of_reference_uid
            partners = extend(partners, scan, prior.study_uid, prior.reading.findings, opened)
            used.append(prior)
    reference = next((prior for prior in used if prior.study_uid == partners.reference), None)
    named = tuple(
        finding.tracked_as(partners.tracking_uid(number)) for number, finding in enumerate(current.findings)
    )
    reading = replace(current, findings=named, comparison_notes=partners.notes)
    past: Mapping[str, Past] = {}
    if reference is not None:
        repeats = _repeats(current, catalogue)
        mixed = frozenset(
            partners.tracking_uid(n) for n, m in partners.matches.items() if m.merged or m.split
        )
        changes = Changes(current, volume, date, {p.study_uid: p for p in earlier}, repeats, mixed)
        reading = replace(
            reading,
            findings=tuple(changes.of(number, partners) for number in range(len(partners.findings))),
            resolved=tuple(
                changes.gone(finding, study_uid)
                for study_uid, gone in partners.resolved.items()
                for finding in gone
            ),
        )
        reading = _with_cut_noted(reading, partners)
        past = changes.past(reading.findings, partners) if current.reader == READER else {}
        reading = _forecast(reading, changes, slices_mm, date, volume, engine, catalogue)
        reading = replace(reading, response=_response(reading, earlier, slices_mm, partners, date, volume))
    reading = assessed(reading, volume, past)
    seconds = {**reading.seconds, "compare": time.perf_counter() - started}
    reading, aligned = replace(reading, seconds=seconds), None
    if reference is not None:
        alignment, frame = partners.alignments[reference.study_uid], frames[reference.study_uid]
        aligned = FramesAligned.of(alignment, volume.frame_of_reference_uid, frame)
    return Comparison(reading, reference, partners.alignments, partners.seen_again, aligned)


def chain(
    studies: Sequence[Prior],
    engine: Engine | None = None,
    catalogue: Catalogue | None = None,
    *,
    look: Look | None = None,
) -> list[Comparison]:
    """Follow lesions through studies of one patient whose findings do not share tracking UIDs yet: each is
    compared with all before it. ``studies``: as the priors of ``compare``. Returned oldest first, studies
    without a date before all others."""
    done: list[Prior] = []
    found = []
    for study in sorted(studies, key=lambda each: each.date, reverse=True)[::-1]:
        comparison = compare(
            study.reading, study.volume(), done, engine, catalogue, date=study.date, look=look
        )
        found.append(comparison)
        done.insert(0, replace(study, reading=comparison.reading))
    return found


def _with_cut_noted(reading: Reading, partners: Partners) -> Reading:
    cut = sum(reading.findings[number].change is None for number in partners.matches)
    if not cut:
        return reading
    note = (
        f"The change of {cut} lesion{'s' * (cut > 1)} is not judged: at the first or last slice of this scan "
        "or of the prior, and perhaps cut there."
    )
    return replace(reading, comparison_notes=(*reading.comparison_notes, note))


def _repeats(reading: Reading, catalogue: Catalogue | None) -> Repeats | None:
    """As the cards of the reader's own networks say it; None where none of them does, or is another by now.
    A network that took part beside them did not draw all of the lesions."""
    if catalogue is None or reading.reader not in READERS:
        return None
    own = READERS[reading.reader].models
    models = [catalogue.find(name) for name in own if name in catalogue.names]
    known = [m for m in models if m.identity in reading.models]
    return next((said for m in known if (said := Repeats.of(m.card.postprocess)) is not None), None)


def _newest_first(reader: str, priors: Sequence[Prior], date: str) -> tuple[list[Prior], tuple[str, ...]]:
    """Priors of the same reader, newest first, undated ones last, those of one date in the order given; and
    what was left out, or has no say in what has changed."""
    notes = []
    kept = []
    for prior in sorted(priors, key=lambda each: each.date, reverse=True):
        days = days_between(prior.date, date)
        if prior.reading.reader != reader:
            notes.append(f"The study of {as_day(prior.date)} was read by another reader.")
        elif days is not None and days < 0:
            notes.append(f"The study of {as_day(prior.date)} is later than this one and is no prior of it.")
        else:
            if days == 0:
                notes.append("A study of the same day tells no change: lesions keep its tracking UIDs alone.")
            if days is None:
                notes.append("A study's date is missing or absurd: its changes carry no time.")
            kept.append(prior)
    return kept, tuple(dict.fromkeys(notes))


def _forecast(
    reading: Reading,
    changes: Changes,
    slices_mm: Mapping[str, float],
    date: str,
    volume: Volume,
    engine: Engine | None,
    catalogue: Catalogue | None,
) -> Reading:
    """With a forecast for each lesion that was measured often enough at known dates. ``slices_mm``: by study
    UID, of the priors that were opened; the others count as thin. What other networks suspected in a prior
    is of another scale, and has no say."""
    if engine is None or catalogue is None:
        return reading

    def forecast_for(finding: Finding) -> Finding:
        if finding.change is None:
            return finding
        known = [
            Measured(
                -days,
                same.volume_mm3,
                slices_mm.get(prior.study_uid, 1.0),
                same.kind,
                same.malignancy if prior.reading.models == reading.models else None,
            )
            for prior, same in reversed(changes.alone(finding.tracking_uid))
            if (days := days_between(prior.date, date)) is not None
        ]
        now = Measured(0, finding.volume_mm3, volume.slice_mm, finding.kind, finding.malignancy)
        seen = forecast([*known, now], engine, catalogue)
        return replace(finding, change=replace(finding.change, forecast=seen))

    return replace(reading, findings=tuple(map(forecast_for, reading.findings)))


def _response(
    reading: Reading,
    earlier: Sequence[Prior],
    slices_mm: Mapping[str, float],
    partners: Partners,
    date: str,
    volume: Volume,
) -> Response | None:
    """RECIST from the oldest dated prior to now, without those whose alignment was refused; one that needed
    no alignment is followed by its tracking UIDs. ``slices_mm``: as ``_forecast`` takes them; the baseline is
    opened where its slices decide what the targets are."""
    refused = {uid for uid, alignment in partners.alignments.items() if not alignment.sound}
    points = [
        prior
        for prior in reversed(earlier)
        if prior.study_uid not in refused and days_between(prior.date, date) is not None
    ]
    findings = reading.findings
    parts = {
        findings[part].tracking_uid: findings[whole].tracking_uid
        for part, whole in partners.parts.items()
        if part not in partners.matches and findings[part].tracking_uid
    }
    thickness = [slices_mm.get(prior.study_uid, 1.0) for prior in points]
    if points and points[0].study_uid not in slices_mm and chooses_targets(points[0].reading):
        thickness[0] = points[0].volume().slice_mm
    readings = [prior.reading for prior in points]
    return respond([*readings, reading], [*thickness, volume.slice_mm], parts=parts)
