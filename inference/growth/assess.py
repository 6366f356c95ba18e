"""What the guidelines for lung nodules make of a reading: by its changes where it was compared, else by what
is seen at first.

Neither why the scan was made is known here, nor the patient's age, risk and history: each guideline says what
it is for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Final

from inference.findings import Assessment, Finding, Reading
from inference.growth import by_fleischner, by_lung_rads, by_volume, fleischner, lung_rads, nelson
from inference.growth.lung_rads import SUBSOLID
from inference.growth.past import UNKNOWN, Past, lung_rads_category
from inference.growth.solid import kind_of, solid_part_of_mixed
from inference.volume import Volume

GUIDELINES: Final = {
    "fleischner": fleischner.NAME,
    "lung-rads": lung_rads.NAME,
    "bts": nelson.BTS_NAME,
    "nelson": nelson.NAME,
}
"""What assessments call each guideline, by its name in settings."""
READER: Final = "lung-nodules"
"""Whose findings guidelines assess."""
_BY_VOLUME: Final = frozenset({None, "solid"})


def assessed(reading: Reading, volume: Volume, past: Mapping[str, Past] | None = None) -> Reading:
    """A reading of lung nodules with what guidelines make of every nodule, of those that are resolved and of
    the whole examination; any other reading as it is.

    Args:
        volume: the one that was read.
        past: by tracking UID, of findings that have a change.
    """
    if reading.reader != READER:
        return reading
    measured = [replace(each, solid=solid_part_of_mixed(each, volume)) for each in reading.findings]
    alike = Counter(map(_counted_as, measured))
    findings = tuple(
        replace(
            each,
            assessments=assess(
                _judged(each, (past or {}).get(each.tracking_uid, UNKNOWN), volume),
                (past or {}).get(each.tracking_uid, UNKNOWN),
                multiple=each.kind != "calcified" and alike[_counted_as(each)] > 1,
            ),
        )
        for each in measured
    )
    resolved = tuple(replace(each, assessments=by_lung_rads.of_resolved(each)) for each in reading.resolved)
    gone = [category for each in reading.resolved if (category := lung_rads_category(each))]
    whole = by_lung_rads.of_exam(findings, gone)
    if reading.unread:
        whole = by_lung_rads.of_part(whole, reading.unread)
    return replace(reading, findings=findings, resolved=resolved, assessments=(whole,))


def assess(finding: Finding, past: Past = UNKNOWN, *, multiple: bool = False) -> tuple[Assessment, ...]:
    """Fleischner, Lung-RADS, BTS and NELSON. What goes by volume is of solid nodules alone, and its growth of
    those that were solid before too. Of a nodule that is new since a prior, nothing volumetric.

    Args:
        multiple: the scan shows further nodules that are solid, or subsolid, as this one is; a calcified one
            is neither.
    """
    found = [by_fleischner.assessment(finding, multiple), by_lung_rads.assessment(finding, past)]
    change = finding.change
    if change is None and finding.kind in SUBSOLID:
        found.append(by_volume.of_subsolid(finding))
    elif change is None and finding.kind in _BY_VOLUME:
        found += by_volume.at_first_sight(finding)
    elif change is not None and {finding.kind, change.prior_kind} <= _BY_VOLUME:
        found += by_volume.of_growth(finding.volume_mm3, change, past.older)
    return tuple(found)


def by_guidelines(reading: Reading, names: Collection[str]) -> Reading:
    """The reading as ``names`` of ``GUIDELINES`` alone have it; where that leaves nothing out, itself. What
    no guideline says stays."""
    left_out = {guideline for name, guideline in GUIDELINES.items() if name not in names}

    def by_wanted(assessments: Sequence[Assessment]) -> tuple[Assessment, ...]:
        return tuple(each for each in assessments if each.guideline not in left_out)

    told = replace(
        reading,
        findings=tuple(replace(each, assessments=by_wanted(each.assessments)) for each in reading.findings),
        resolved=tuple(replace(each, assessments=by_wanted(each.assessments)) for each in reading.resolved),
        assessments=by_wanted(reading.assessments),
    )
    return reading if told == reading else told


def _judged(finding: Finding, past: Past, volume: Volume) -> Finding:
    """What guidelines judge: of a lesion that split, all of it."""
    if past.whole is None:
        return finding
    return replace(past.whole, solid=solid_part_of_mixed(past.whole, volume), change=finding.change)


def _counted_as(finding: Finding) -> lung_rads.Kind:
    """Solid, subsolid or calcified: the guidelines count those of one form alone as multiple."""
    return "part-solid" if finding.kind in SUBSOLID else kind_of(finding.kind)
