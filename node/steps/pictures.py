"""What a comparison looks like: the same lesion then and now, side by side, and its growth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from inference.dates import as_day
from inference.errors import UnreadableSeriesError
from inference.findings import Finding, Reading
from inference.volume import Volume
from node.priors.find import PriorSeries
from node.reading_room import ReadingRoom
from node.results import PriorEvidence
from node.results.change import NO_EVIDENCE
from node.results.growth_curve import Dated, growth_picture
from node.results.keyimages import key_image, window_for
from node.results.layout import Rgb
from node.steps.done_without import done_without
from node.steps.job import Job, kept_reading, prior_files, seen_again_in
from storage import priors


@dataclass(frozen=True, eq=False)
class BesidePriors:
    """By tracking UID: the key image in the prior, and the picture that tells the lesion's course."""

    prior_images: Mapping[str, Rgb] = field(default_factory=dict)
    pictures: Mapping[str, Rgb] = field(default_factory=dict)


def evidence_of(room: ReadingRoom, job: Job, reading: Reading, found: Sequence[PriorSeries]) -> PriorEvidence:
    """The priors' key images that the changes name, and the reports of volumes made of those studies. What
    cannot be read any more is left out, and the timeline says why."""
    compared = (*reading.findings, *reading.resolved)
    named = {f.change.prior_image_uid for f in compared if f.change is not None}
    studies = {f.change.prior_study_uid for f in compared if f.change is not None}
    with room.database.snapshot() as session:
        images = [path for prior in found for path in priors.paths_of(session, prior.study_uid, named)]
        made = [priors.newest_reading(session, uid, reading.reader) for uid in sorted(studies)]
        told = [path for uid in sorted(studies) for path in priors.results_of(session, uid)]
    reports = [o.path for one in made if one is not None for o in one.objects if o.kind == "sr"]
    files = [path for path in room.files(reports or told) if path.exists()]
    evidence = NO_EVIDENCE
    for path in room.files(images):
        with done_without(room, job, "compare", "the results name no image of a prior that they rest on"):
            evidence |= PriorEvidence.read([path], [])
    for path in files:
        with done_without(room, job, "compare", "the results name no report of a prior that they rest on"):
            evidence |= PriorEvidence.read([], [path])
    return evidence


def beside_priors(
    room: ReadingRoom,
    job: Job,
    reading: Reading,
    volume: Volume,
    found: Sequence[PriorSeries],
    identity: str,
) -> BesidePriors:
    """Pictures of the findings that were seen before, if only by looking again for this reading, kept under
    ``identity``. A prior that can no longer be read gives none."""
    series: dict[str, PriorSeries] = {}
    readings: dict[str, Reading] = {}
    for prior in found:
        said = f"the results show nothing of the study of {as_day(prior.date)}"
        with done_without(room, job, "compare", said):
            readings[prior.study_uid] = _with_seen_again(room, prior, identity)
            series[prior.study_uid] = prior
    prior_images: dict[str, Rgb] = {}
    pictures: dict[str, Rgb] = {}
    for finding in reading.findings:
        change = finding.change
        if change is None or change.prior_study_uid not in series or not change.prior_image_uid:
            continue
        before = _same(finding, readings[change.prior_study_uid])
        if before is None:
            continue
        try:
            prior_volume = room.volume(prior_files(room, series[change.prior_study_uid]))
        except (UnreadableSeriesError, OSError):
            continue
        window = window_for(finding)
        then = key_image(before, prior_volume, window=window)
        now = key_image(finding, volume, window=window)
        prior_images[finding.tracking_uid] = then
        pictures[finding.tracking_uid] = growth_picture(
            then, now, _course(finding, [*series.values()], readings), change
        )
    return BesidePriors(prior_images, pictures)


def _with_seen_again(room: ReadingRoom, prior: PriorSeries, identity: str) -> Reading:
    kept = kept_reading(room, prior.identity)
    return replace(kept, findings=(*kept.findings, *seen_again_in(room, identity, prior.study_uid)))


def _same(finding: Finding, earlier: Reading) -> Finding | None:
    return next((f for f in earlier.findings if f.tracking_uid == finding.tracking_uid), None)


def _course(finding: Finding, found: Sequence[PriorSeries], readings: Mapping[str, Reading]) -> list[Dated]:
    """The lesion's volume in each dated study that shows it whole, oldest first, and in the current one."""
    return [
        Dated(prior.date, same.volume_mm3)
        for prior in reversed(found)
        if prior.date and (same := _same(finding, readings[prior.study_uid])) is not None and not same.cut
    ] + [Dated("", finding.volume_mm3)]
