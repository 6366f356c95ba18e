"""What became of each lesion since the priors: its change against its partner, and what came before."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from inference.findings import Change, Finding, Reading, SolidPart
from inference.growth import lung_rads
from inference.growth.judge import Judgement, Measurement, judge
from inference.growth.partners import Match, New, Partners, is_cut_in
from inference.growth.past import Past, Seen, first_solid, lung_rads_category
from inference.growth.repeatability import Repeats
from inference.growth.solid import solid_part
from inference.volume import Volume

_THIN_MM = 1.0


@dataclass(frozen=True, eq=False)
class Prior:
    """An earlier study as it was read; its findings carry their tracking UIDs. ``date`` is the study's,
    YYYYMMDD, empty where it is not known. ``volume`` is only called for a prior that is to be aligned."""

    study_uid: str
    date: str
    reading: Reading
    volume: Callable[[], Volume]


@dataclass(frozen=True, eq=False)
class Changes:
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
                tuple(self._older(each, each.change.days)),
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

    def _older(self, now: Finding, days: int) -> list[Seen]:
        """The lesion in priors before that of its change, ``days`` ago."""
        known = [
            (prior, same, Seen.of(same, ago))
            for prior, same in self.alone(now.tracking_uid)
            if (ago := self._days(prior)) > days > 0
        ]
        first = first_solid(seen for *_, seen in known)
        return [
            replace(seen, judged=self._judged(prior, same, now, seen.days)) if seen is first else seen
            for prior, same, seen in known
        ]

    def _judged(self, prior: Prior, before: Finding, now: Finding, days: int) -> Judgement:
        """Against a prior that need not have been opened: only one that thin slices would show the lesion to
        have grown since is, for its own."""
        repeats = self.repeats if prior.reading.models == self.current.models else None
        current = Measurement.of(now, self.volume.slice_mm, repeats)
        thin = judge(Measurement.of(before, _THIN_MM, repeats), current, days)
        if thin.category != "increased":
            return thin
        return judge(Measurement.of(before, prior.volume().slice_mm, repeats), current, days)

    def _days(self, prior: Prior) -> int:
        return days_between(prior.date, self.date) or 0


def days_between(earlier: str, later: str) -> int | None:
    """Days between two DICOM dates (YYYYMMDD); None where one is no date or lies before 1970."""
    try:
        first, last = (datetime.strptime(text, "%Y%m%d") for text in (earlier, later))
    except ValueError:
        return None
    return (last - first).days if min(first, last).year >= 1970 else None


def _is_near(one_mm3: float, other_mm3: float) -> bool:
    """The same volume, as precisely as results in a PACS tell it."""
    return abs(one_mm3 - other_mm3) <= 0.02 * max(one_mm3, other_mm3)
