"""A reading set against the patient's priors: every lesion linked to itself, its change judged and assessed.

``compare`` is what a node calls for one study; ``chain`` follows lesions through several.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from inference.catalogue import Catalogue
from inference.dates import as_day
from inference.engine import Engine
from inference.findings import Change, Finding, Reading, Response, SolidPart
from inference.growth import lung_rads
from inference.growth.align import Alignment
from inference.growth.assess import Past, Seen, assessed, lung_rads_category, solid_part
from inference.growth.forecast import Point as Measured
from inference.growth.forecast import forecast
from inference.growth.frames import FramesAligned
from inference.growth.judge import Measurement, judge
from inference.growth.look import look_of
from inference.growth.partners import Look, Match, New, Partners, Scan, extend, is_cut_in, named_after
from inference.growth.repeatability import Repeats
from inference.growth.response import chooses_targets, respond
from inference.readers import READERS
from inference.volume import Volume


@dataclass(frozen=True, eq=False)
class Prior:
    """An earlier study as it was read; its findings carry their tracking UIDs. ``date`` is the study's,
    YYYYMMDD, empty where it is not known. ``volume`` is only called for a prior that is to be aligned."""

    study_uid: str
    date: str
    reading: Reading
    volume: Callable[[], Volume]


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
        changes = _Changes(current, volume, date, {p.study_uid: p for p in earlier}, repeats, mixed)
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
        past = changes.past(reading.findings, partners)
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


def days_between(earlier: str, later: str) -> int | None:
    """Days between two DICOM dates (YYYYMMDD); None where one is no date or lies before 1970."""
    try:
        first, last = (datetime.strptime(text, "%Y%m%d") for text in (earlier, later))
    except ValueError:
        return None
    return (last - first).days if min(first, last).year >= 1970 else None


@dataclass(frozen=True, eq=False)
class _Changes:
    """Turns partners into changes. ``repeats``: of the network that measured the current findings. ``mixed``:
    tracking UIDs of those that split, or merged, since the prior of their change."""

    current: Reading
    volume: Volume
    date: str
    priors: Mapping[str, Prior]
    repeats: Repeats | None
    mixed: frozenset[str]

    def of(self, number: int, partners: Partners) -> Finding:
        finding, match = partners.findings[number], partners.matches.get(number)
        change = None
        if match is not None:
            whole = self._against_whole(match)
            change = self._against(finding, whole) if whole is not None else None
        elif number in partners.new:
            change = self._new(partners.new[number])
        return finding.tracked_as(partners.tracking_uid(number), change)

    def _against_whole(self, match: Match) -> Match | None:
        """The match, where the newest prior with the lesion cuts it with the newest that shows it whole; None
        where it is cut now, or has no such prior."""
        if match.cut or not match.prior_cut:
            return None if match.cut else match
        for prior, before in self.alone(match.finding.tracking_uid):
            opened = prior.volume()
            if not is_cut_in(opened, before):
                return replace(
                    match,
                    study_uid=prior.study_uid,
                    finding=before,
                    prior_slice_mm=opened.slice_mm,
                    prior_whole=before,
                    prior_cut=False,
                )
        return None

    def past(self, findings: Sequence[Finding], partners: Partners) -> dict[str, Past]:
        """By tracking UID, what is known from before of findings that have a change."""
        return {
            each.tracking_uid: Past(
                self._category(each.tracking_uid, each.change),
                tuple(self._older(each.tracking_uid, each.change.days)),
                whole=match.whole if match is not None and match.split else None,
                merged=match is not None and match.merged,
            )
            for number, each in enumerate(findings)
            for match in [partners.matches.get(number)]
            if each.change is not None and each.tracking_uid
        }

    def alone(self, uid: str) -> list[tuple[Prior, Finding]]:
        """A lesion in the priors, newest first, as long as it was one and whole: what lies before the study
        at which it split, or others merged with it, measures something else. None of one that was cut."""
        seen: list[tuple[Prior, Finding]] = []
        if uid in self.mixed:
            return seen
        for prior in self.priors.values():
            same = next((each for each in prior.reading.findings if uid and each.tracking_uid == uid), None)
            if same is None:
                continue
            if not same.cut:
                seen.append((prior, same))
            if self._was_mixed(same):
                break
        return seen

    def _was_mixed(self, finding: Finding) -> bool:
        """Whether its change was measured on more than itself, or against more."""
        change = finding.change
        if change is None or not change.prior_volume_mm3 or change.volume_change_percent is None:
            return False
        whole_mm3 = change.prior_volume_mm3 * (1 + change.volume_change_percent / 100)
        prior = self.priors.get(change.prior_study_uid)
        others = prior.reading.findings if prior is not None else ()
        before = next((each for each in others if each.tracking_uid == finding.tracking_uid), None)
        merged = before is not None and not _is_near(before.volume_mm3, change.prior_volume_mm3)
        return merged or not _is_near(finding.volume_mm3, whole_mm3)

    def gone(self, finding: Finding, study_uid: str) -> Finding:
        prior = self.priors[study_uid]
        change = Change(
            prior_study_uid=prior.study_uid,
            prior_date=prior.date,
            days=self._days(prior),
            category="resolved",
            volume_change_percent=-100.0,
            doubling_time_days=None,
            significant=True,
            match_confidence=1.0,
            prior_image_uid=finding.image_uid,
            prior_frame=finding.frame,
            prior_center_mm=finding.center_mm,
            prior_long_axis_mm=finding.long_axis_mm,
            prior_short_axis_mm=finding.short_axis_mm,
            prior_volume_mm3=finding.volume_mm3,
        )
        return finding.tracked_as(finding.tracking_uid, change)

    def _against(self, finding: Finding, match: Match) -> Change:
        prior, before, whole = self.priors[match.study_uid], match.finding, match.prior_whole
        days = self._days(prior)
        repeats = self.repeats if prior.reading.models == self.current.models else None
        now = Measurement.of(match.whole, self.volume.slice_mm, repeats)
        then = Measurement.of(whole, match.prior_slice_mm, repeats)
        judged = judge(then, now, days)
        return Change(
            prior_study_uid=prior.study_uid,
            prior_date=prior.date,
            days=days,
            category=judged.category,
            volume_change_percent=judged.volume_change_percent,
            doubling_time_days=judged.doubling_time_days,
            significant=judged.significant,
            match_confidence=match.confidence,
            limit_percent=judged.limit_percent,
            prior_image_uid=whole.image_uid,
            prior_frame=whole.frame,
            prior_center_mm=before.center_mm,
            aligned_center_mm=match.aligned_mm,
            prior_long_axis_mm=whole.long_axis_mm,
            prior_short_axis_mm=whole.short_axis_mm,
            prior_volume_mm3=whole.volume_mm3,
            mean_hu_change=judged.mean_hu_change,
            prior_solid=self._solid_before(finding, whole, prior),
            prior_kind=before.kind,
        )

    def _solid_before(self, finding: Finding, before: Finding, prior: Prior) -> SolidPart | None:
        if finding.kind == "ground-glass" or before.kind not in lung_rads.SUBSOLID:
            return None
        return solid_part(before, prior.volume())

    def _new(self, new: New) -> Change:
        prior = self.priors[new.study_uid]
        return Change(
            prior_study_uid=prior.study_uid,
            prior_date=prior.date,
            days=self._days(prior),
            category="new",
            volume_change_percent=None,
            doubling_time_days=None,
            significant=True,
            match_confidence=new.confidence,
        )

    def _category(self, uid: str, change: Change) -> lung_rads.Category | None:
        prior = self.priors[change.prior_study_uid]
        same = (each for each in prior.reading.findings if each.tracking_uid == uid)
        return next((lung_rads_category(each) for each in same), None)

    def _older(self, uid: str, days: int) -> list[Seen]:
        """The lesion in priors before that of its change, ``days`` ago."""
        return [
            Seen.of(same, ago) for prior, same in self.alone(uid) if (ago := self._days(prior)) > days > 0
        ]

    def _days(self, prior: Prior) -> int:
        return days_between(prior.date, self.date) or 0


def _with_cut_noted(reading: Reading, partners: Partners) -> Reading:
    cut = sum(reading.findings[number].change is None for number in partners.matches)
    if not cut:
        return reading
    note = (
        f"The change of {cut} lesion{'s' * (cut > 1)} is not judged: at the first or last slice of this scan "
        "or of the prior, and perhaps cut there."
    )
    return replace(reading, comparison_notes=(*reading.comparison_notes, note))


def _is_near(one_mm3: float, other_mm3: float) -> bool:
    """The same volume, as precisely as results in a PACS tell it."""
    return abs(one_mm3 - other_mm3) <= 0.02 * max(one_mm3, other_mm3)


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
    changes: _Changes,
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
