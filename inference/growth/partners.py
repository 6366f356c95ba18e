"""Each finding's partner in the priors, one prior after another, newest first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final, Protocol

import numpy as np
from scipy.special import expit, logit

from inference.anatomy import Anatomy, observe
from inference.findings import Finding, Point
from inference.growth.align import Alignment, align_anatomies, too_small
from inference.growth.link import APART_COST, Links, confidence_alone, link, pair_cost
from inference.growth.repeatability import sphere_diameter_mm
from inference.measure import is_cut, measure
from inference.resample import union
from inference.volume import Floats, Volume

_ONE_THING: Final = 0.5
_LOOK_COST: Final = 4.0
"""A closer look is told where to find a lesion, and finds a vessel for want of a better now and then. So what
it is not sure of has to be less unlike the lesion than what two readings found without knowing of each
other: this is the cost at which a look that scores 0.5 is believed no longer. However sure it is, it is
believed no further than they are, up to ``APART_COST``."""
_AS_SURE: Final = 0.95
"""A vessel stays where a lesion that lay on it is gone, or was not yet. So what a look sees has to score
nearly as the lesion does in the other scan, where the reader scored it. Of 229 phantom vessels, each at the
place of a lesion of another scan, 4 are then taken for the lesion; 29 were by a single look of any score."""
_COVERED: Final = 0.95
"""Of the body in the current scan: priors that show so much of it leave no place to an older one."""
_SIZES: Final = (1.0, 0.5)
"""At what part of its size in the other scan a lesion is looked for: it may have grown since, or shrunk."""


class Look(Protocol):
    """A reader's closer look at one place of a volume for a lesion it missed there: what it finds, or None.
    ``diameter_mm`` is how large the lesion is in the other scan."""

    def __call__(self, volume: Volume, center_mm: Point, diameter_mm: float) -> Finding | None: ...


@dataclass(frozen=True, eq=False)
class Scan:
    """The current scan, its anatomy observed once for all priors."""

    volume: Volume
    look: Look | None = None

    @cached_property
    def anatomy(self) -> Anatomy:
        return observe(self.volume)


@dataclass(frozen=True, eq=False)
class Match:
    """A finding's partner in the prior ``study_uid``; ``aligned_mm`` is the partner's centre in the current
    scan. ``prior_whole`` is what it is measured against: the partner itself or, where several have merged,
    all of them as one. ``whole`` is what is measured now: the finding or, where a lesion split, all parts as
    one. ``merged`` and ``split`` say so. ``cut``, ``prior_cut``: what is measured now, or what it is measured
    against, may go on beyond its scan, so that their sizes tell no change."""

    study_uid: str
    finding: Finding
    confidence: float
    aligned_mm: Point
    prior_slice_mm: float
    prior_whole: Finding
    whole: Finding
    cut: bool
    prior_cut: bool
    merged: bool = False
    split: bool = False


@dataclass(frozen=True)
class New:
    """A finding that the prior ``study_uid`` would show, and does not."""

    study_uid: str
    confidence: float


@dataclass(frozen=True, eq=False)
class Partners:
    """What is known so far. ``findings``: the current ones, with those a closer look added at the end.
    ``matches`` and ``new`` go by their number. What is new or resolved is so against the newest prior that
    shows its place; ``resolved`` holds findings by study UID. ``reached``: the numbers of those whose place
    any prior shows. ``reference``: the first prior that could be aligned. ``parts``: the number of a further
    part of a lesion that split, with that of the part that was matched. ``names``: tracking UIDs that scans
    of the same day have findings under, by their number."""

    findings: tuple[Finding, ...]
    matches: Mapping[int, Match] = field(default_factory=dict)
    new: Mapping[int, New] = field(default_factory=dict)
    reached: frozenset[int] = frozenset()
    parts: Mapping[int, int] = field(default_factory=dict)
    names: Mapping[int, str] = field(default_factory=dict)
    resolved: Mapping[str, tuple[Finding, ...]] = field(default_factory=dict)
    reference: str = ""
    notes: tuple[str, ...] = ()
    alignments: Mapping[str, Alignment] = field(default_factory=dict)
    seen_again: Mapping[str, tuple[Finding, ...]] = field(default_factory=dict)

    def wants(self, prior_findings: Sequence[Finding]) -> bool:
        """Whether a further prior can tell anything: there is no reference yet, or the place of a finding was
        not shown yet, or it has some that may be those still alone, or be gone where no prior so far shows
        it."""
        numbers = set(range(len(self.findings)))
        if not self.reference or numbers - self.reached - self.matches.keys():
            return True
        may_tell = len(self.matches) < len(numbers) or not self.is_covered
        return may_tell and bool(self.unclaimed(prior_findings))

    @cached_property
    def is_covered(self) -> bool:
        """Whether the priors so far show all but a rim of the body that the current scan shows."""
        sound = [self.alignments[uid] for uid in self.resolved]
        here = sound[0].current
        places = np.argwhere(here.body)[::101] @ here.affine[:3, :3].T + here.affine[:3, 3]
        shown = np.any([each.prior_reaches(places) for each in sound], axis=0)
        return bool(shown.mean() >= _COVERED)

    @property
    def gone(self) -> tuple[Finding, ...]:
        return tuple(finding for of_study in self.resolved.values() for finding in of_study)

    def tracking_uid(self, number: int) -> str:
        """What a finding is tracked as: as its partner is, or in another scan of the day, unless that is what
        another finding is by now, or one that is gone."""
        match, own = self.matches.get(number), self.findings[number].tracking_uid
        if match is not None and match.finding.tracking_uid:
            return match.finding.tracking_uid
        taken = {each.finding.tracking_uid for each in self.matches.values()}
        taken |= {each.tracking_uid for each in self.gone}
        name = self.names.get(number, own)
        return own if name in taken else name

    def unclaimed(self, prior_findings: Sequence[Finding]) -> list[Finding]:
        claimed = {match.finding.tracking_uid for match in self.matches.values()}
        gone = {finding.tracking_uid for finding in self.gone}
        return [f for f in prior_findings if not f.tracking_uid or f.tracking_uid not in claimed | gone]


def extend(
    partners: Partners, scan: Scan, study_uid: str, prior_findings: Sequence[Finding], volume: Volume
) -> Partners:
    """Link what is still alone to the findings of one more prior."""
    alignment = _align(scan, volume)
    partners = replace(partners, alignments={**partners.alignments, study_uid: alignment})
    if not alignment.sound:
        return _noted(partners, f"Not compared with a prior: {alignment.reason}")
    newer = [partners.alignments[uid] for uid in partners.resolved]
    numbers = [n for n in range(len(partners.findings)) if n not in partners.matches]
    alone = [partners.findings[n] for n in numbers]
    there = partners.unclaimed(prior_findings)
    found = link(alone, there, alignment, scan.volume, volume)
    partners = replace(
        partners,
        reference=partners.reference or study_uid,
        matches={
            **partners.matches,
            **_matches(found, numbers, alone, there, alignment, study_uid, scan, volume),
        },
    )
    of = {each.prior: numbers[each.current] for each in found.links}
    parts = {numbers[part]: of[whole] for whole, part in found.split}
    partners = _with_parts_noted(replace(partners, parts={**partners.parts, **parts}), found)
    missed_there = {numbers[n] for n in found.new}
    aligned = alignment.to_current([f.center_mm for f in there])
    confidence = confidence_alone(alone, there, alignment)
    new = {numbers[n]: New(study_uid, confidence[n]) for n in found.new if numbers[n] not in partners.reached}
    gone = [n for n in found.resolved if not any(each.prior_reaches(aligned[n])[0] for each in newer)]
    shown = set(range(len(partners.findings))) - {numbers[n] for n in found.unseen_current}
    partners = replace(
        partners,
        new={n: each for n, each in {**partners.new, **new}.items() if n not in partners.matches},
        reached=partners.reached | shown,
        resolved={**partners.resolved, study_uid: tuple(there[n] for n in gone)},
    )
    if not newer and (found.unseen_current or found.unseen_prior):
        unseen = len(found.unseen_current), len(found.unseen_prior)
        partners = _noted(
            partners,
            f"{unseen[0]} findings lie where the prior has no images, "
            f"{unseen[1]} of the prior's where this scan has none.",
        )
    partners = _look_here(partners, scan, alignment, study_uid, volume, aligned, there, gone)
    return _look_there(partners, scan, alignment, study_uid, volume, prior_findings, missed_there)


def named_after(
    partners: Partners,
    scan: Scan,
    study_uid: str,
    other_findings: Sequence[Finding],
    opened: Callable[[], Volume],
) -> Partners:
    """Findings that have no name yet take those that another scan of the same day has them under. It tells
    nothing else of them: between the two no time has passed. ``opened``: that scan, wanted where both have
    findings."""
    numbers = [number for number in range(len(partners.findings)) if number not in partners.names]
    given = set(partners.names.values())
    there = [each for each in other_findings if each.tracking_uid and each.tracking_uid not in given]
    if not (numbers and there):
        return partners
    volume = opened()
    alignment = _align(scan, volume)
    partners = replace(partners, alignments={**partners.alignments, study_uid: alignment})
    if not alignment.sound:
        return _noted(partners, f"Not compared with a scan of the same day: {alignment.reason}")
    found = link([partners.findings[n] for n in numbers], there, alignment, scan.volume, volume)
    names = {numbers[each.current]: there[each.prior].tracking_uid for each in found.links}
    return replace(partners, names={**partners.names, **names})


def _align(scan: Scan, prior: Volume) -> Alignment:
    for name, volume in (("current", scan.volume), ("prior", prior)):
        if (reason := too_small(name, volume)) is not None:
            return Alignment.refused(reason)
    return align_anatomies(scan.anatomy, observe(prior))


def _matches(
    found: Links,
    numbers: Sequence[int],
    alone: Sequence[Finding],
    there: Sequence[Finding],
    alignment: Alignment,
    study_uid: str,
    scan: Scan,
    volume: Volume,
) -> dict[int, Match]:
    aligned = alignment.to_current([finding.center_mm for finding in there])
    matches = {}
    for each in found.links:
        parts = [alone[n] for p, n in found.split if p == each.prior]
        merged = [there[p] for p, n in found.merged if n == each.current]
        matches[numbers[each.current]] = Match(
            study_uid=study_uid,
            finding=there[each.prior],
            confidence=each.confidence,
            aligned_mm=_point(aligned[each.prior]),
            prior_slice_mm=volume.slice_mm,
            prior_whole=_as_one((there[each.prior], *merged), volume),
            whole=_as_one((alone[each.current], *parts), scan.volume),
            cut=any(is_cut_in(scan.volume, one) for one in (alone[each.current], *parts)),
            prior_cut=any(is_cut_in(volume, one) for one in (there[each.prior], *merged)),
            merged=bool(merged),
            split=bool(parts),
        )
    return matches


def is_cut_in(volume: Volume, finding: Finding) -> bool:
    """Whether a finding of this scan is cut, also one of a reading that was kept before readings told it."""
    return finding.cut or (finding.mask is not None and is_cut(finding.mask, volume))


def _as_one(parts: Sequence[Finding], volume: Volume) -> Finding:
    """The first of them with the size of all: volumes add up, and the axes are those of the hull around the
    masks, as one lesion's are. Without masks they stay the first one's."""
    first, *others = parts
    masks = [part.mask for part in parts if part.mask is not None]
    if not others:
        return first
    whole = replace(first, volume_mm3=sum(part.volume_mm3 for part in parts))
    if len(masks) < len(parts):
        return whole
    mask = union(masks)
    axes = measure(mask, volume)
    return replace(
        whole,
        mask=mask,
        long_axis=axes.long_axis,
        short_axis=axes.short_axis,
        image_uid=axes.image_uid,
        frame=axes.frame,
    )


def _with_parts_noted(partners: Partners, found: Links) -> Partners:
    if found.split:
        partners = _noted(partners, f"{len(found.split)} lesions of the prior have split.")
    if found.merged:
        partners = _noted(partners, f"{len(found.merged)} lesions of the prior have merged with another.")
    return partners


def _look_here(
    partners: Partners,
    scan: Scan,
    alignment: Alignment,
    study_uid: str,
    volume: Volume,
    aligned: Floats,
    there: Sequence[Finding],
    gone: Sequence[int],
) -> Partners:
    """Look in the current scan for what would count as resolved."""
    if scan.look is None:
        return partners
    for number in gone:
        before, place = there[number], _point(aligned[number])
        if (again := _looked_for(before, scan.look, scan.volume, place, partners.findings)) is None:
            continue
        seen, confidence = again
        match = Match(
            study_uid=study_uid,
            finding=before,
            confidence=confidence,
            aligned_mm=place,
            prior_slice_mm=volume.slice_mm,
            prior_whole=before,
            whole=seen,
            cut=seen.cut,
            prior_cut=before.cut,
        )
        partners = replace(
            partners,
            findings=(*partners.findings, seen.tracked_as(before.tracking_uid)),
            matches={**partners.matches, len(partners.findings): match},
            resolved={
                **partners.resolved,
                study_uid: tuple(each for each in partners.resolved[study_uid] if each is not before),
            },
        )
        partners = _noted(partners, "A lesion of the prior was found by looking at its aligned place.")
    return partners


def _look_there(
    partners: Partners,
    scan: Scan,
    alignment: Alignment,
    study_uid: str,
    volume: Volume,
    prior_findings: Sequence[Finding],
    numbers: set[int],
) -> Partners:
    """Look in the prior for what would count as new."""
    if scan.look is None:
        return partners
    for number in sorted(numbers & set(partners.new)):
        now = partners.findings[number]
        place = _point(alignment.to_prior(now.center_mm)[0])
        if (again := _looked_for(now, scan.look, volume, place, prior_findings)) is None:
            continue
        seen, confidence = again
        match = Match(
            study_uid=study_uid,
            finding=seen.tracked_as(partners.tracking_uid(number)),
            confidence=confidence,
            aligned_mm=_point(alignment.to_current(seen.center_mm)[0]),
            prior_slice_mm=volume.slice_mm,
            prior_whole=seen,
            whole=now,
            cut=now.cut,
            prior_cut=seen.cut,
        )
        partners = replace(
            partners,
            matches={**partners.matches, number: match},
            new={n: c for n, c in partners.new.items() if n != number},
            seen_again={
                **partners.seen_again,
                study_uid: (*partners.seen_again.get(study_uid, ()), match.finding),
            },
        )
        partners = _noted(partners, "A lesion was found in the prior by looking at its aligned place.")
    return partners


def _looked_for(
    known: Finding, look: Look, volume: Volume, place: Point, findings: Sequence[Finding]
) -> tuple[Finding, float] | None:
    """The lesion ``known`` from the other scan as a look at its aligned ``place`` shows it, and how sure it
    is that it is the same; None where nothing is seen there that is like it, or only one of the
    ``findings`` of this scan. What a look does not tell, it has from ``known``."""
    least = 0.0 if known.by_look else _AS_SURE * known.score
    for part in _SIZES:
        seen = look(volume, place, part * sphere_diameter_mm(known.volume_mm3))
        if seen is None or seen.score < least or _is_one_of(seen, findings):
            continue
        cost = pair_cost(seen, known, _distance(seen.center_mm, place))
        believed = min(_LOOK_COST + float(logit(seen.score)), APART_COST)
        if cost < believed:
            return _as_known(seen, known), float(expit(believed - cost))
    return None


def _as_known(seen: Finding, known: Finding) -> Finding:
    return replace(
        seen,
        side=seen.side or known.side,
        site=seen.site or known.site,
        kind=seen.kind or known.kind,
        by_look=True,
    )


def _is_one_of(seen: Finding, findings: Sequence[Finding]) -> bool:
    """Whether it lies within a finding that is there already."""
    return any(
        _distance(seen.center_mm, other.center_mm)
        < _ONE_THING * max(min(seen.long_axis_mm, other.long_axis_mm), 4.0)
        for other in findings
    )


def _noted(partners: Partners, note: str) -> Partners:
    return replace(partners, notes=tuple(dict.fromkeys((*partners.notes, note))))


def _distance(one: Point, other: Point) -> float:
    return float(np.linalg.norm(np.subtract(one, other)))


def _point(mm: Floats) -> Point:
    x, y, z = (float(value) for value in mm)
    return x, y, z
